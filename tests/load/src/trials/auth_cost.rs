//! What knowing who calls costs a submit: authentication, rate limits and the usage log.
//!
//! Two installations run side by side, one with limits and usage log and one without, and are
//! driven in turn, so that whatever else the machine does hits both; the median round counts.
//! Authentication cannot be switched off, so its time is taken from requests that end right behind
//! it: one that is refused because its job's id is none, less one for an address where there is
//! nothing. Neither reconciles its ledger meanwhile, which would read more for each submit so far.
//!
//! `--control` measures two installations that are the same, without limits and log: what it prints
//! is what this trial would find where there is nothing to find.

use anyhow::ensure;

use crate::{
    cli::{AuthCostArgs, Pace},
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
    let off = OFF.map(|(name, value)| (name, value.to_owned()));
    let (name, none) = if args.control { ("control", &off[..]) } else { ("cost", &off[..1]) };
    let with = Bench::prepare(&args.target, none, report).await?;
    let without = Bench::prepare(&args.target, &off, &mut Report::new(Vec::new())).await?;
    let benches = [with, without];
    for &connections in &args.pace.connections {
        let Driven { mut tallies, mut kept } = alternately(&benches, args, connections).await;
        let seconds = args.pace.seconds * args.rounds;
        let rates = [0, 1].map(|n| per_second(tallies[n].latencies.len(), seconds));
        ensure!(rates[1] > 0.0, "nothing was accepted: {}", tallies[1].errors_in_words());
        let kept = median(&mut kept);
        let authentication = authentication(&benches[1], connections, &args.pace).await;
        // Seconds of the whole machine for one submit that is not even asked who it is from.
        let bare = 1.0 / (1.0 / rates[1] - authentication.max(0.0));
        let lost = (1.0 - kept * rates[1] / bare) * 100.0;
        let backend = &benches[0].name;
        let first = if args.control { "the same" } else { "with all" };
        for (what, n) in [(first, 0), ("no limits, no log", 1)] {
            let tally = &mut tallies[n];
            let mut row = vec![
                ("what", format!("submit {backend}, {what}").into()),
                ("connections", connections.into()),
                ("per second", rounded(rates[n])),
            ];
            row.extend(percentiles(Summary::of(&mut tally.latencies)));
            row.push(("errors", tally.errors_in_words().into()));
            report.row(row);
        }
        report.row(vec![
            ("what", format!("{name} {backend}").into()),
            ("connections", connections.into()),
            ("authentication us", rounded(authentication * 1e6)),
            ("limits and log %", rounded((1.0 - kept) * 100.0)),
            ("everything %", rounded(lost)),
        ]);
        if lost >= TARGET {
            report
                .fail(format!("{lost:.1} % of throughput is lost; less than {TARGET} % is wanted"));
        }
    }
    Ok(())
}

/// What came of driving both.
struct Driven {
    tallies: [Tally; 2],
    /// For each round the share of the second's throughput that the first one had.
    kept: Vec<f64>,
}

/// Drives both in turn: with, without, without, with, …, so that a drift of the machine cancels
/// out. Before anything counts each has a turn: whichever came first would be driven while it is
/// new, and the other one would not.
async fn alternately(benches: &[Bench; 2], args: &AuthCostArgs, connections: u16) -> Driven {
    let mut driven = Driven { tallies: [Tally::default(), Tally::default()], kept: Vec::new() };
    for round in 0..=args.rounds {
        let mut accepted = [0.0; 2];
        for turn in [0, 1] {
            let which = usize::from((round + turn) % 2 == 1);
            let bench = &benches[which];
            let (keys, delay) = (bench.keys.clone(), args.delay_seconds);
            let run = Run::new(bench.address, connections, 202, &args.pace);
            let tally = run
                .drive(move |connection, n| {
                    let name = format!("auth-{connections}-{round}-{connection}-{n}");
                    submit_request(&keys[connection % keys.len()], &name, delay)
                })
                .await;
            accepted[which] = per_second(tally.latencies.len(), args.pace.seconds);
            if round > 0 {
                driven.tallies[which].absorb(tally);
            }
        }
        if round > 0 {
            driven.kept.push(accepted[0] / accepted[1]);
        }
    }
    driven
}

/// Once a minute PostgreSQL vacuums, and takes half of the machine from whoever has the turn: a
/// mean would tell which of the two that was.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
}

/// The time of this machine that one authentication takes, in seconds.
async fn authentication(bench: &Bench, connections: u16, pace: &Pace) -> f64 {
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

/// No reconciliation, which both are without; no limits, and no usage log. With them is how servers
/// are started otherwise: limits are counted, but so high that none is reached.
const OFF: [(&str, &str); 6] = [
    ("TIKTOMATO__SCHEDULER__RECONCILE_SECONDS", "86400"),
    ("TIKTOMATO__LIMITS__REQUESTS_PER_ADDRESS", "0"),
    ("TIKTOMATO__LIMITS__ANONYMOUS_PER_ADDRESS", "0"),
    ("TIKTOMATO__LIMITS__REQUESTS_PER_KEY", "0"),
    ("TIKTOMATO__LIMITS__REQUESTS_PER_WORKSPACE", "0"),
    ("TIKTOMATO__LIMITS__USAGE_LOG", "false"),
];
