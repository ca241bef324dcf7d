//! What every queue must do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use config::queue::Queue;

use crate::{
    server::Server,
    support::{Gate, Memory, POOL, Workers, hints, until},
};

/// Runs each test for the embedded queue and for Redis.
macro_rules! for_both {
    ($($name:ident)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Queue::memory()).await;
            })*
        }

        mod on_redis {
            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs redis-server; tests/run runs it"]
            async fn $name() {
                let server = super::Server::start().await;
                super::$name(server.queue().await).await;
            })*
        }
    };
}

for_both! {
    every_hint_is_handled_once
    one_at_a_time_keeps_the_order
    concurrency_is_used_and_never_exceeded
    a_panic_stays_inside_its_task
    depth_counts_what_waits
    pools_are_apart
    another_worker_takes_over
    a_stop_lets_running_tasks_end_and_gives_the_rest_back
    one_process_may_have_several_workers
    a_hundred_thousand_hints_may_wait
    an_idle_worker_starts_at_once
}

async fn every_hint_is_handled_once(queue: Queue) {
    let (memory, pushed) = (Memory::new(), hints(1000));
    let workers = Workers::noting(&queue, 10, &memory);
    for chunk in pushed.chunks(7) {
        queue.push(POOL, chunk).await.unwrap();
    }
    memory.saw_all(&pushed).await;
    workers.stop().await;
    memory.assert_once(&pushed);
}

async fn one_at_a_time_keeps_the_order(queue: Queue) {
    let (memory, pushed) = (Memory::new(), hints(200));
    queue.push(POOL, &pushed).await.unwrap();
    let workers = Workers::noting(&queue, 1, &memory);
    memory.reaches(pushed.len()).await;
    workers.stop().await;
    assert_eq!(memory.seen(), pushed);
}

async fn concurrency_is_used_and_never_exceeded(queue: Queue) {
    let (memory, gate, pushed) = (Memory::new(), Gate::closed(), hints(50));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    queue.push(POOL, &pushed).await.unwrap();
    let workers = Workers::start(&queue, 5, {
        let (memory, gate) = (memory.clone(), gate.clone());
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        move |hint| {
            let (memory, gate) = (memory.clone(), gate.clone());
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.pass().await;
                running.fetch_sub(1, Ordering::SeqCst);
                memory.note(hint);
            }
        }
    });
    until("five at a time", async || running.load(Ordering::SeqCst) == 5).await;
    gate.let_through(10);
    memory.reaches(10).await;
    until("five at a time", async || running.load(Ordering::SeqCst) == 5).await;
    gate.open();
    memory.reaches(50).await;
    workers.stop().await;
    assert_eq!(most.load(Ordering::SeqCst), 5);
    memory.assert_once(&pushed);
}

async fn a_panic_stays_inside_its_task(queue: Queue) {
    let (memory, pushed) = (Memory::new(), hints(30));
    let workers = Workers::start(&queue, 3, {
        let memory = memory.clone();
        move |hint| {
            memory.note(hint);
            // One in the call itself, one in its future.
            assert!(hint.epoch % 3 != 0, "a panic that a test wants");
            async move { assert!(hint.epoch % 3 != 1, "a panic that a test wants") }
        }
    });
    queue.push(POOL, &pushed).await.unwrap();
    memory.saw_all(&pushed).await;
    let more = hints(30);
    queue.push(POOL, &more).await.unwrap();
    memory.saw_all(&more).await;
    workers.stop().await;
    assert_eq!(queue.depth(POOL).await, Ok(0));
    memory.assert_once(&[pushed, more].concat());
}

async fn depth_counts_what_waits(queue: Queue) {
    let (memory, gate, pushed) = (Memory::new(), Gate::closed(), hints(20));
    assert_eq!(queue.depth(POOL).await, Ok(0));
    queue.push(POOL, &pushed).await.unwrap();
    assert_eq!(queue.depth(POOL).await, Ok(20));
    let workers = gated(&queue, 4, &memory, &gate);
    until("four delivered", async || queue.depth(POOL).await == Ok(16)).await;
    gate.open();
    memory.reaches(20).await;
    workers.stop().await;
    assert_eq!(queue.depth(POOL).await, Ok(0));
}

async fn pools_are_apart(queue: Queue) {
    let (memory, pushed) = (Memory::new(), hints(5));
    let workers = Workers::noting(&queue, 2, &memory);
    queue.push("another", &hints(3)).await.unwrap();
    queue.push(POOL, &pushed).await.unwrap();
    memory.reaches(5).await;
    workers.stop().await;
    memory.assert_once(&pushed);
    assert_eq!(queue.depth("another").await, Ok(3));
}

async fn another_worker_takes_over(queue: Queue) {
    let (memory, gate, pushed) = (Memory::new(), Gate::closed(), hints(100));
    queue.push(POOL, &pushed).await.unwrap();
    let first = gated(&queue, 5, &memory, &gate);
    gate.let_through(20);
    memory.reaches(20).await;
    first.begin_stop();
    gate.open();
    first.stopped().await;
    let second = Workers::noting(&queue, 5, &memory);
    memory.saw_all(&pushed).await;
    second.stop().await;
    memory.assert_once(&pushed);
}

async fn a_stop_lets_running_tasks_end_and_gives_the_rest_back(queue: Queue) {
    let (memory, started, gate, pushed) = (Memory::new(), Memory::new(), Gate::closed(), hints(10));
    queue.push(POOL, &pushed).await.unwrap();
    let workers = Workers::start(&queue, 2, {
        let (memory, started, gate) = (memory.clone(), started.clone(), gate.clone());
        move |hint| {
            let (memory, started, gate) = (memory.clone(), started.clone(), gate.clone());
            async move {
                started.note(hint);
                gate.pass().await;
                memory.note(hint);
            }
        }
    });
    started.reaches(2).await;
    workers.begin_stop();
    assert!(workers.is_running());
    assert_eq!(memory.seen(), []);
    gate.open();
    workers.stopped().await;
    assert_eq!(memory.seen().len(), 2);
    assert_eq!(queue.depth(POOL).await, Ok(8));
    let others = Workers::noting(&queue, 2, &memory);
    memory.saw_all(&pushed).await;
    others.stop().await;
    memory.assert_once(&pushed);
}

async fn one_process_may_have_several_workers(queue: Queue) {
    let (memory, gate, pushed) = (Memory::new(), Gate::closed(), hints(300));
    let crowd: Vec<_> = (0..3).map(|_| gated(&queue, 2, &memory, &gate)).collect();
    queue.push(POOL, &pushed).await.unwrap();
    until("all six busy", async || queue.depth(POOL).await == Ok(294)).await;
    gate.open();
    memory.saw_all(&pushed).await;
    for workers in crowd {
        workers.stop().await;
    }
    memory.assert_once(&pushed);
}

async fn a_hundred_thousand_hints_may_wait(queue: Queue) {
    let (memory, pushed) = (Memory::new(), hints(100_000));
    queue.push(POOL, &pushed).await.unwrap();
    assert_eq!(queue.depth(POOL).await, Ok(100_000));
    let workers = Workers::noting(&queue, 100, &memory);
    memory.reaches(100_000).await;
    workers.stop().await;
    memory.assert_once(&pushed);
    assert_eq!(queue.depth(POOL).await, Ok(0));
}

async fn an_idle_worker_starts_at_once(queue: Queue) {
    let memory = Memory::new();
    let workers = Workers::noting(&queue, 4, &memory);
    let mut waits = Vec::new();
    for (number, hint) in hints(100).iter().enumerate() {
        let pushed = Instant::now();
        queue.push(POOL, &[*hint]).await.unwrap();
        memory.reaches(number + 1).await;
        waits.push(pushed.elapsed());
    }
    workers.stop().await;
    waits.sort();
    let (median, p99) = (waits[50], waits[98]);
    println!("push to handler, push included: median {median:?}, p99 {p99:?}");
    // A busy test machine and a debug build are allowed for.
    assert!(median.as_millis() < 20, "{median:?}");
}

/// Workers that remember a hint when the gate has let them through.
pub(crate) fn gated(queue: &Queue, concurrency: usize, memory: &Memory, gate: &Gate) -> Workers {
    let (memory, gate) = (memory.clone(), gate.clone());
    Workers::start(queue, concurrency, move |hint| {
        let (memory, gate) = (memory.clone(), gate.clone());
        async move {
            gate.pass().await;
            memory.note(hint);
        }
    })
}
