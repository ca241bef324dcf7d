//! What must hold when the weather is fine again. Everything that does not is collected and told at
//! once, with the seed, the faults and the jobs in question.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    load::Placed,
    plan::{Form, Kind, Target},
    storm::Storm,
};
use crate::harness::{Api, Database, is_terminal, uuid_of};

/// What each user begins with; far more than can be spent.
pub(super) const CREDITS: i64 = 10_000_000;
/// Calls that one worker process makes at the same time.
const IN_FLIGHT: usize = 16;
/// Jobs that are read at the same time.
const READERS: usize = 16;
/// Of the jobs whose users did not change their minds.
const SUCCEEDED_PERCENT: usize = 97;
/// Beyond the 15 minutes that a lost answer is waited for.
const OFFSET: &str = "1000";

/// Waits for the end of all jobs and checks everything.
pub(super) async fn check(
    mut storm: Storm,
    users: &[Api],
    (mut placed, mut wrong): (Vec<Placed>, Vec<String>),
    form: &Form,
    seed: u64,
) {
    placed.sort_by_key(|placed| placed.n);
    wrong.append(&mut storm.deaths);
    let database = storm.cluster.database().await;
    wrong.extend(settled(&storm, &database, form.settled_within).await);
    let lost = live(&database).await.len();
    if lost > 0 {
        eprintln!("{lost} jobs wait for word of calls that may never have gone out");
        storm.cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", OFFSET);
        storm.cluster.stop().await;
        storm.cluster.start_all().await;
        wrong.extend(ended(&database, form.settled_within).await);
    }
    let jobs = read(users, &placed).await;
    wrong.extend(each_job(&placed, &jobs));
    wrong.extend(in_all(&storm, &placed, &jobs, &database).await);
    wrong.extend(wallets(users, &placed, &jobs).await);
    wrong.extend(media(users, &placed, &jobs).await);
    wrong.extend(provider(&storm, &placed, &jobs, &database).await);
    database.close().await;
    let (fine, report) = storm.cluster.admin(&["reconcile"]);
    if !fine {
        wrong.push(format!("the books are wrong: {report}"));
    }
    if !wrong.is_empty() {
        let mut text = String::new();
        for fault in &storm.faults {
            let _ = writeln!(text, "{fault}");
        }
        for line in &wrong {
            let _ = writeln!(text, "- {line}");
        }
        panic!("TIKTOMATO_TEST_SEED={seed}\n{text}");
    }
    storm.cluster.finish().await;
}

/// Waits until only jobs are left whose calls the provider never saw.
async fn settled(storm: &Storm, database: &Database, limit: Duration) -> Vec<String> {
    let deadline = Instant::now() + limit;
    loop {
        let accepted = storm.cluster.accepted_attempts();
        let left: Vec<String> = live(database)
            .await
            .into_iter()
            .filter(|(state, attempt, _)| state != "uncertain" || accepted.contains_key(attempt))
            .map(|(.., line)| line)
            .collect();
        if left.is_empty() {
            return left;
        }
        if Instant::now() > deadline {
            let what = |line| format!("not settled within {limit:?}: {line}");
            return left.into_iter().map(what).collect();
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn ended(database: &Database, limit: Duration) -> Vec<String> {
    let deadline = Instant::now() + limit;
    loop {
        let left = live(database).await;
        if left.is_empty() || Instant::now() > deadline {
            let what = |(.., line): (String, Uuid, String)| format!("never ended: {line}");
            return left.into_iter().map(what).collect();
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Jobs that have not ended: state, newest attempt, and everything in one line.
async fn live(database: &Database) -> Vec<(String, Uuid, String)> {
    let sql = "SELECT j.state || ' ' || COALESCE((SELECT a.id FROM attempts a WHERE a.job_id = j.id \
        ORDER BY a.number DESC LIMIT 1), j.id) || ' ' || to_jsonb(j)::text AS line FROM jobs j \
        WHERE j.finished_at IS NULL";
    let parse = |line: String| {
        let mut parts = line.splitn(3, ' ');
        let state = parts.next().unwrap().to_owned();
        let attempt = parts.next().unwrap().parse().unwrap();
        (state, attempt, parts.next().unwrap().to_owned())
    };
    database.lines(sql).await.into_iter().map(parse).collect()
}

/// What the API says of each job.
async fn read(users: &[Api], placed: &[Placed]) -> Vec<Value> {
    let all = placed.iter().map(async |placed| users[placed.user].job(&placed.id).await);
    stream::iter(all).buffered(READERS).collect().await
}

fn each_job(placed: &[Placed], jobs: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (placed, job) in placed.iter().zip(jobs) {
        let mut say = |what: &str| wrong.push(format!("{what}: {job}"));
        if !is_terminal(job) {
            say("not ended");
        }
        if job["status"] == "canceled" && !placed.canceled {
            say("canceled by nobody");
        }
        let charged = job["credits"]["charged"].as_i64().unwrap();
        if (job["status"] == "succeeded") != (charged > 0) || job["credits"]["held"] != 0 {
            say("charged wrongly");
        }
        let outputs = job["output"].as_array().map_or(0, Vec::len);
        let asked = placed.body["input"]["count"].as_u64().unwrap_or(1);
        if job["status"] == "succeeded" && outputs as u64 != asked {
            say("not as many files as asked for");
        }
    }
    wrong
}

/// How many succeeded, how many were lost, and that there is no job that nobody asked for.
async fn in_all(
    storm: &Storm,
    placed: &[Placed],
    jobs: &[Value],
    database: &Database,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut failed = Vec::new();
    let mut meant = 0;
    for (placed, job) in placed.iter().zip(jobs) {
        let code = job["error"]["code"].as_str().unwrap_or_default();
        let kept = if placed.canceled { "canceled by its user" } else { "wanted" };
        let status = job["status"].as_str().unwrap();
        *counts.entry(format!("{kept}: {status} {code}")).or_default() += 1;
        meant += usize::from(!placed.canceled);
        if !placed.canceled && job["status"] != "succeeded" {
            failed.push(format!("failed: {job}"));
        }
    }
    let unknown = database
        .number("SELECT count(DISTINCT job_id) AS n FROM attempts WHERE outcome = 'unknown'");
    let unknown = usize::try_from(unknown.await).unwrap();
    let hits = storm.faults.iter().filter(|fault| {
        let holds_calls = match fault.target {
            Target::Process(name) => name.starts_with("workers"),
            // Both worker processes wait for it.
            Target::Postgres => true,
            Target::Redis => false,
        };
        holds_calls && fault.kind != Kind::Empty
    });
    let most = hits.count() * 2 * IN_FLIGHT;
    let mut summary: Vec<String> =
        counts.iter().map(|(what, count)| format!("{what}{count}")).collect();
    summary.sort();
    eprintln!(
        "{} faults, {} jobs, {unknown} lost answers (at most {most} are allowed): {summary:?}",
        storm.faults.len(),
        placed.len(),
    );
    if unknown > most {
        wrong.push(format!("{unknown} answers were lost, more than {most}"));
    }
    if failed.len() * 100 > meant * (100 - SUCCEEDED_PERCENT) {
        wrong.push(format!("{} of {meant} jobs failed", failed.len()));
        wrong.append(&mut failed);
    }
    let ids: HashSet<Uuid> = placed.iter().map(|placed| uuid_of(&placed.id)).collect();
    if ids.len() != placed.len() {
        wrong.push("two orders got the same job".to_owned());
    }
    for line in database.lines("SELECT id::text AS line FROM jobs").await {
        if !ids.contains(&line.parse().unwrap()) {
            wrong.push(format!("nobody was told of the job {line}"));
        }
    }
    wrong
}

async fn wallets(users: &[Api], placed: &[Placed], jobs: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (n, user) in users.iter().enumerate() {
        let mine = placed.iter().zip(jobs).filter(|(placed, _)| placed.user == n);
        let charged: i64 = mine.map(|(_, job)| job["credits"]["charged"].as_i64().unwrap()).sum();
        let credits = user.credits().await;
        if credits != (CREDITS - charged, 0) {
            wrong.push(format!("{}: {credits:?} are left after {charged}", user.email));
        }
    }
    wrong
}

/// Every file that was paid for is there, whole.
async fn media(users: &[Api], placed: &[Placed], jobs: &[Value]) -> Vec<String> {
    let outputs = placed.iter().zip(jobs).flat_map(|(placed, job)| {
        let outputs = job["output"].as_array().cloned().unwrap_or_default();
        outputs.into_iter().map(move |output| (placed, output))
    });
    let all = outputs.map(async |(placed, output)| {
        let got =
            users[placed.user].http.get(output["url"].as_str().unwrap()).send().await.unwrap();
        let status = got.status();
        let bytes = got.bytes().await.unwrap().len() as u64;
        let fine = status == 200 && output["bytes"] == bytes;
        (!fine).then(|| format!("a file of {} has {status}, {bytes} bytes: {output}", placed.id))
    });
    stream::iter(all).buffered(READERS).filter_map(async |wrong| wrong).collect().await
}

/// Holds the platform to the provider's own record.
async fn provider(
    storm: &Storm,
    placed: &[Placed],
    jobs: &[Value],
    database: &Database,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let owners = database.attempts().await;
    let mut accepted: HashMap<Uuid, usize> = HashMap::new();
    for (attempt, count) in storm.cluster.accepted_attempts() {
        match owners.get(&attempt) {
            Some(job) => *accepted.entry(*job).or_default() += count,
            None => wrong.push(format!("the call {attempt} went out before it was written down")),
        }
    }
    for (placed, job) in placed.iter().zip(jobs) {
        let calls = accepted.get(&uuid_of(&placed.id)).copied().unwrap_or(0);
        if calls > 1 {
            wrong.push(format!("the provider accepted it {calls} times: {job}"));
        }
        if calls == 0 && job["status"] == "succeeded" {
            wrong.push(format!("succeeded, but the provider never accepted it: {job}"));
        }
    }
    wrong
}
