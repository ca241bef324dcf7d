//! How workers end.

use std::time::{Duration, Instant};

use crate::{
    conformance::gated,
    server::Server,
    support::{Gate, Memory, POOL, Workers, hints, until},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn what_was_delivered_but_not_started_goes_back() {
    let server = Server::start().await;
    let (queue, memory, pushed) = (server.queue().await, Memory::new(), hints(5));
    let workers = Workers::noting(&queue, 5, &memory);
    let context = workers.context.clone();
    until("a running worker", async || context.workers().iter().all(|w| w.is_running())).await;
    // A paused worker starts nothing, but its reader goes on.
    for worker in context.workers() {
        worker.pause().unwrap();
    }
    queue.push(POOL, &pushed).await.unwrap();
    until("five delivered", async || server.pending().await == 5).await;
    workers.stop().await;
    assert_eq!(memory.seen(), []);
    assert_eq!(queue.depth(POOL).await, Ok(5));
    assert_eq!((server.pending().await, server.consumers().await), (0, 0));
    let others = Workers::noting(&queue, 1, &memory);
    memory.reaches(5).await;
    others.stop().await;
    assert_eq!(memory.seen(), pushed);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn a_draining_worker_takes_nothing_new_and_keeps_what_runs_alive() {
    let server = Server::start().await;
    // Long enough for a busy machine to keep alive what runs.
    let window = Duration::from_millis(1500);
    let queue = server.queue_claiming_after(1500).await;
    let (memory, gate, pushed) = (Memory::new(), Gate::closed(), hints(6));
    queue.push(POOL, &pushed[..2]).await.unwrap();
    let draining = gated(&queue, 4, &memory, &gate);
    until("two started", async || server.pending().await == 2).await;
    draining.begin_stop();
    until("no waiting reader", async || {
        let info: String = server.command("INFO clients").await;
        info.contains("blocked_clients:0")
    })
    .await;
    let others = Workers::noting(&queue, 4, &memory);
    queue.push(POOL, &pushed[2..]).await.unwrap();
    memory.reaches(4).await;
    // Windows in which the others must not take what still runs.
    tokio::time::sleep(window * 3).await;
    assert_eq!(memory.seen().len(), 4);
    gate.open();
    draining.stopped().await;
    others.stop().await;
    memory.assert_once(&pushed);
    assert!(server.is_clean().await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn a_stop_does_not_wait_for_a_redis_that_is_away() {
    let mut server = Server::start().await;
    let (queue, memory, gate) = (server.queue().await, Memory::new(), Gate::closed());
    queue.push(POOL, &hints(2)).await.unwrap();
    let workers = gated(&queue, 2, &memory, &gate);
    until("two started", async || server.pending().await == 2).await;
    server.kill();
    gate.open();
    memory.reaches(2).await;
    let asked = Instant::now();
    workers.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn an_idle_worker_stops_at_once() {
    let server = Server::start().await;
    let (queue, memory) = (server.queue().await, Memory::new());
    let workers = Workers::noting(&queue, 2, &memory);
    until("a waiting reader", async || {
        let info: String = server.command("INFO clients").await;
        info.contains("blocked_clients:1")
    })
    .await;
    let asked = Instant::now();
    workers.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}
