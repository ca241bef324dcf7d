//! The queue alone: how fast hints are pushed, how fast workers that do nothing take them, and how
//! soon an idle worker has one. Every hint must come exactly once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use apalis::prelude::Monitor;
use config::queue::{Queue, RedisQueueSettings};
use entities::{JobHint, ids::JobId};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    cli::{Backend, QueueArgs},
    report::{Report, Row},
    services::Redis,
    stats::Summary,
    trials::{percentiles, rounded},
};

/// Hints in one push, as a round of the dispatcher makes them.
const PUSH: usize = 50;

/// Hints per second that workers with [`AT`] calls at the same time take from Redis.
const TARGET: f64 = 30_000.0;
const AT: u16 = 100;

/// How soon an idle worker has a hint from Redis, at the median.
const SOON: Duration = Duration::from_millis(1);

pub(super) async fn run(args: &QueueArgs, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let redis = match args.backend {
        Backend::Sqlite => None,
        Backend::Postgres => Some(Redis::start(folder.path())?),
    };
    let (args, url) = (args.clone(), redis.as_ref().map(Redis::url));
    // Workers share all cores, as they do in a worker process.
    let rows = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(trial(&args, url))
    });
    let (rows, missed) = rows.await.context("the trial panicked")??;
    for row in rows {
        report.row(row);
    }
    for what in missed {
        report.fail(what);
    }
    Ok(())
}

/// The rows, and the targets that were missed.
async fn trial(args: &QueueArgs, redis: Option<String>) -> anyhow::Result<(Vec<Row>, Vec<String>)> {
    let on_redis = redis.is_some();
    let (queue, name) = match redis {
        Some(url) => (Queue::redis(RedisQueueSettings::new(url.as_str())).await?, "redis"),
        None => (Queue::memory(), "memory"),
    };
    let patience = Duration::from_secs(args.timeout_seconds.into());
    let (mut rows, mut missed) = (Vec::new(), Vec::new());
    for &concurrency in &args.concurrency {
        let pool = format!("drain-{concurrency}");
        let (pushed, drained) =
            tokio::time::timeout(patience, drain(&queue, &pool, args.count, concurrency))
                .await
                .context("the queue did not run empty in time")??;
        let rate = |took: Duration| f64::from(args.count) / took.as_secs_f64();
        if on_redis && concurrency == AT && rate(drained) < TARGET {
            missed.push(format!(
                "{:.0} hints/s at concurrency {AT}; {TARGET} are wanted",
                rate(drained)
            ));
        }
        rows.push(vec![
            ("what", format!("queue {name}").into()),
            ("concurrency", concurrency.into()),
            ("hints", args.count.into()),
            ("pushed per second", rounded(rate(pushed))),
            ("handled per second", rounded(rate(drained))),
        ]);
    }
    let mut waits = tokio::time::timeout(patience, one_by_one(&queue, args.single))
        .await
        .context("an idle worker did not get its hints in time")??;
    let mut row = vec![
        ("what", format!("queue {name}, from push to an idle worker").into()),
        ("hints", args.single.into()),
    ];
    let waits = Summary::of(&mut waits);
    if on_redis && waits.is_none_or(|waits| waits.p50 >= SOON) {
        missed.push(format!("an idle worker waits longer than {SOON:?} at the median"));
    }
    row.extend(percentiles(waits));
    rows.push(row);
    Ok((rows, missed))
}

/// A monitor that runs until it is told to stop.
struct Running {
    stop: oneshot::Sender<()>,
    done: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(monitor: Monitor) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let done = tokio::spawn(async move {
            let signal = async {
                // Dropped or told: both are the end.
                let _ = stopped.await;
                Ok(())
            };
            let _ = monitor.run_with_signal(signal).await;
        });
        Self { stop, done }
    }

    async fn stop(self) -> anyhow::Result<()> {
        let _ = self.stop.send(());
        self.done.await.context("the workers panicked")
    }
}

/// How long it took to push, and then to handle, so many hints.
async fn drain(
    queue: &Queue,
    pool: &str,
    count: u32,
    concurrency: u16,
) -> anyhow::Result<(Duration, Duration)> {
    let hints: Vec<JobHint> =
        (0..count).map(|n| JobHint { job_id: JobId::generate(), epoch: n.into() }).collect();
    let began = Instant::now();
    for some in hints.chunks(PUSH) {
        queue.push(pool, some).await?;
    }
    let pushed = began.elapsed();

    let seen: Arc<Vec<AtomicU8>> = Arc::new((0..count).map(|_| AtomicU8::new(0)).collect());
    let (left, all) = (Arc::new(AtomicU32::new(count)), Arc::new(Notify::new()));
    let handler = {
        let (seen, all) = (Arc::clone(&seen), Arc::clone(&all));
        move |hint: JobHint| {
            let index = usize::try_from(hint.epoch).unwrap_or(usize::MAX);
            if let Some(seen) = seen.get(index) {
                seen.fetch_add(1, Ordering::Relaxed);
            }
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                all.notify_one();
            }
            std::future::ready(())
        }
    };
    let began = Instant::now();
    let running = Running::start(queue.register(Monitor::new(), pool, concurrency.into(), handler));
    all.notified().await;
    let drained = began.elapsed();
    running.stop().await?;
    let depth = queue.depth(pool).await?;
    let odd = seen.iter().filter(|seen| seen.load(Ordering::Relaxed) != 1).count();
    ensure!(odd == 0 && depth == 0, "{odd} hints did not come exactly once; {depth} are left");
    Ok((pushed, drained))
}

/// How long each of so many hints took to an idle worker.
async fn one_by_one(queue: &Queue, count: u32) -> anyhow::Result<Vec<Duration>> {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let handler = move |hint: JobHint| {
        let _ = arrived.send((hint.epoch, Instant::now()));
        std::future::ready(())
    };
    let running = Running::start(queue.register(Monitor::new(), "single", 10, handler));
    let mut waits = Vec::new();
    for epoch in 0..i64::from(count) {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let began = Instant::now();
        queue.push("single", &[JobHint { job_id: JobId::generate(), epoch }]).await?;
        let (came, at) = arrivals.recv().await.context("the worker has stopped")?;
        ensure!(came == epoch, "hint {came} came instead of {epoch}");
        // The first one waits for the worker to start.
        if epoch > 0 || count == 1 {
            waits.push(at.saturating_duration_since(began));
        }
    }
    running.stop().await?;
    Ok(waits)
}
