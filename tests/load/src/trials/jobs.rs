//! Whole jobs per second: from the first submit until no tenant has credits held.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;

use crate::{
    cli::{Backend, JobsArgs},
    closed_loop::call,
    report::Report,
    tenants::{Bench, submit_request},
    trials::rounded,
};

/// Jobs per second on PostgreSQL with a provider that answers at once.
const TARGET: f64 = 1000.0;
/// Calls at the same time, unless told otherwise: what many jobs do is written in groups, and those
/// grow with it.
const POOL: u32 = 256;

pub(super) async fn run(args: &JobsArgs, report: &mut Report) -> anyhow::Result<()> {
    let at_once = [("TIKTOMATO__PROVIDERS__DEMO_AT_ONCE", (!args.polled).to_string())];
    let mut target = args.target.clone();
    target.pool.get_or_insert(POOL);
    let mut bench = Bench::prepare(&target, &at_once, report).await?;
    let began = Instant::now();
    submit_all(&bench, args.count, args.connections, 0).await?;
    let submitted = began.elapsed();
    let patience = Duration::from_secs(args.timeout_seconds.into());
    for tenant in 0..bench.keys.len() {
        while held(&mut bench, tenant).await? > 0 {
            ensure!(began.elapsed() < patience, "jobs are unsettled after {patience:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let settled = began.elapsed();
    for tenant in 0..bench.keys.len() {
        let failed = bench.get(tenant, "/v1/jobs?status=failed&limit=1").await?;
        let none = failed["data"].as_array().is_some_and(Vec::is_empty);
        ensure!(none, "a job failed: {}", failed["data"]);
    }
    let rate = f64::from(args.count) / settled.as_secs_f64();
    report.row(vec![
        ("what", format!("jobs {}", bench.name).into()),
        ("provider", if args.polled { "is polled" } else { "answers at once" }.into()),
        ("count", args.count.into()),
        ("submitted after s", rounded(submitted.as_secs_f64())),
        ("settled after s", rounded(settled.as_secs_f64())),
        ("jobs per second", rounded(rate)),
    ]);
    if args.target.backend == Backend::Postgres && !args.polled && rate < TARGET {
        report.fail(format!("{rate:.0} jobs/s; {TARGET} are wanted"));
    }
    Ok(())
}

async fn held(bench: &mut Bench, tenant: usize) -> anyhow::Result<i64> {
    let credits = bench.get(tenant, "/v1/credits").await?;
    credits["held"].as_i64().with_context(|| format!("no `held` in {credits}"))
}

/// Submits that many jobs, over that many connections, in turn for each tenant.
pub(super) async fn submit_all(
    bench: &Bench,
    count: u32,
    connections: u16,
    delay: u32,
) -> anyhow::Result<()> {
    let next = Arc::new(AtomicU32::new(0));
    let keys = Arc::new(bench.keys.clone());
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (next, keys, address) = (Arc::clone(&next), Arc::clone(&keys), bench.address);
        tasks.spawn(async move {
            let mut connection = None;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return anyhow::Ok(());
                }
                let key = &keys[n as usize % keys.len()];
                let bytes = submit_request(key, &format!("job-{n}"), delay);
                let reply = call(&mut connection, address, &bytes).await?;
                let _job: serde_json::Value = reply.expect(202)?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.context("a task panicked")??;
    }
    Ok(())
}
