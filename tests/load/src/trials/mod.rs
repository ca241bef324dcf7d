//! One module for each thing that is measured.

mod auth_cost;
mod flight;
mod get;
mod jobs;
mod latency;
mod queue;
mod retention;
mod submit;
mod timing;

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    cli::{Cli, Trial},
    report::{Report, Row},
    stats::{Summary, Tally},
};

pub(crate) async fn run(cli: &Cli, report: &mut Report) -> anyhow::Result<()> {
    match &cli.trial {
        Trial::Submit(args) => submit::run(args, report).await,
        Trial::Jobs(args) => jobs::run(args, report).await,
        Trial::Get(args) => get::run(args, report).await,
        Trial::Queue(args) => queue::run(args, report).await,
        Trial::Latency(args) => latency::run(args, report).await,
        Trial::Timing(args) => timing::run(args, report).await,
        Trial::AuthCost(args) => auth_cost::run(args, report).await,
        Trial::Retention(args) => retention::run(args, report).await,
        Trial::Flight(args) => flight::run(args, report).await,
    }
}

/// The cells of one run in a closed loop.
fn loop_row(what: &str, connections: u16, seconds: u16, tally: &mut Tally) -> Row {
    let count = tally.latencies.len();
    let mut row: Row = vec![
        ("what", what.into()),
        ("connections", connections.into()),
        ("per second", rounded(per_second(count, seconds))),
    ];
    row.extend(percentiles(Summary::of(&mut tally.latencies)));
    row.push(("errors", tally.errors_in_words().into()));
    row
}

fn percentiles(summary: Option<Summary>) -> Row {
    let cell = |time: Option<_>| time.map_or(Value::Null, millis);
    vec![
        ("p50 ms", cell(summary.map(|s| s.p50))),
        ("p99 ms", cell(summary.map(|s| s.p99))),
        ("max ms", cell(summary.map(|s| s.max))),
    ]
}

/// Milliseconds to the hundredth.
fn millis(time: Duration) -> Value {
    json!((time.as_secs_f64() * 1e5).round() / 100.0)
}

/// Seconds to the hundredth.
fn seconds_of(time: Duration) -> Value {
    json!((time.as_secs_f64() * 100.0).round() / 100.0)
}

fn per_second(count: usize, seconds: u16) -> f64 {
    // No run counts anywhere near 2^52 things.
    count as f64 / f64::from(seconds)
}

fn rounded(number: f64) -> Value {
    json!((number * 10.0).round() / 10.0)
}
