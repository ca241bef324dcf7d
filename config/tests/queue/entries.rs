//! What is left in Redis, what strangers put there, and what the dead leave behind.

use std::{process::Command, time::Duration};

use config::queue::{Queue, QueueError, RedisQueueSettings};

use crate::{
    conformance::gated,
    server::{Server, stream},
    support::{Gate, Memory, POOL, Workers, hints, until},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn nothing_grows() {
    let server = Server::start().await;
    let queue = server.queue().await;
    for round in 1..=3 {
        let (memory, pushed) = (Memory::new(), hints(10_000));
        let workers = Workers::noting(&queue, 50, &memory);
        queue.push(POOL, &pushed).await.unwrap();
        memory.reaches(10_000).await;
        until("everything removed", async || server.is_clean().await).await;
        assert_eq!(server.consumers().await, 1);
        workers.stop().await;
        assert_eq!(server.consumers().await, 0);
        let bytes: u64 = server.command(&format!("MEMORY USAGE {}", stream())).await;
        assert!(bytes < 50_000, "{bytes} bytes after round {round}");
        let keys: Vec<String> = server.command("KEYS *").await;
        assert_eq!(keys, [stream()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn an_idle_worker_asks_for_nothing() {
    let server = Server::start().await;
    let (queue, memory, pushed) = (server.queue().await, Memory::new(), hints(1));
    let workers = Workers::noting(&queue, 50, &memory);
    queue.push(POOL, &pushed).await.unwrap();
    memory.reaches(1).await;
    until("the hint removed", async || server.is_clean().await).await;
    let before = commands(&server).await;
    // The time that passes is what is measured.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = commands(&server).await;
    workers.stop().await;
    assert!(after - before < 10, "{} commands in three idle seconds", after - before);
}

async fn commands(server: &Server) -> u64 {
    let text: String = server.command("INFO stats").await;
    let line = text.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn what_nobody_can_read_is_set_aside() {
    let server = Server::start().await;
    let (queue, memory, pushed) = (server.queue().await, Memory::new(), hints(20));
    let (key, unreadable) = (stream(), format!("tiktomato:queue:unreadable:{{{POOL}}}"));
    queue.push(POOL, &pushed[..10]).await.unwrap();
    for fields in ["x y", "v 1 j not-a-job e 1", "v 1 e 1", "v one j 0 e 0", "v 1 j 0 e x"] {
        let _: String = server.command(&format!("XADD {key} * {fields}")).await;
    }
    let mut bytes = redis::cmd("XADD");
    bytes.arg(&key).arg("*").arg(b"\xff\xfe").arg(b"\x00\xff");
    let mut connection = redis::Client::open(server.url())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    bytes.query_async::<String>(&mut connection).await.unwrap();
    queue.push(POOL, &pushed[10..]).await.unwrap();
    let workers = Workers::noting(&queue, 3, &memory);
    memory.saw_all(&pushed).await;
    until("a clean stream", async || server.is_clean().await).await;
    assert_eq!(server.length(&unreadable).await, 6);
    workers.stop().await;
    memory.assert_once(&pushed);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn another_version_is_left_to_its_like() {
    let server = Server::start().await;
    let (queue, memory, pushed) = (server.queue().await, Memory::new(), hints(3));
    let theirs = format!("tiktomato:queue:v2:{{{POOL}}}");
    let entry = "v 2 job 0198 epoch 7 more yes";
    let _: String = server.command(&format!("XADD {theirs} * {entry}")).await;
    let _: String = server.command(&format!("XADD {} * {entry}", stream())).await;
    let workers = Workers::noting(&queue, 3, &memory);
    queue.push(POOL, &pushed).await.unwrap();
    memory.saw_all(&pushed).await;
    until("a clean stream", async || server.is_clean().await).await;
    workers.stop().await;
    let kept: Vec<(String, Vec<String>)> = server.command(&format!("XRANGE {theirs} - +")).await;
    assert_eq!(kept.len(), 2);
    for (_, fields) in kept {
        assert_eq!(fields.join(" "), entry);
    }
    memory.assert_once(&pushed);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn what_the_dead_held_is_claimed_and_they_are_forgotten() {
    let server = Server::start().await;
    let (queue, memory, pushed) =
        (server.queue_claiming_after(300).await, Memory::new(), hints(40));
    queue.push(POOL, &pushed).await.unwrap();
    let key = stream();
    let _: String = server.command(&format!("XGROUP CREATE {key} workers 0")).await;
    let read = format!("XREADGROUP GROUP workers dead COUNT 30 STREAMS {key} >");
    let _: redis::Value = server.command(&read).await;
    assert_eq!(server.pending().await, 30);
    let workers = Workers::noting(&queue, 4, &memory);
    memory.saw_all(&pushed).await;
    until("a clean stream", async || server.is_clean().await).await;
    until("only the living", async || server.consumers().await == 1).await;
    workers.stop().await;
    memory.assert_once(&pushed);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn a_task_may_take_longer_than_the_window() {
    let server = Server::start().await;
    let (queue, memory, gate) =
        (server.queue_claiming_after(300).await, Memory::new(), Gate::closed());
    let pushed = hints(2);
    queue.push(POOL, &pushed).await.unwrap();
    let first = gated(&queue, 2, &memory, &gate);
    until("both started", async || server.pending().await == 2).await;
    let second = Workers::noting(&queue, 2, &memory);
    // The tasks take five windows, in which the second worker looks for stale entries.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(memory.seen(), []);
    gate.open();
    memory.reaches(2).await;
    first.stop().await;
    second.stop().await;
    memory.assert_once(&pushed);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn a_killed_process_loses_nothing() {
    let server = Server::start().await;
    let (queue, memory, pushed) =
        (server.queue_claiming_after(500).await, Memory::new(), hints(50));
    queue.push(POOL, &pushed).await.unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "entries::worker_process", "--ignored"])
        .env("QUEUE_TEST_WORKER", server.url())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("a busy process", async || {
        queue.depth(POOL).await == Ok(42) && server.pending().await == 8
    })
    .await;
    process.kill().unwrap();
    process.wait().unwrap();
    let workers = Workers::noting(&queue, 4, &memory);
    memory.saw_all(&pushed).await;
    workers.stop().await;
    memory.assert_once(&pushed);
}

/// Not a test by itself: the process that the test above kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "only another test starts it"]
#[expect(clippy::disallowed_methods, reason = "how the test above tells this process its server")]
async fn worker_process() {
    let Ok(url) = std::env::var("QUEUE_TEST_WORKER") else { return };
    let queue = Queue::redis(RedisQueueSettings::new(url.as_str())).await.unwrap();
    let workers = Workers::start(&queue, 8, |_hint| std::future::pending());
    workers.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server; tests/run runs it"]
async fn a_full_queue_refuses_until_there_is_room() {
    let server = Server::start().await;
    let mut settings = server.settings();
    settings.backlog_limit = 10;
    let (queue, memory) = (Queue::redis(settings).await.unwrap(), Memory::new());
    let first = hints(10);
    queue.push(POOL, &first).await.unwrap();
    let full = QueueError::Full { pool: POOL.to_owned() };
    for _ in 0..3 {
        assert_eq!(queue.push(POOL, &hints(1)).await, Err(full.clone()));
    }
    assert_eq!(queue.depth(POOL).await, Ok(10));
    let workers = Workers::noting(&queue, 2, &memory);
    memory.reaches(10).await;
    let more = hints(1);
    until("room", async || queue.push(POOL, &more).await.is_ok()).await;
    memory.saw_all(&more).await;
    workers.stop().await;
}
