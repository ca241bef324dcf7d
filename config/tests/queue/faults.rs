//! Redis away, killed, emptied, frozen or out of reach.

use std::time::{Duration, Instant};

use config::queue::{Queue, QueueError, RedisQueueSettings};

use crate::{
    conformance::gated,
    proxy::Proxy,
    server::Server,
    support::{Gate, Memory, POOL, Workers, hints, until},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn redis_may_be_away_at_the_start() {
    let server = Server::reserve();
    let (queue, memory, pushed) = (server.queue().await, Memory::new(), hints(10));
    let workers = Workers::noting(&queue, 4, &memory);
    let asked = Instant::now();
    assert_eq!(queue.push(POOL, &pushed).await, Err(QueueError::Away));
    assert_eq!(queue.depth(POOL).await, Err(QueueError::Away));
    assert!(asked.elapsed() < Duration::from_secs(2));
    let server = server.up().await;
    until("a push", async || queue.push(POOL, &pushed).await.is_ok()).await;
    memory.saw_all(&pushed).await;
    until("a clean stream", async || server.is_clean().await).await;
    workers.stop().await;
    memory.assert_once(&pushed);
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_without_telling_it() {
    let settings = RedisQueueSettings::new("http://user:secret@host");
    let Err(QueueError::Address(reason)) = Queue::redis(settings.clone()).await else {
        panic!("not an address of a Redis");
    };
    assert!(!reason.contains("secret") && !format!("{settings:?}").contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn pushes_fail_fast_while_redis_is_away() {
    let mut server = Server::start().await;
    let queue = server.queue().await;
    queue.push(POOL, &hints(1)).await.unwrap();
    server.kill();
    let asked = Instant::now();
    for _ in 0..1000 {
        assert_eq!(queue.push(POOL, &hints(1)).await, Err(QueueError::Away));
    }
    let all = asked.elapsed();
    assert!(all < Duration::from_secs(2), "a thousand pushes took {all:?}");
    server.restart().await;
    until("a push", async || queue.push(POOL, &hints(1)).await.is_ok()).await;
    assert_eq!(queue.depth(POOL).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn a_frozen_redis_holds_no_push_up() {
    let server = Server::start().await;
    let queue = server.queue().await;
    queue.push(POOL, &hints(1)).await.unwrap();
    server.signal("-STOP");
    let asked = Instant::now();
    assert_eq!(queue.push(POOL, &hints(1)).await, Err(QueueError::Away));
    assert!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
    // As soon as the attempt to connect again has failed, nobody waits.
    until("a push that fails at once", async || {
        let asked = Instant::now();
        assert_eq!(queue.push(POOL, &hints(1)).await, Err(QueueError::Away));
        asked.elapsed() < Duration::from_millis(20)
    })
    .await;
    server.signal("-CONT");
    until("a push", async || queue.push(POOL, &hints(1)).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn redis_may_be_killed_in_the_middle_of_tasks() {
    let mut server = Server::start().await;
    let (queue, memory, gate, pushed) =
        (server.queue().await, Memory::new(), Gate::closed(), hints(200));
    queue.push(POOL, &pushed).await.unwrap();
    let workers = gated(&queue, 10, &memory, &gate);
    until("ten started", async || server.pending().await == 10).await;
    server.kill();
    // The tasks end while Redis is away.
    gate.let_through(10);
    memory.reaches(10).await;
    server.restart().await;
    gate.open();
    memory.saw_all(&pushed).await;
    until("a clean stream", async || server.is_clean().await).await;
    workers.stop().await;
    memory.assert_once(&pushed);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn redis_may_be_emptied_at_any_time() {
    let server = Server::start().await;
    let (queue, memory, gate) = (server.queue().await, Memory::new(), Gate::closed());
    let workers = gated(&queue, 4, &memory, &gate);
    let first = hints(4);
    queue.push(POOL, &first).await.unwrap();
    until("four started", async || server.pending().await == 4).await;
    let _: String = server.command("FLUSHALL").await;
    gate.open();
    memory.saw_all(&first).await;
    for _ in 0..3 {
        // Now the worker waits for more.
        until("a waiting reader", async || {
            let info: String = server.command("INFO clients").await;
            info.contains("blocked_clients:1")
        })
        .await;
        let _: String = server.command("FLUSHALL").await;
        let (emptied, more) = (Instant::now(), hints(20));
        queue.push(POOL, &more).await.unwrap();
        memory.saw_all(&more).await;
        println!("handled {:?} after Redis was emptied", emptied.elapsed());
        until("a clean stream", async || server.is_clean().await).await;
    }
    assert!(workers.is_running());
    workers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn a_silent_connection_is_replaced() {
    let server = Server::start().await;
    let proxy = Proxy::to(server.port).await;
    let mut settings =
        RedisQueueSettings::new(format!("redis://127.0.0.1:{}", proxy.port).as_str());
    settings.claim_window = Duration::from_secs(1);
    let (queue, memory, pushed) = (Queue::redis(settings).await.unwrap(), Memory::new(), hints(6));
    let workers = Workers::noting(&queue, 4, &memory);
    queue.push(POOL, &pushed[..2]).await.unwrap();
    memory.reaches(2).await;
    until("everything removed", async || server.is_clean().await).await;
    let opened = proxy.opened();
    proxy.cut_silently();
    let asked = Instant::now();
    assert_eq!(queue.push(POOL, &pushed[2..3]).await, Err(QueueError::Away));
    assert!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
    // The next one goes by a new connection; the reader notices that its own is dead.
    queue.push(POOL, &pushed[2..]).await.unwrap();
    memory.saw_all(&pushed).await;
    assert_eq!(proxy.opened(), opened + 2);
    workers.stop().await;
}
