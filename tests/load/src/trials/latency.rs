//! How long an idle platform takes: from submit to the call of the provider, and to the end.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::DateTime;
use serde_json::Value;

use crate::{
    cli::LatencyArgs, report::Report, stats::Summary, tenants::Bench, trials::percentiles,
};

pub(super) async fn run(args: &LatencyArgs, report: &mut Report) -> anyhow::Result<()> {
    let mut bench = Bench::prepare(&args.target, &[], report).await?;
    let (mut provider, mut whole) = (Vec::new(), Vec::new());
    for n in 0..args.count {
        let tenant = n as usize;
        let began = Instant::now();
        let job = bench.submit(tenant, &format!("latency-{n}"), 0).await?;
        let id = job["id"].as_str().context("a job without an id")?;
        let job = bench.get(tenant, &format!("/v1/jobs/{id}?wait=30")).await?;
        let elapsed = began.elapsed();
        ensure!(job["status"] == "succeeded", "the job ended otherwise: {job}");
        // The first job of a process also fills its caches and connections.
        if n > 0 || args.count == 1 {
            provider.push(between(&job["created_at"], &job["attempts"][0]["started_at"])?);
            whole.push(elapsed);
        }
    }
    for (what, mut times) in [("to the provider", provider), ("to the finished job", whole)] {
        let mut row = vec![
            ("what", format!("latency {}, {what}", bench.name).into()),
            ("count", times.len().into()),
        ];
        row.extend(percentiles(Summary::of(&mut times)));
        report.row(row);
    }
    Ok(())
}

fn between(from: &Value, to: &Value) -> anyhow::Result<Duration> {
    let time = |value: &Value| {
        let text = value.as_str().with_context(|| format!("not a time: {value}"))?;
        DateTime::parse_from_rfc3339(text).with_context(|| text.to_owned())
    };
    (time(to)? - time(from)?).to_std().context("an attempt that began before its job")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_subtracted() {
        let (from, to) = (json!("2026-01-01T00:00:00.5Z"), json!("2026-01-01T00:00:00.502Z"));
        assert_eq!(between(&from, &to).unwrap(), Duration::from_millis(2));
        assert!(between(&to, &from).is_err());
        assert!(between(&Value::Null, &to).is_err());
    }
}
