//! What submits notice when retention deletes a great deal: a usage log and uploads whose time is
//! over, planted in the database and the media folder, until nothing of them is left.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::{
    cli::{Pace, RetentionArgs},
    closed_loop::Run,
    planted::Planted,
    report::{Report, Row},
    stats::{Summary, Tally},
    tenants::{Bench, submit_request},
    trials::{per_second, percentiles, rounded},
};

/// How often it is looked whether everything is gone.
const LOOK_SECONDS: u16 = 5;
/// How much longer the slowest submits may take.
const TARGET: f64 = 2.0;

pub(super) async fn run(args: &RetentionArgs, report: &mut Report) -> anyhow::Result<()> {
    let bench = Bench::prepare(&args.target, &[], report).await?;
    let servers = bench.servers.as_ref().context("retention needs servers of its own")?;
    let planted = Planted::open(&servers.database_url(), &servers.data().join("media")).await?;
    let idle_pace = pace(args.idle_seconds, 2);
    let mut idle = submits(&bench, args.connections, "idle", &idle_pace).await;
    let began = Instant::now();
    planted.uploads(args.media).await?;
    planted.usage(args.usage_rows).await?;
    report.note("planting took", format!("{:.0} s", began.elapsed().as_secs_f64()));
    planted.are_due().await?;
    let (began, limit) = (Instant::now(), Duration::from_secs(args.timeout_seconds.into()));
    let (mut busy, mut seconds) = (Tally::default(), 0);
    let left = loop {
        let name = format!("busy-{seconds}");
        busy.absorb(submits(&bench, args.connections, &name, &pace(LOOK_SECONDS, 0)).await);
        seconds += LOOK_SECONDS;
        let left = planted.left().await?;
        if left == (0, 0) || began.elapsed() >= limit {
            break left;
        }
    };
    let took = began.elapsed().as_secs_f64();
    ensure!(!idle.latencies.is_empty(), "nothing was accepted: {}", idle.errors_in_words());
    let what = |name: &str| format!("submit {}, {name}", bench.name);
    report.row(row(&what("without retention"), args.idle_seconds, &mut idle));
    report.row(row(&what("while it deletes"), seconds, &mut busy));
    let p99 = [&mut idle, &mut busy].map(|tally| {
        Summary::of(&mut tally.latencies).map_or(f64::NAN, |summary| summary.p99.as_secs_f64())
    });
    let ratio = p99[1] / p99[0];
    report.row(vec![
        ("what", format!("retention {}", bench.name).into()),
        ("usage rows", args.usage_rows.into()),
        ("media", args.media.into()),
        ("seconds", rounded(took)),
        ("usage rows left", left.0.into()),
        ("media left", left.1.into()),
        ("p99 ratio", json!((ratio * 100.0).round() / 100.0)),
    ]);
    if left != (0, 0) {
        report.fail(format!("not everything was deleted within {} s", args.timeout_seconds));
    }
    // Without a measure it is not reached either.
    if ratio.is_nan() || ratio > TARGET {
        report.fail(format!("the p99 of submits grew {ratio:.2} times; {TARGET} is wanted"));
    }
    Ok(())
}

fn pace(seconds: u16, warm_up: u16) -> Pace {
    Pace { connections: Vec::new(), seconds, warm_up }
}

async fn submits(bench: &Bench, connections: u16, name: &str, pace: &Pace) -> Tally {
    let (keys, name) = (bench.keys.clone(), name.to_owned());
    let run = Run::new(bench.address, connections, 202, pace);
    run.drive(move |connection, n| {
        let once = format!("retention-{name}-{connection}-{n}");
        submit_request(&keys[connection % keys.len()], &once, 600)
    })
    .await
}

fn row(what: &str, seconds: u16, tally: &mut Tally) -> Row {
    let mut row: Row = vec![
        ("what", what.into()),
        ("per second", rounded(per_second(tally.latencies.len(), seconds))),
    ];
    row.extend(percentiles(Summary::of(&mut tally.latencies)));
    row.push(("errors", tally.errors_in_words().into()));
    row
}
