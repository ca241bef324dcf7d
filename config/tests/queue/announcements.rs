//! Announcements, inside a process and between processes.

use std::time::{Duration, Instant};

use config::announce::{Announcement, Announcements, Announcer};
use entities::ids::{ApiKeyId, JobId};

use crate::{
    server::Server,
    support::{soon, until},
};

fn messages() -> Vec<Announcement> {
    vec![
        Announcement::Job { id: JobId::generate(), version: 3 },
        Announcement::Waiting { pool: "fal".to_owned() },
        Announcement::KeyRevoked { id: ApiKeyId::generate() },
    ]
}

async fn hear(listener: &mut Announcements, count: usize) -> Vec<Announcement> {
    let mut heard = Vec::new();
    while heard.len() < count {
        heard.push(soon("an announcement", listener.recv()).await.unwrap());
    }
    heard
}

#[tokio::test]
async fn everyone_in_the_process_hears() {
    let announcer = Announcer::local();
    announcer.announce(&messages()).await;
    let (mut one, mut other) = (announcer.subscribe(), announcer.clone().subscribe());
    let sent = messages();
    announcer.announce(&sent).await;
    assert_eq!(hear(&mut one, 3).await, sent);
    assert_eq!(hear(&mut other, 3).await, sent);
    drop(announcer);
    assert_eq!(one.recv().await, None);
}

#[tokio::test]
async fn who_falls_behind_is_told() {
    let announcer = Announcer::local();
    let mut slow = announcer.subscribe();
    for _ in 0..5000 {
        announcer.announce(&messages()).await;
    }
    assert_eq!(slow.recv().await, Some(Announcement::Resync));
    assert!(matches!(
        slow.recv().await,
        Some(
            Announcement::Job { .. }
                | Announcement::Waiting { .. }
                | Announcement::KeyRevoked { .. }
        )
    ));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn other_processes_hear_and_the_own_hears_once() {
    let server = Server::start().await;
    let here = Announcer::redis(server.url().as_str(), "test").unwrap();
    let there = Announcer::redis(server.url().as_str(), "test").unwrap();
    let strangers = Announcer::redis(server.url().as_str(), "other").unwrap();
    let (mut near, mut far, mut stranger) =
        (here.subscribe(), there.subscribe(), strangers.subscribe());
    // Each subscription begins with this.
    for listener in [&mut near, &mut far, &mut stranger] {
        assert_eq!(hear(listener, 1).await, [Announcement::Resync]);
    }
    let (first, second) = (messages(), messages());
    here.announce(&first).await;
    assert_eq!(hear(&mut near, 3).await, first);
    assert_eq!(hear(&mut far, 3).await, first);
    there.announce(&second).await;
    strangers.announce(&first).await;
    assert_eq!(hear(&mut near, 3).await, second);
    assert_eq!(hear(&mut far, 3).await, second);
    assert_eq!(hear(&mut stranger, 3).await, first);
    // One subscription each, however many listen.
    let _more = (here.subscribe(), here.subscribe());
    let counts: Vec<(String, u64)> =
        server.command::<Vec<(String, u64)>>("PUBSUB NUMSUB test:announcements").await;
    assert_eq!(counts, [("test:announcements".to_owned(), 2)]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn after_a_loss_everyone_looks_again() {
    let mut server = Server::start().await;
    let here = Announcer::redis(server.url().as_str(), "test").unwrap();
    let there = Announcer::redis(server.url().as_str(), "test").unwrap();
    let (mut near, mut far) = (here.subscribe(), there.subscribe());
    for listener in [&mut near, &mut far] {
        assert_eq!(hear(listener, 1).await, [Announcement::Resync]);
    }
    server.kill();
    let (lost, asked) = (messages(), Instant::now());
    for _ in 0..1000 {
        here.announce(&lost).await;
    }
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    // The own process heard it all the same.
    assert_eq!(hear(&mut near, 3).await, lost);
    server.restart().await;
    assert_eq!(hear(&mut far, 1).await, [Announcement::Resync]);
    let sent = messages();
    until("an announcement that arrives", async || {
        here.announce(&sent).await;
        tokio::time::timeout(Duration::from_millis(100), far.recv()).await.is_ok()
    })
    .await;
}
