//! What must hold when the weather is fine again. Everything that does not is collected and told at
//! once, with the seed, the faults and the jobs in question.
//!
//! How many must succeed: 97 of 100 jobs, not counting those whose users canceled them, and those
//! that are doomed by the plan of the providers' faults: the provider's run fails, or its answer is
//! lost and nothing that it says later proves that it took the job (Hugging Face says nothing later;
//! fal.ai and kie.ai send callbacks, which the plan may suppress, forge or falsify). A job whose call
//! was hit by a kill or a freeze counts, also one at Hugging Face, which is lost then. So does, in the
//! long form, a job whose worker was killed after it had claimed it and before its provider heard of
//! it; the short form has too few jobs for its many kills and leaves those out, by the providers' own
//! records.

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
    plan::Form,
    services::{Call, Services},
    storm::Storm,
};
use crate::harness::{Api, Database, is_terminal, uuid_of};

/// What each user begins with; far more than can be spent.
pub(super) const CREDITS: i64 = 10_000_000;
/// Jobs that are read at the same time.
const READERS: usize = 16;
/// Of the jobs that could succeed and whose users did not change their minds.
const SUCCEEDED_PERCENT: usize = 97;
/// Beyond the 15 minutes that a lost answer is waited for.
const OFFSET: &str = "1000";

/// Everything that is looked at.
pub(super) struct Verdict {
    pub(super) storm: Storm,
    pub(super) services: Services,
    pub(super) users: Vec<Api>,
    pub(super) form: Form,
    pub(super) seed: u64,
}

impl Verdict {
    /// Waits for the end of all jobs and checks everything.
    pub(super) async fn reach(mut self, (mut placed, mut wrong): (Vec<Placed>, Vec<String>)) {
        placed.sort_by_key(|placed| placed.n);
        wrong.append(&mut self.storm.deaths);
        let database = self.storm.cluster.database().await;
        wrong.extend(self.settled(&placed, &database).await);
        let lost = live(&database).await.len();
        if lost > 0 {
            eprintln!("{lost} jobs wait for word of calls that may never have gone out");
            self.storm.cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", OFFSET);
            self.storm.cluster.stop().await;
            self.storm.cluster.start_all().await;
            wrong.extend(ended(&database, self.form.settled_within).await);
        }
        let jobs = read(&self.users, &placed).await;
        wrong.extend(each_job(&placed, &jobs));
        wrong.extend(self.in_all(&placed, &jobs, &database).await);
        wrong.extend(wallets(&self.users, &placed, &jobs).await);
        wrong.extend(media(&self.users, &placed, &jobs).await);
        wrong.extend(self.providers(&placed, &jobs, &database).await);
        database.close().await;
        self.storm.watch.close().await;
        let (fine, report) = self.storm.cluster.admin(&["reconcile"]);
        if !fine {
            wrong.push(format!("the books are wrong: {report}"));
        }
        if !wrong.is_empty() {
            let mut text = String::new();
            for fault in &self.storm.faults {
                let _ = writeln!(text, "{fault}");
            }
            for line in &wrong {
                let _ = writeln!(text, "- {line}");
            }
            panic!("TIKTOMATO_TEST_SEED={}\n{text}", self.seed);
        }
        self.storm.cluster.finish().await;
    }

    /// Waits until only jobs are left that nobody will ever hear of.
    async fn settled(&self, placed: &[Placed], database: &Database) -> Vec<String> {
        let limit = self.form.settled_within;
        let deadline = Instant::now() + limit;
        let orders: HashMap<Uuid, &Placed> =
            placed.iter().map(|placed| (uuid_of(&placed.id), placed)).collect();
        loop {
            let by_demo = self.storm.cluster.accepted_attempts();
            let calls = self.services.calls();
            let left: Vec<String> = live(database)
                .await
                .into_iter()
                .filter(|live| {
                    let order = orders.get(&live.job);
                    let calls = order.and_then(|order| calls.get(&order.n));
                    let hopeless = order.is_none_or(|order| nobody_tells(order, calls));
                    live.state != "uncertain" || by_demo.contains_key(&live.attempt) || !hopeless
                })
                .map(|live| live.line)
                .collect();
            if left.is_empty() {
                return left;
            }
            if Instant::now() > deadline {
                let what = |line| format!("not settled within {limit:?}: {line}");
                return left.into_iter().map(what).collect();
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    /// How many succeeded, how many were uncertain, and that there is no job that nobody asked for.
    async fn in_all(&self, placed: &[Placed], jobs: &[Value], database: &Database) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut counts: HashMap<String, usize> = HashMap::new();
        let (mut failed, mut meant, mut never_heard) = (Vec::new(), 0, 0);
        let (calls, owners) = (self.services.calls(), database.attempts().await);
        let by_demo = self.storm.cluster.accepted_attempts();
        let by_demo: HashSet<Uuid> =
            by_demo.keys().filter_map(|attempt| owners.get(attempt).copied()).collect();
        let heard = |placed: &Placed, job: &Value| {
            let id = uuid_of(job["id"].as_str().unwrap());
            calls.contains_key(&placed.n) || by_demo.contains(&id)
        };
        for (placed, job) in placed.iter().zip(jobs) {
            let code = job["error"]["code"].as_str().unwrap_or_default();
            let kept = match (placed.canceled, placed.weather.doom) {
                (true, _) => "canceled by its user",
                (false, Some(doom)) => doom,
                (false, None) => "wanted",
            };
            let status = job["status"].as_str().unwrap();
            *counts.entry(format!("{kept}: {status} {code}")).or_default() += 1;
            let unheard = status == "failed" && !heard(placed, job);
            if kept == "wanted" && unheard {
                never_heard += 1;
            }
            if kept == "wanted" && (self.form.counts_unheard || !unheard) {
                meant += 1;
                if status != "succeeded" {
                    failed.push(format!("failed: {job}"));
                }
            }
            if status == "succeeded" && placed.weather.doom.is_some() {
                wrong.push(format!("succeeded, though {kept}: {job}"));
            }
        }
        eprintln!("{} faults, {} jobs:", self.storm.faults.len(), placed.len());
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_unstable();
        for (what, count) in counts {
            eprintln!("{count:6} {what}");
        }
        let share = (meant - failed.len()) as f64 * 100.0 / meant.max(1) as f64;
        eprintln!("{share:6.2} % of the {meant} wanted jobs succeeded");
        let word = if self.form.counts_unheard { "counted" } else { "not counted" };
        eprintln!("{never_heard:6} failed without their provider ever hearing of them ({word})");
        if failed.len() * 100 > meant * (100 - SUCCEEDED_PERCENT) {
            wrong.push(format!("{} of {meant} jobs failed", failed.len()));
            wrong.append(&mut failed);
        }
        wrong.extend(self.uncertain(placed).await);
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

    /// No more jobs were ever uncertain than calls were under way when something was hit, and
    /// answers were lost by the providers.
    async fn uncertain(&self, placed: &[Placed]) -> Option<String> {
        let watch = &self.storm.watch;
        let injected = placed.iter().filter(|placed| placed.weather.lost).count();
        let (uncertain, most) = (watch.uncertain().await, watch.calls + injected);
        eprintln!(
            "{uncertain:6} jobs were uncertain for a while; allowed are {most}: {injected} answers \
             that providers lose, and {} calls that {} kills and freezes found under way \
             ({} of them could not be counted)",
            watch.calls, watch.hits, watch.uncounted,
        );
        (uncertain > most).then(|| format!("{uncertain} jobs were uncertain, more than {most}"))
    }

    /// Holds the platform to the providers' own records.
    async fn providers(
        &self,
        placed: &[Placed],
        jobs: &[Value],
        database: &Database,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let owners = database.attempts().await;
        let mut by_demo: HashMap<Uuid, usize> = HashMap::new();
        for (attempt, count) in self.storm.cluster.accepted_attempts() {
            match owners.get(&attempt) {
                Some(job) => *by_demo.entry(*job).or_default() += count,
                None => wrong.push(format!("the call {attempt} went out before it was noted")),
            }
        }
        let calls = self.services.calls();
        let mut bills: HashMap<&str, (usize, f64, f64)> = HashMap::new();
        bills.entry("demo").or_default().0 = by_demo.values().sum();
        for (placed, job) in placed.iter().zip(jobs) {
            let calls = calls.get(&placed.n).map(Vec::as_slice).unwrap_or_default();
            let demo = by_demo.get(&uuid_of(&placed.id)).copied().unwrap_or(0);
            let accepted = demo + calls.len();
            if accepted > 1 {
                wrong.push(format!("providers accepted it {accepted} times: {job} {calls:?}"));
            }
            let succeeded = job["status"] == "succeeded";
            if accepted == 0 && succeeded {
                wrong.push(format!("succeeded, but no provider ever accepted it: {job}"));
            }
            for call in calls {
                let bill = bills.entry(call.provider).or_default();
                bill.0 += 1;
                bill.1 += call.entry.billed_units;
                bill.2 += if succeeded { call.entry.billed_units } else { 0.0 };
            }
        }
        for (provider, (count, units, delivered)) in bills {
            eprintln!("{count:6} requests accepted by {provider}, {units} units billed");
            let sql = format!(
                "SELECT CAST(COALESCE(SUM(billed_units_micros), 0) AS bigint) AS n FROM attempts \
                 WHERE provider = '{provider}' AND outcome = 'succeeded'"
            );
            let booked = database.number(&sql).await;
            if booked != (delivered * 1e6).round() as i64 {
                wrong.push(format!("{provider} billed {delivered} for jobs that succeeded, {booked} millionths are booked"));
            }
        }
        eprintln!("{:6} calls broke kie.ai's limits", self.services.kie.refused());
        if self.services.hf.leaks() > 0 {
            wrong.push("a token was shown to a file server".to_owned());
        }
        wrong
    }
}

/// Whether no provider will ever tell of this job: none has accepted it, or what it reports proves
/// nothing, or it has given up reporting.
fn nobody_tells(order: &Placed, calls: Option<&Vec<Call>>) -> bool {
    calls.is_none_or(|calls| calls.iter().all(|call| order.weather.mute || call.has_given_up()))
}

async fn ended(database: &Database, limit: Duration) -> Vec<String> {
    let deadline = Instant::now() + limit;
    loop {
        let left = live(database).await;
        if left.is_empty() || Instant::now() > deadline {
            let what = |live: Live| format!("never ended: {}", live.line);
            return left.into_iter().map(what).collect();
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// A job that has not ended.
struct Live {
    job: Uuid,
    state: String,
    /// Its newest one.
    attempt: Uuid,
    /// Everything about it.
    line: String,
}

async fn live(database: &Database) -> Vec<Live> {
    let sql = "SELECT j.id || ' ' || j.state || ' ' || COALESCE((SELECT a.id FROM attempts a \
        WHERE a.job_id = j.id ORDER BY a.number DESC LIMIT 1), j.id) || ' ' || to_jsonb(j)::text \
        AS line FROM jobs j WHERE j.finished_at IS NULL";
    let parse = |line: String| {
        let mut parts = line.splitn(4, ' ');
        let job = parts.next().unwrap().parse().unwrap();
        let state = parts.next().unwrap().to_owned();
        let attempt = parts.next().unwrap().parse().unwrap();
        Live { job, state, attempt, line: parts.next().unwrap().to_owned() }
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
