//! What the processes and the database did within a span of time.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{machine, server::Servers, trials::rounded};

/// Work within a span.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) span: Duration,
    /// Looks at the provider.
    pub(super) polls: f64,
    /// Committed or taken back; only PostgreSQL says so.
    pub(super) transactions: Option<f64>,
    /// Processor seconds of each process.
    pub(super) cpu: Vec<(&'static str, f64)>,
    /// Jobs that ran at the provider, at either end of the span.
    pub(super) most_in_flight: f64,
}

struct Look {
    at: Instant,
    metrics: String,
    transactions: Option<f64>,
    cpu: Vec<(&'static str, f64)>,
}

impl Usage {
    /// Watches for so long.
    pub(super) async fn between(servers: &Servers, span: Duration) -> anyhow::Result<Self> {
        let before = look(servers).await?;
        tokio::time::sleep(span).await;
        let after = look(servers).await?;
        let named = |(name, seconds): (&'static str, f64)| {
            let began = before.cpu.iter().find(|(known, _)| *known == name);
            (name, seconds - began.map_or(0.0, |(_, seconds)| *seconds))
        };
        let flying = super::in_flight(&before.metrics).max(super::in_flight(&after.metrics));
        Ok(Self {
            span: after.at - before.at,
            polls: polls(&after.metrics) - polls(&before.metrics),
            transactions: after.transactions.zip(before.transactions).map(|(to, from)| to - from),
            cpu: after.cpu.into_iter().map(named).collect(),
            most_in_flight: flying,
        })
    }

    pub(super) fn per_second(&self, count: f64) -> f64 {
        count / self.span.as_secs_f64()
    }
}

async fn look(servers: &Servers) -> anyhow::Result<Look> {
    let sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database \
               WHERE datname = current_database()";
    let transactions = match servers.postgres {
        Some(_) => Some(servers.number(sql)? as f64),
        None => None,
    };
    let cpu = servers.processes.iter().map(|process| {
        let name = match process.name {
            "workers" => "workers CPU %",
            "gateway" => "gateway CPU %",
            "scheduler" => "scheduler CPU %",
            _ => "CPU %",
        };
        Ok((name, machine::cpu_seconds(process.id())?))
    });
    let cpu = cpu.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Look { at: Instant::now(), metrics: servers.metrics().await?, transactions, cpu })
}

/// All looks at providers so far.
pub(super) fn polls(metrics: &str) -> f64 {
    sum(metrics, "tiktomato_provider_requests_total{", r#"operation="poll""#)
}

/// The sum of the series whose lines begin so and contain this.
pub(super) fn sum(metrics: &str, begin: &str, part: &str) -> f64 {
    metrics
        .lines()
        .filter(|line| line.starts_with(begin) && line.contains(part))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

pub(super) fn mib(kib: u64) -> Value {
    rounded(kib as f64 / 1024.0)
}
