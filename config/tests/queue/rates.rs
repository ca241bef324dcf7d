//! Buckets that processes share on Redis.

use std::{num::NonZeroU32, time::Duration};

use config::rates::{Answer, Bucket, Quota, Rates};

use crate::{server::Server, support::until};

/// Longer than a busy machine makes an answer take.
const PATIENCE: Duration = Duration::from_secs(5);

/// So slow that nothing comes back during a test.
fn bucket(owner: &str, burst: u32) -> Bucket {
    let quota = Quota::per_minute(NonZeroU32::MIN, NonZeroU32::new(burst).unwrap());
    Bucket { limit: "test", owner: owner.to_owned(), quota }
}

fn quick(owner: &str, rate: u32) -> Bucket {
    let rate = NonZeroU32::new(rate).unwrap();
    Bucket { quota: Quota::per_minute(rate, NonZeroU32::MIN), ..bucket(owner, 1) }
}

fn shared(server: &Server) -> Rates {
    Rates::redis(server.url().as_str(), "x", PATIENCE).unwrap()
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn processes_fill_one_bucket_together() {
    let server = Server::start().await;
    let processes: Vec<Rates> = (0..4).map(|_| shared(&server)).collect();
    let asked = [bucket("one", 5), bucket("other", 100)];
    for process in &processes {
        process.take(&[bucket("warm", 9)]).await;
    }
    let asks = (0..40).map(|n| processes[n % 4].take(&asked));
    let answers = futures::future::join_all(asks).await;
    let admitted = answers.iter().filter(|answer| answer.retry_after.is_none()).count();
    assert_eq!(admitted, 5);
    // A refusal took nothing from the other bucket.
    let other = processes[0].take(&asked[1..]).await;
    assert_eq!(other.standings[0].left, 94);
    let minute = Duration::from_secs(60);
    for wait in answers.iter().filter_map(|answer| answer.retry_after) {
        assert!(wait <= minute && wait > minute / 2, "{wait:?}");
    }
    let neighbour = Rates::redis(server.url().as_str(), "y", PATIENCE).unwrap();
    assert_eq!(neighbour.take(&asked).await.retry_after, None);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn the_script_and_this_process_do_the_same_sums() {
    let server = Server::start().await;
    let (here, there) = (Rates::local(), shared(&server));
    there.take(&[bucket("warm", 9)]).await;
    // Always other buckets of different sizes together, some of them never full.
    let asks: Vec<Vec<Bucket>> = (0_u32..600)
        .map(|n| {
            (0..4)
                .filter(|bit| n.wrapping_mul(2_654_435_761) >> (bit + 13) & 1 == 1)
                .map(|bit| bucket(&bit.to_string(), [3, 20, 60, 1_000][bit as usize]))
                .collect()
        })
        .collect();
    let says = |answer: &Answer| -> (bool, Vec<u32>) {
        let left = answer.standings.iter().map(|standing| standing.left);
        (answer.retry_after.is_some(), left.collect())
    };
    // One by one, and then many of them together.
    let (single, together) = asks.split_at(100);
    for (n, asked) in single.iter().enumerate() {
        let (here, there) = (here.take(asked).await, there.take(asked).await);
        assert_eq!(says(&here), says(&there), "{n}");
    }
    let answers = futures::future::join_all(together.iter().map(|asked| there.take(asked))).await;
    for (n, (asked, there)) in together.iter().zip(answers).enumerate() {
        assert_eq!(says(&here.take(asked).await), says(&there), "{n}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_bucket_is_whole_again_in_time_and_nothing_stays_behind() {
    let server = Server::start().await;
    let rates = shared(&server);
    let asked = [quick("a", 300)];
    until("it admits", async || rates.take(&asked).await.retry_after.is_none()).await;
    until("it admits again", async || rates.take(&asked).await.retry_after.is_none()).await;
    until("the bucket is forgotten", async || server.command::<u64>("DBSIZE").await == 0).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn this_process_decides_alone_while_redis_is_away() {
    let mut server = Server::start().await;
    let rates = shared(&server);
    let asked = [bucket("a", 3)];
    until("it is shared", async || {
        rates.take(&[bucket("warm", 100)]).await;
        server.command::<u64>("DBSIZE").await > 0
    })
    .await;
    server.kill();
    let begun = tokio::time::Instant::now();
    let mut admitted = 0;
    while rates.take(&asked).await.retry_after.is_none() {
        admitted += 1;
    }
    assert_eq!(admitted, 3, "the limit holds in this process");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    // Redis has forgotten the script too.
    server.restart().await;
    until("it is shared again", async || {
        rates.take(&[bucket("warm", 1_000)]).await;
        server.command::<u64>("DBSIZE").await > 0
    })
    .await;
}

/// How many scripts the server has run.
async fn scripts(server: &Server) -> u64 {
    let stats: String = server.command("INFO commandstats").await;
    let calls = stats.lines().filter(|line| line.starts_with("cmdstat_eval"));
    let count = |line: &str| line.split_once("calls=")?.1.split_once(',')?.0.parse::<u64>().ok();
    calls.filter_map(count).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn what_is_taken_in_advance_breaks_no_limit() {
    let server = Server::start().await;
    let quota = Quota::per_minute(
        NonZeroU32::new(240_000).unwrap(), // 4,000 a second
        NonZeroU32::new(8_000).unwrap(),
    );
    let processes: Vec<Rates> = (0..4).map(|_| shared(&server)).collect();
    let quota = processes[0].kept(quota);
    let asked = ["a", "b"].map(|owner| Bucket { quota, ..bucket(owner, 1) });
    for process in &processes {
        until("it is shared", async || {
            process.take(&[bucket("warm", 1_000)]).await;
            server.command::<u64>("DBSIZE").await > 0
        })
        .await;
    }
    let before = scripts(&server).await;
    let begun = tokio::time::Instant::now();
    let clients = (0..32).map(|n| {
        let (rates, asked) = (processes[n % 4].clone(), asked.clone());
        tokio::spawn(async move {
            let (mut admitted, mut refused) = (0_u64, 0_u64);
            while begun.elapsed() < Duration::from_secs(4) {
                match rates.take(&asked).await.retry_after {
                    None => admitted += 1,
                    Some(wait) => {
                        refused += 1;
                        tokio::time::sleep(wait).await;
                    }
                }
            }
            (admitted, refused)
        })
    });
    let (mut admitted, mut refused) = (0, 0);
    for client in futures::future::join_all(clients).await {
        let (more, less) = client.unwrap();
        (admitted, refused) = (admitted + more, refused + less);
    }
    let most = 8_000 + (begun.elapsed().as_secs_f64() * 4_000.0) as u64;
    let asks = scripts(&server).await - before;
    eprintln!("{admitted} of at most {most} admitted, {refused} refused, {asks} scripts");
    assert!(admitted <= most, "{admitted} admitted, {most} allowed");
    assert!(admitted * 10 > most * 9, "{admitted} admitted, {most} allowed");
    assert!(refused > 0);
    // Whom a bucket of this kind refuses is remembered like any other.
}

/// A refusal is remembered for as long as it holds: up to 25 ms here.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn whom_a_bucket_with_advances_refuses_is_remembered() {
    let server = Server::start().await;
    let rates = shared(&server);
    let quota = Quota::per_minute(NonZeroU32::new(2_400).unwrap(), NonZeroU32::new(200).unwrap());
    let kept = rates.kept(quota);
    assert!(kept.burst() < quota.burst());
    let asked = [Bucket { quota: kept, ..bucket("a", 1) }];
    until("it is remembered", async || {
        let crowd = (0..300).map(|_| rates.take(&asked));
        futures::future::join_all(crowd).await;
        rates.refusal(&asked[0]).is_some()
    })
    .await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn who_asks_often_is_not_asked_for_each_time() {
    let server = Server::start().await;
    let rates = shared(&server);
    let quota =
        Quota::per_minute(NonZeroU32::new(6_000_000).unwrap(), NonZeroU32::new(1 << 20).unwrap());
    let quota = rates.kept(quota);
    let asked = ["a", "b"].map(|owner| Bucket { quota, ..bucket(owner, 1) });
    until("it is shared", async || {
        rates.take(&asked).await;
        server.command::<u64>("DBSIZE").await > 0
    })
    .await;
    let before = scripts(&server).await;
    for _ in 0..5_000 {
        assert_eq!(rates.take(&asked).await.retry_after, None);
    }
    let asks = scripts(&server).await - before;
    assert!(asks < 1_000, "{asks} scripts for 5,000 requests");
}
