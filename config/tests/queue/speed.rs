//! How fast the queue alone is; judged in release builds only.

use std::time::Instant;

use config::queue::Queue;

use crate::{
    server::Server,
    support::{Memory, POOL, Workers, hints},
};

const HINTS: i64 = 50_000;

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    measure(&Queue::memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn on_redis() {
    let server = Server::start().await;
    measure(&server.queue().await).await;
}

async fn measure(queue: &Queue) {
    let (memory, pushed) = (Memory::new(), hints(HINTS));
    let began = Instant::now();
    for chunk in pushed.chunks(64) {
        queue.push(POOL, chunk).await.unwrap();
    }
    let pushing = rate(began);
    let began = Instant::now();
    let workers = Workers::noting(queue, 100, &memory);
    memory.reaches(pushed.len()).await;
    let handling = rate(began);
    workers.stop().await;
    println!("pushed {pushing:.0}/s by 64, handled {handling:.0}/s at concurrency 100");
    memory.assert_once(&pushed);
    if !cfg!(debug_assertions) {
        assert!(handling > 30_000.0, "only {handling:.0} hints per second");
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(began: Instant) -> f64 {
    HINTS as f64 / began.elapsed().as_secs_f64()
}
