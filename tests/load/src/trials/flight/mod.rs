//! Many videos in flight at a provider that takes long, through one worker process: what they cost
//! in memory and in work while nothing happens, and how soon a result is there once the provider
//! has it. Jobs in flight are meant to be rows, not tasks.
//!
//! | file | what |
//! |---|---|
//! | `provider` | the demo provider, or a simulator that is started here |
//! | `usage` | what processes and the database did between two looks |
//! | `arrivals` | submits at an even pace, and the delay from "done there" to `succeeded` |

mod arrivals;
mod provider;
mod usage;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use self::{
    arrivals::Delays,
    provider::Provider,
    usage::{Usage, mib},
};
use crate::{
    cli::{At, Backend, FlightArgs},
    report::Report,
    tenants::Bench,
    trials::{rounded, seconds_of},
};

/// How often the trial looks while it waits.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn run(args: &FlightArgs, report: &mut Report) -> anyhow::Result<()> {
    ensure!(args.target.address.is_none(), "measured are servers that are started here");
    let simulated = args.at != At::Demo;
    ensure!(
        !simulated || args.target.backend == Backend::Postgres,
        "simulators need --backend postgres: the delays are read there"
    );
    let provider = Provider::start(args)?;
    let mut settings = provider.settings(args)?;
    settings.push(("TIKTOMATO__LIMITS__DISPATCH_PER_WORKSPACE", args.count.to_string()));
    let bench = Bench::prepare(&args.target, &settings, report).await?;
    let servers = bench.servers.as_ref().context("no servers of our own")?;
    report.note("provider", provider.describe(args));
    let window = Duration::from_secs(args.window_seconds.into());
    let empty = Usage::between(servers, window).await?;

    let began = Instant::now();
    arrivals::submit_all(&bench, args, &provider).await?;
    let submitted = began.elapsed();
    let patience = Duration::from_secs(args.timeout_seconds.into());
    let mut peak = 0.0_f64;
    // Those that a slow provider's limits hold back are not in flight.
    let wanted = f64::from(args.count) * if simulated { 0.9 } else { 1.0 };
    while peak < wanted {
        peak = peak.max(in_flight(&servers.metrics().await?));
        let over = simulated && began.elapsed() > submitted + provider.time(args);
        if over {
            break;
        }
        ensure!(began.elapsed() < patience, "only {peak} jobs run after {patience:?}");
        tokio::time::sleep(LOOK).await;
    }
    let full = Usage::between(servers, window).await?;
    peak = peak.max(full.most_in_flight);
    usage_rows(report, &[("0", &empty), (&format!("{peak}"), &full)]);
    if simulated {
        let whole = wait_for_the_end(servers, args, began, patience).await?;
        let delays = Delays::read(servers, &provider.ended())?;
        delays.row(report, args, peak, whole);
    }
    memory_rows(report, servers)
}

/// Waits until every job has ended; the most polls per second on the way, over ten seconds.
async fn wait_for_the_end(
    servers: &crate::server::Servers,
    args: &FlightArgs,
    began: Instant,
    patience: Duration,
) -> anyhow::Result<f64> {
    let ten = Duration::from_secs(10);
    let (mut most, mut last) = (0.0_f64, usage::polls(&servers.metrics().await?));
    let mut at = Instant::now();
    loop {
        let left = servers.number("SELECT count(*) FROM jobs WHERE finished_at IS NULL")?;
        if left == 0 {
            return Ok(most);
        }
        ensure!(
            began.elapsed() < patience,
            "{left} of {} jobs have not ended after {patience:?}",
            args.count
        );
        tokio::time::sleep(LOOK).await;
        if at.elapsed() >= ten {
            let now = usage::polls(&servers.metrics().await?);
            most = most.max((now - last) / at.elapsed().as_secs_f64());
            (last, at) = (now, Instant::now());
        }
    }
}

fn usage_rows(report: &mut Report, windows: &[(&str, &Usage)]) {
    for (in_flight, usage) in windows {
        let mut row = vec![
            ("jobs in flight", (*in_flight).into()),
            ("for s", seconds_of(usage.span)),
            ("polls/s", rounded(usage.per_second(usage.polls))),
        ];
        if let Some(transactions) = usage.transactions {
            row.push(("transactions/s", rounded(usage.per_second(transactions))));
        }
        for (name, seconds) in &usage.cpu {
            row.push((name, rounded(usage.per_second(*seconds) * 100.0)));
        }
        report.row(row);
    }
}

/// What a worker process may need at most, in KiB.
const MEMORY_KIB: u64 = 200 * 1024;

fn memory_rows(report: &mut Report, servers: &crate::server::Servers) -> anyhow::Result<()> {
    for process in &servers.processes {
        let peak = process.memory_kib("VmHWM")?;
        if process.name == "workers" && peak >= MEMORY_KIB {
            report.fail(format!(
                "the workers' memory reached {peak} KiB; less than {MEMORY_KIB} is wanted"
            ));
        }
        report.row(vec![
            ("process", process.name.into()),
            ("peak MiB", mib(peak)),
            ("at the end MiB", mib(process.memory_kib("VmRSS")?)),
        ]);
    }
    Ok(())
}

/// Jobs in state `running`, over all pools.
fn in_flight(metrics: &str) -> f64 {
    usage::sum(metrics, "tiktomato_jobs_in_flight{", r#"state="running""#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_jobs_of_all_pools_are_counted() {
        let text = "# HELP tiktomato_jobs_in_flight …\n\
            tiktomato_jobs_in_flight{pool=\"demo\",state=\"running\"} 7\n\
            tiktomato_jobs_in_flight{pool=\"demo\",state=\"storing\"} 5\n\
            tiktomato_jobs_in_flight{pool=\"fal\",state=\"running\"} 2\n";
        assert!((in_flight(text) - 9.0).abs() < f64::EPSILON);
    }
}
