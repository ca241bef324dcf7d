//! Submits accepted per second, and how that compares with PostgreSQL's own rate.

use std::time::Duration;

use crate::{
    cli::SubmitArgs,
    closed_loop::Run,
    pgbench::Yardstick,
    report::Report,
    stats::Summary,
    tenants::{Bench, submit_request},
    trials::{loop_row, per_second, rounded},
};

/// Where the targets for PostgreSQL are set: so many connections, so many times pgbench's rate,
/// and so soon.
const AT: u16 = 64;
const RATIO: f64 = 2.0;
const P99: Duration = Duration::from_millis(20);

pub(super) async fn run(args: &SubmitArgs, report: &mut Report) -> anyhow::Result<()> {
    let mut bench = Bench::prepare(&args.target, &[], report).await?;
    let mut yardstick = if args.no_pgbench {
        None
    } else {
        Yardstick::prepare(&mut bench, args.delay_seconds).await?
    };
    let postgres = bench.servers.as_ref().and_then(|servers| servers.postgres.as_ref());
    for (number, &connections) in args.pace.connections.iter().enumerate() {
        let pgbench = match (&mut yardstick, postgres) {
            (Some(yardstick), Some(postgres)) => {
                if args.pace.warm_up > 0 {
                    yardstick.rate(postgres, connections, args.pace.warm_up)?;
                }
                Some(yardstick.rate(postgres, connections, args.pace.seconds)?)
            }
            _ => None,
        };
        let keys = bench.keys.clone();
        let delay = args.delay_seconds;
        let run = Run::new(bench.address, connections, 202, &args.pace);
        let mut tally = run
            .drive(move |connection, n| {
                let idempotency_key = format!("submit-{number}-{connection}-{n}");
                submit_request(&keys[connection % keys.len()], &idempotency_key, delay)
            })
            .await;
        let rate = per_second(tally.latencies.len(), args.pace.seconds);
        let what = format!("submit {}", bench.name);
        let mut row = loop_row(&what, connections, args.pace.seconds, &mut tally);
        if let Some(pgbench) = pgbench {
            row.push(("pgbench per second", rounded(pgbench)));
            row.push(("ratio", rounded(rate / pgbench)));
        }
        report.row(row);
        if let Some(pgbench) = pgbench
            && connections == AT
        {
            compare(rate / pgbench, Summary::of(&mut tally.latencies), report);
        }
    }
    Ok(())
}

fn compare(ratio: f64, times: Option<Summary>, report: &mut Report) {
    if ratio < RATIO {
        report.fail(format!(
            "{ratio:.2} times pgbench's rate at {AT} connections; {RATIO} times is wanted"
        ));
    }
    let p99 = times.map_or(Duration::MAX, |times| times.p99);
    if p99 >= P99 {
        report.fail(format!("p99 is {p99:.1?} at {AT} connections; less than {P99:?} is wanted"));
    }
}
