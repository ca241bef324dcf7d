//! On a Redis Cluster all keys of one command must be of one slot; `{}` in their names sees to it.

use std::{num::NonZeroU32, time::Duration};

use config::{
    limiter::{Limiter, Room},
    rates::{Bucket, Quota, Rates},
};

use crate::{
    server::Server,
    support::{Memory, POOL, Workers, hints},
};

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn hints_are_handled_once() {
    let server = Server::cluster().await;
    let queue = server.queue().await;
    let (memory, pushed) = (Memory::new(), hints(500));
    let workers = Workers::noting(&queue, 10, &memory);
    for chunk in pushed.chunks(50) {
        queue.push(POOL, chunk).await.unwrap();
    }
    memory.saw_all(&pushed).await;
    workers.stop().await;
    memory.assert_once(&pushed);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn buckets_are_shared() {
    let server = Server::cluster().await;
    let processes = [0, 1].map(|_| Rates::redis(server.url().as_str(), "x", PATIENCE).unwrap());
    let quota = Quota::per_minute(NonZeroU32::MIN, NonZeroU32::new(5).unwrap());
    let asked = ["address", "key", "workspace"].map(|limit| Bucket {
        limit,
        owner: "somebody".to_owned(),
        quota,
    });
    let mut admitted = 0;
    for n in 0..12 {
        admitted += usize::from(processes[n % 2].take(&asked).await.retry_after.is_none());
    }
    assert_eq!(admitted, 5, "each process counted for itself");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_limit_is_shared() {
    let server = Server::cluster().await;
    let limiter = Limiter::redis(server.url().as_str(), "x").unwrap();
    let minute = Duration::from_secs(60);
    assert!(limiter.acquire("kie", NonZeroU32::MIN, minute).await.is_ok());
    assert!(matches!(limiter.acquire("kie", NonZeroU32::MIN, minute).await, Room::RetryAfter(_)));
}
