//! What knowing who calls costs a submit: authentication, rate limits and the usage log.
//!
//! Two installations run side by side, one with limits and usage log and one without, and are
//! driven in turn, so that whatever else the machine does hits both. Authentication cannot be
//! switched off, so its time is taken from requests that end right behind it: one that is refused
//! because its job's id is none, less one for an address where there is nothing.

use anyhow::ensure;

use crate::{
    cli::AuthCostArgs,
    closed_loop::Run,
    http::request,
    report::Report,
    stats::{Summary, Tally},
    tenants::{Bench, submit_request},
    trials::{per_second, percentiles, rounded},
};

/// What may be lost to it, in percent of throughput.
const TARGET: f64 = 10.0;

pub(super) async fn run(args: &AuthCostArgs, report: &mut Report) -> anyhow::Result<()> {
    let with = Bench::prepare(&args.target, &[], report).await?;
    let off = OFF.map(|(name, value)| (name, value.to_owned()));
    let without = Bench::prepare(&args.target, &off, &mut Report::new(Vec::new())).await?;
    let pace = &args.pace;
    for &connections in &pace.connections {
        let mut tallies = [Tally::default(), Tally::default()];
        // with, without, without, with, …: a drift of the machine cancels out.
        for round in 0..args.rounds * 2 {
            let which = usize::from(matches!(round % 4, 1 | 2));
            let bench = if which == 0 { &with } else { &without };
            let (keys, delay) = (bench.keys.clone(), args.delay_seconds);
            let run = Run::new(bench.address, connections, 202, pace);
            let tally = run
                .drive(move |connection, n| {
                    let name = format!("auth-{connections}-{round}-{connection}-{n}");
                    submit_request(&keys[connection % keys.len()], &name, delay)
                })
                .await;
            tallies[which].absorb(tally);
        }
        let seconds = pace.seconds * args.rounds;
        let rates = [0, 1].map(|n| per_second(tallies[n].latencies.len(), seconds));
        ensure!(rates[1] > 0.0, "nothing was accepted: {}", tallies[1].errors_in_words());
        let authentication = authentication(&without, connections, pace).await;
        // Seconds of the whole machine for one submit that is not even asked who it is from.
        let bare = 1.0 / (1.0 / rates[1] - authentication.max(0.0));
        let lost = (1.0 - rates[0] / bare) * 100.0;
        for (what, n) in [("with all", 0), ("no limits, no log", 1)] {
            let tally = &mut tallies[n];
            let mut row = vec![
                ("what", format!("submit {}, {what}", with.name).into()),
                ("connections", connections.into()),
                ("per second", rounded(rates[n])),
            ];
            row.extend(percentiles(Summary::of(&mut tally.latencies)));
            row.push(("errors", tally.errors_in_words().into()));
            report.row(row);
        }
        report.row(vec![
            ("what", format!("cost {}", with.name).into()),
            ("connections", connections.into()),
            ("authentication us", rounded(authentication * 1e6)),
            ("limits and log %", rounded((1.0 - rates[0] / rates[1]) * 100.0)),
            ("everything %", rounded(lost)),
        ]);
        if lost >= TARGET {
            report
                .fail(format!("{lost:.1} % of throughput is lost; less than {TARGET} % is wanted"));
        }
    }
    Ok(())
}

/// The time of this machine that one authentication takes, in seconds.
async fn authentication(bench: &Bench, connections: u16, pace: &crate::cli::Pace) -> f64 {
    let mut times = [0.0; 2];
    for (n, path) in ["/v1/jobs/none", "/v2/jobs/none"].into_iter().enumerate() {
        let keys = bench.keys.clone();
        let run = Run::new(bench.address, connections, 404, pace);
        let tally = run
            .drive(move |connection, _| request("GET", path, &keys[connection % keys.len()], None))
            .await;
        times[n] = 1.0 / per_second(tally.latencies.len(), pace.seconds);
    }
    times[0] - times[1]
}

/// No limits, and no usage log. With them is how servers are started otherwise: limits are counted,
/// but so high that none is reached.
const OFF: [(&str, &str); 5] = [
    ("TIKTOMATO__LIMITS__REQUESTS_PER_ADDRESS", "0"),
    ("TIKTOMATO__LIMITS__ANONYMOUS_PER_ADDRESS", "0"),
    ("TIKTOMATO__LIMITS__REQUESTS_PER_KEY", "0"),
    ("TIKTOMATO__LIMITS__REQUESTS_PER_WORKSPACE", "0"),
    ("TIKTOMATO__LIMITS__USAGE_LOG", "false"),
];
