//! Whether the time of an answer tells if somebody has an account: sign-in with a wrong password
//! (where the account's hash is of today, and where it is an older and weaker one) and "forgot", for
//! known and unknown addresses, mixed at random.

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    cli::TimingArgs,
    http::anonymous,
    planted::Planted,
    report::Report,
    server::Deadline,
    stats::Summary,
    tenants::Bench,
    trials::millis,
    welch::{LEAK, t},
};

/// Tries before it counts: the first fill caches and connections.
const WARM_UP: u32 = 50;

/// A hash of less than half of today's work, that no password fits.
const WEAK: &str = "$argon2id$v=19$m=8192,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$\
                    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A route that must not tell.
struct Route {
    name: &'static str,
    path: &'static str,
    /// Whether it takes a password.
    password: bool,
    /// Whether it is asked about people whose hash is weak.
    weak: bool,
}

const ROUTES: [Route; 3] = [
    Route { name: "sign-in", path: "/v1/auth/sign-in", password: true, weak: false },
    Route { name: "sign-in, weak hash", path: "/v1/auth/sign-in", password: true, weak: true },
    Route { name: "forgot", path: "/v1/auth/forgot", password: false, weak: false },
];

pub(super) async fn run(args: &TimingArgs, report: &mut Report) -> anyhow::Result<()> {
    let proxy = ("TIKTOMATO__GATEWAY__TRUSTED_PROXIES", "127.0.0.1/32".to_owned());
    let mut bench = Bench::prepare(&args.target, &[proxy], report).await?;
    let known = u64::from(args.known);
    let addresses = |range: std::ops::Range<u64>| -> Vec<String> {
        range.map(|n| address(&n.to_be_bytes())).collect()
    };
    let (known, weak) = (addresses(0..known), addresses(known..2 * known));
    sign_up(&mut bench, &known[0]).await?;
    let servers = bench.servers.as_ref().context("timing needs servers of its own")?;
    let planted = Planted::open(&servers.database_url(), &servers.data().join("media")).await?;
    planted.people_like(&known[0], &known[1..]).await?;
    planted.people_like(&known[0], &weak).await?;
    planted.hashed(&weak, WEAK).await?;
    let mut random = StdRng::seed_from_u64(args.seed);
    let mut leaks = Vec::new();
    for route in ROUTES {
        let known = if route.weak { &weak } else { &known };
        let (mut yes, mut no) = (Vec::new(), Vec::new());
        let mut left = [args.tries, args.tries];
        let mut statuses = [None, None];
        let mut warm_up = WARM_UP;
        while left != [0, 0] {
            let which = usize::from(random.random_range(0..left[0] + left[1]) >= left[0]);
            let email = if which == 0 {
                known[left[0] as usize % known.len()].clone()
            } else {
                address(&random.random::<[u8; 8]>())
            };
            let client = Ipv4Addr::from(random.random::<[u8; 4]>());
            let (time, status) = ask(&mut bench, &route, &email, client).await?;
            let seen = statuses[which].get_or_insert(status);
            ensure!(*seen == status, "{}: {seen} and then {status}", route.path);
            if warm_up > 0 {
                warm_up -= 1;
                continue;
            }
            left[which] -= 1;
            if which == 0 { yes.push(time) } else { no.push(time) }
        }
        ensure!(statuses[0] == statuses[1], "{}: the status tells: {statuses:?}", route.path);
        let scores = [1.0, 0.95, 0.5].map(|share| t(&yes, &no, share));
        let worst = scores.iter().fold(0.0_f64, |worst, score| worst.max(score.abs()));
        if worst >= LEAK {
            leaks.push(route.name);
        }
        let median = |times: &mut [Duration]| Summary::of(times).map(|summary| summary.p50);
        let (yes, no) = (median(&mut yes), median(&mut no));
        report.row(vec![
            ("what", format!("timing {}, {}", bench.name, route.name).into()),
            ("tries each", args.tries.into()),
            ("known p50 ms", yes.map_or(json!(null), millis)),
            ("unknown p50 ms", no.map_or(json!(null), millis)),
            ("t of all", hundredth(scores[0])),
            ("t of 95 %", hundredth(scores[1])),
            ("t of 50 %", hundredth(scores[2])),
            ("told apart", (worst >= LEAK).into()),
        ]);
    }
    if !leaks.is_empty() {
        report.fail(format!("known addresses can be told from unknown ones: {leaks:?}"));
    }
    Ok(())
}

fn hundredth(number: f64) -> Value {
    json!((number * 100.0).round() / 100.0)
}

/// An address; all are of the same length.
fn address(random: &[u8; 8]) -> String {
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits}@example.com")
}

async fn ask(
    bench: &mut Bench,
    route: &Route,
    email: &str,
    client: Ipv4Addr,
) -> anyhow::Result<(Duration, u16)> {
    let mut body = json!({ "email": email });
    if route.password {
        body["password"] = json!("not the password of anybody");
    }
    let bytes = anonymous(route.path, client, &body.to_string());
    let began = Instant::now();
    let reply = bench.call(&bytes).await?;
    let time = began.elapsed();
    ensure!(
        matches!(reply.status, 200 | 202 | 204 | 401),
        "{}: {}: {}",
        route.path,
        reply.status,
        String::from_utf8_lossy(&reply.body)
    );
    Ok((time, reply.status))
}

/// Signs somebody up, with a password and a proven address.
async fn sign_up(bench: &mut Bench, email: &str) -> anyhow::Result<()> {
    let body =
        json!({"email": email, "password": "a password of theirs", "birth_date": "1990-12-31"});
    let bytes = anonymous("/v1/auth/sign-up", Ipv4Addr::LOCALHOST, &body.to_string());
    bench.call(&bytes).await?.expect::<Value>(202).context("signing up")?;
    let servers = bench.servers.as_ref().context("timing needs servers of its own")?;
    let folder = servers.data().join("mail");
    let deadline = Deadline::after(Duration::from_secs(60));
    let token = loop {
        if let Some(token) = token(&folder)? {
            break token;
        }
        deadline.pause("a mail")?;
    };
    let body = json!({ "token": token }).to_string();
    let bytes = anonymous("/v1/auth/verify", Ipv4Addr::LOCALHOST, &body);
    bench.call(&bytes).await?.expect::<Value>(200).context("proving the address")?;
    Ok(())
}

/// The token of the link in the only mail, once it is there.
fn token(folder: &Path) -> anyhow::Result<Option<String>> {
    let Ok(files) = fs::read_dir(folder) else { return Ok(None) };
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|kind| kind == "eml") {
            let text = fs::read_to_string(path)?.replace("=\r\n", "").replace("=3D", "=");
            let token =
                text.split("?token=").nth(1).and_then(|rest| rest.split_whitespace().next());
            return Ok(token.map(str::to_owned));
        }
    }
    Ok(None)
}
