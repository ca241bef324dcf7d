//! What must hold when the weather is fine again. Everything that does not is collected and told at
//! once, with the seed, the faults and the jobs in question.
//!
//! | file | what |
//! |---|---|
//! | `share` | how many succeeded, by model, and that they are enough |
//! | `jobs` | each job as its user sees it, its files and its price |
//! | `providers` | the providers' own records |
//! | `live` | jobs that have not ended |

mod jobs;
mod live;
mod providers;
mod share;

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    time::Duration,
};

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use self::{
    jobs::{each_job, media, read, wallets},
    live::{ended, live},
};
use super::{
    load::Placed,
    plan::Form,
    services::{Call, Services},
    storm::Storm,
};
use crate::harness::{Api, Database, uuid_of};

/// What each user begins with; far more than can be spent.
pub(super) const CREDITS: i64 = 10_000_000;
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
        wrong.extend(self.enough_succeeded(&placed, &jobs, &database).await);
        wrong.extend(self.uncertain(&placed).await);
        wrong.extend(nobody_elses(&placed, &database).await);
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
}

/// There is no job that nobody asked for, or that two asked for.
async fn nobody_elses(placed: &[Placed], database: &Database) -> Vec<String> {
    let mut wrong = Vec::new();
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

/// Whether no provider will ever tell of this job: none has accepted it, or what it reports proves
/// nothing, or it has given up reporting.
fn nobody_tells(order: &Placed, calls: Option<&Vec<Call>>) -> bool {
    calls.is_none_or(|calls| calls.iter().all(|call| order.weather.mute || call.has_given_up()))
}
