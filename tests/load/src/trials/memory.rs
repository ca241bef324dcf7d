//! What many jobs in flight cost in memory: they are meant to be rows, not tasks.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::{
    cli::MemoryArgs,
    report::Report,
    tenants::Bench,
    trials::{jobs::submit_all, rounded},
};

/// The provider holds each job this long: the time to bring all of them into flight.
const DELAY_SECONDS: u32 = 600;
const CONNECTIONS: u16 = 16;

pub(super) async fn run(args: &MemoryArgs, report: &mut Report) -> anyhow::Result<()> {
    ensure!(args.target.address.is_none(), "memory is measured on servers that are started here");
    let limit = [("TIKTOMATO__LIMITS__DISPATCH_PER_WORKSPACE", args.count.to_string())];
    let bench = Bench::prepare(&args.target, &limit, report).await?;
    let servers = bench.servers.as_ref().context("no servers of our own")?;
    let before: Vec<u64> = resident(servers)?;
    let began = Instant::now();
    submit_all(&bench, args.count, CONNECTIONS, DELAY_SECONDS).await?;
    let patience = Duration::from_secs(args.timeout_seconds.into());
    loop {
        let running = in_flight(&servers.metrics().await?);
        if running >= f64::from(args.count) {
            break;
        }
        ensure!(began.elapsed() < patience, "only {running} jobs run after {patience:?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let after = resident(servers)?;
    for ((process, before), after) in servers.processes.iter().zip(before).zip(after) {
        report.row(vec![
            ("process", process.name.into()),
            ("jobs in flight", args.count.into()),
            ("idle MiB", mib(before)),
            ("then MiB", mib(after)),
        ]);
    }
    Ok(())
}

fn resident(servers: &crate::server::Servers) -> anyhow::Result<Vec<u64>> {
    servers.processes.iter().map(crate::server::Process::resident_kib).collect()
}

fn mib(kib: u64) -> serde_json::Value {
    rounded(kib as f64 / 1024.0)
}

/// Jobs in state `running`, over all pools.
fn in_flight(metrics: &str) -> f64 {
    metrics
        .lines()
        .filter(|line| line.starts_with("tiktomato_jobs_in_flight{"))
        .filter(|line| line.contains(r#"state="running""#))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
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
