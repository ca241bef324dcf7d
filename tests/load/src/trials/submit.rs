//! Submits accepted per second, and how that compares with PostgreSQL's own rate.

use crate::{
    cli::SubmitArgs,
    closed_loop::Run,
    pgbench::Yardstick,
    report::Report,
    tenants::{Bench, submit_request},
    trials::{loop_row, per_second, rounded},
};

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
    }
    Ok(())
}
