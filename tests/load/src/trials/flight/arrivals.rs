//! Submits at an even pace, and the delays at the other end.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;

use super::provider::Provider;
use crate::{
    cli::FlightArgs,
    closed_loop::call,
    http::request,
    report::Report,
    server::Servers,
    stats::Summary,
    tenants::Bench,
    trials::{rounded, seconds_of},
};

const CONNECTIONS: usize = 16;

/// How soon after its end at the provider a job has succeeded, at the median, with callbacks.
const SOON: Duration = Duration::from_secs(1);

/// Submits all jobs, so many a second, in turn for each tenant.
pub(super) async fn submit_all(
    bench: &Bench,
    args: &FlightArgs,
    provider: &Provider,
) -> anyhow::Result<()> {
    let next = Arc::new(AtomicU32::new(0));
    let requests: Vec<Vec<u8>> = (0..args.count)
        .map(|n| {
            let body = provider.body(n).to_string();
            let key = format!("flight-{n}");
            request("POST", "/v1/jobs", bench.key(n as usize), Some((&key, &body)))
        })
        .collect();
    let (requests, began) = (Arc::new(requests), Instant::now());
    let rate = args.rate.unwrap_or(f64::INFINITY);
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (next, requests, address) = (Arc::clone(&next), Arc::clone(&requests), bench.address);
        tasks.spawn(async move {
            let mut connection = None;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(bytes) = requests.get(n as usize) else { return anyhow::Ok(()) };
                let due = began + Duration::from_secs_f64(f64::from(n) / rate);
                tokio::time::sleep_until(due.into()).await;
                let reply = call(&mut connection, address, bytes).await?;
                let _job: serde_json::Value = reply.expect(202)?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.context("a task panicked")??;
    }
    Ok(())
}

/// From "done at the provider" to `succeeded`.
pub(super) struct Delays {
    delays: Vec<Duration>,
    others: usize,
}

impl Delays {
    /// Reads when each job succeeded; `ended` says when the provider was done with it.
    pub(super) fn read(servers: &Servers, ended: &HashMap<String, i64>) -> anyhow::Result<Self> {
        let sql = "SELECT a.request_id, j.state, j.finished_at FROM jobs j \
                   JOIN attempts a ON a.job_id = j.id WHERE a.request_id IS NOT NULL";
        let (mut delays, mut others) = (Vec::new(), 0);
        for line in servers.query(sql)?.lines() {
            let mut cells = line.split('|');
            let mut cell = || cells.next().with_context(|| format!("half a row: {line}"));
            let (id, state, finished) = (cell()?, cell()?, cell()?);
            match ended.get(id) {
                Some(ended) if state == "succeeded" => {
                    let delay = finished.parse::<i64>()? - ended;
                    delays.push(Duration::from_micros(u64::try_from(delay).unwrap_or(0)));
                }
                _ => others += 1,
            }
        }
        ensure!(!delays.is_empty(), "no job has succeeded");
        Ok(Self { delays, others })
    }

    /// Also says whether callbacks brought the results as soon as they should.
    pub(super) fn row(mut self, report: &mut Report, args: &FlightArgs, peak: f64, polls: f64) {
        let count = self.delays.len();
        let cell = |time: Option<Duration>| time.map_or(serde_json::Value::Null, seconds_of);
        let summary = Summary::of(&mut self.delays);
        report.row(vec![
            ("jobs", args.count.into()),
            ("most in flight", rounded(peak)),
            ("succeeded", count.into()),
            ("otherwise", self.others.into()),
            ("most polls/s", rounded(polls)),
            ("done to succeeded: p50 s", cell(summary.map(|s| s.p50))),
            ("p99 s", cell(summary.map(|s| s.p99))),
            ("max s", cell(summary.map(|s| s.max))),
        ]);
        if !args.no_callbacks && summary.is_none_or(|s| s.p50 >= SOON) {
            report.fail(format!("results are there later than {SOON:?} at the median"));
        }
    }
}
