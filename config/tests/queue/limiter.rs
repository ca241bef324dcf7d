//! The limit on calls that processes keep together.

use std::{num::NonZeroU32, time::Duration};

use config::limiter::{Limiter, Room};

use crate::{server::Server, support::until};

const LONG: Duration = Duration::from_secs(600);

fn five() -> NonZeroU32 {
    NonZeroU32::new(5).unwrap()
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn processes_share_one_limit() {
    let server = Server::start().await;
    let processes: Vec<Limiter> =
        (0..4).map(|_| Limiter::redis(server.url().as_str(), "x").unwrap()).collect();
    let asks = (0..40).map(|n| processes[n % 4].acquire("kie", five(), LONG));
    let rooms = futures::future::join_all(asks).await;
    assert_eq!(rooms.iter().filter(|room| room.is_ok()).count(), 5, "{rooms:?}");
    for room in rooms {
        if let Room::RetryAfter(wait) = room {
            assert!(wait > LONG - Duration::from_secs(60) && wait <= LONG, "{wait:?}");
        }
    }
    // Other limits and other installations are not touched.
    assert!(processes[0].acquire("other", five(), LONG).await.is_ok());
    let neighbour = Limiter::redis(server.url().as_str(), "y").unwrap();
    assert!(neighbour.acquire("kie", five(), LONG).await.is_ok());
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn room_comes_back_and_nothing_stays_behind() {
    let server = Server::start().await;
    let limiter = Limiter::redis(server.url().as_str(), "x").unwrap();
    let short = Duration::from_millis(300);
    for _ in 0..5 {
        assert!(limiter.acquire("kie", five(), short).await.is_ok());
    }
    until("room comes back", async || limiter.acquire("kie", five(), short).await.is_ok()).await;
    until("the times are forgotten", async || server.command::<u64>("DBSIZE").await == 0).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn nothing_is_granted_while_redis_is_away() {
    let server = Server::reserve();
    let limiter = Limiter::redis(server.url().as_str(), "x").unwrap();
    assert!(matches!(limiter.acquire("kie", five(), LONG).await, Room::RetryAfter(_)));
    let _server = server.up().await;
    until("room is granted", async || limiter.acquire("kie", five(), LONG).await.is_ok()).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn room_is_taken_anew_once() {
    let server = Server::start().await;
    let limiter = Limiter::redis(server.url().as_str(), "x").unwrap();
    let mut grants = Vec::new();
    for _ in 0..5 {
        let Room::Ok(grant) = limiter.acquire("kie", five(), LONG).await else { panic!("full") };
        grants.push(grant);
    }
    // However late they are sent, all five have room, and nobody else has.
    for grant in &grants {
        assert!(limiter.renew("kie", five(), LONG, *grant).await.is_ok());
        assert!(!limiter.acquire("kie", five(), LONG).await.is_ok());
    }
    assert!(!limiter.renew("kie", five(), LONG, grants[0]).await.is_ok(), "it was used");
}
