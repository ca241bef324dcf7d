//! What knowing who calls costs a submit: authentication, rate limits and the usage log.
//!
//! Two gateways run side by side, one with limits and usage log and one without, on one database.
//! (SQLite has no second gateway; there they are two installations.) They are driven in turn, so
//! that whatever else the machine does hits both; the median round counts. Of two processes that are
//! the same one may be some percent faster, mostly the one that was started last; so the pair is
//! started anew several times, in both orders, and the mean counts.
//! Authentication cannot be switched off, so its time is taken from requests that end right behind
//! it: one that is refused because its job's id is none, less one for an address where there is
//! nothing. The ledger is not reconciled meanwhile, which would read more for each submit so far.
//!
//! `--control` measures two gateways that are the same, without limits and log: what it prints is
//! what this trial would find where there is nothing to find.

use anyhow::ensure;

use crate::{
    cli::{AuthCostArgs, Backend, Pace},
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
    let on = if args.control { &off[..] } else { &off[..1] };
    let installation = Bench::prepare(&args.target, &off[..1], report).await?;
    for &connections in &args.pace.connections {
        let mut found = Found::default();
        for pair in 0..args.pairs {
            let [with, without] = match (args.target.backend, pair % 2) {
                (Backend::Postgres, 0) => {
                    let with = installation.beside(on).await?;
                    [with, installation.beside(&off).await?]
                }
                (Backend::Postgres, _) => {
                    let without = installation.beside(&off).await?;
                    [installation.beside(on).await?, without]
                }
                (Backend::Sqlite, _) => {
                    let aside = &mut Report::new(Vec::new());
                    let with = Bench::prepare(&args.target, on, aside).await?;
                    [with, Bench::prepare(&args.target, &off, aside).await?]
                }
            };
            alternately(&[&with, &without], args, pair, connections, &mut found).await;
            found.authentications.push(authentication(&without, connections, &args.pace).await);
        }
        tell(args, connections, installation.name, found, report)?;
    }
    Ok(())
}

fn tell(
    args: &AuthCostArgs,
    connections: u16,
    backend: &str,
    mut found: Found,
    report: &mut Report,
) -> anyhow::Result<()> {
    let turns = f64::from(args.rounds) * f64::from(args.pairs);
    let accepted = |n: usize| found.tallies[n].latencies.len();
    let rates = [0, 1].map(|n| per_second(accepted(n), args.pace.seconds) / turns);
    ensure!(rates[1] > 0.0, "nothing was accepted: {}", found.tallies[1].errors_in_words());
    let (kept, error) = mean(&found.kept);
    let (authentication, _) = mean(&found.authentications);
    // Seconds of the whole machine for one submit that is not even asked who it is from.
    let bare = 1.0 / (1.0 / rates[1] - authentication.max(0.0));
    let lost = (1.0 - kept * rates[1] / bare) * 100.0;
    let (name, first) = if args.control { ("control", "the same") } else { ("cost", "with all") };
    for (what, n) in [(first, 0), ("no limits, no log", 1)] {
        let tally = &mut found.tallies[n];
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
        ("standard error %", rounded(error * 100.0)),
    ]);
    if !args.control && lost >= TARGET {
        report.fail(format!("{lost:.1} % of throughput is lost; less than {TARGET} % is wanted"));
    }
    Ok(())
}

/// What came of driving pairs.
#[derive(Default)]
struct Found {
    tallies: [Tally; 2],
    /// For each pair the share of the second's throughput that the first one had.
    kept: Vec<f64>,
    /// For each pair the time of one authentication, in seconds.
    authentications: Vec<f64>,
}

/// Drives both in turn: with, without, without, with, …, so that a drift of the machine cancels
/// out. Before anything counts each has a turn: whichever came first would be driven while it is
/// new, and the other one would not.
async fn alternately(
    benches: &[&Bench; 2],
    args: &AuthCostArgs,
    pair: u16,
    connections: u16,
    found: &mut Found,
) {
    let mut kept = Vec::new();
    for round in 0..=args.rounds {
        let mut accepted = [0.0; 2];
        for turn in [0, 1] {
            let which = usize::from((pair + round + turn) % 2 == 1);
            let bench = benches[which];
            let (keys, delay) = (bench.keys.clone(), args.delay_seconds);
            let run = Run::new(bench.address, connections, 202, &args.pace);
            let tally = run
                .drive(move |connection, n| {
                    let name = format!("{connections}-{pair}-{which}-{round}-{connection}-{n}");
                    submit_request(&keys[connection % keys.len()], &name, delay)
                })
                .await;
            accepted[which] = per_second(tally.latencies.len(), args.pace.seconds);
            if round > 0 {
                found.tallies[which].absorb(tally);
            }
        }
        if round > 0 {
            kept.push(accepted[0] / accepted[1]);
        }
    }
    found.kept.push(median(&mut kept));
}

/// The mean, and its standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0) / count).sqrt())
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

/// No reconciliation, which neither has; no limits, and no usage log. With them is how servers
/// are started otherwise: limits are counted, but so high that none is reached.
const OFF: [(&str, &str); 6] = [
    ("TIKTOMATO__SCHEDULER__RECONCILE_SECONDS", "86400"),
    ("TIKTOMATO__LIMITS__REQUESTS_PER_ADDRESS", "0"),
    ("TIKTOMATO__LIMITS__ANONYMOUS_PER_ADDRESS", "0"),
    ("TIKTOMATO__LIMITS__REQUESTS_PER_KEY", "0"),
    ("TIKTOMATO__LIMITS__REQUESTS_PER_WORKSPACE", "0"),
    ("TIKTOMATO__LIMITS__USAGE_LOG", "false"),
];
