//! How many jobs succeeded, by model. Two shares must be high enough:
//!
//! Of all jobs that were answered with 202 and were not meant to fail, as many as the form says: 97 of
//! 100. Meant to fail are those that the plan of the providers' faults dooms: the provider's run fails, or its answer is lost and nothing that it says later proves that it took the
//! job (Hugging Face says nothing later; fal.ai and kie.ai send callbacks, which the plan may
//! suppress, forge or falsify). A job that its user cancels need not succeed, but counts if it fails.
//! So does whatever a kill or a freeze has hit: a job whose call was under way, and one that was
//! claimed and of which its provider never heard. The short form leaves Hugging Face out, where each
//! call that is hit is lost.
//!
//! Of the jobs that nothing but the platform can lose, 97 of 100 in every form: by its own records the
//! provider took the job, and the platform can ask it by a name of ours or was told of the call.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;
use uuid::Uuid;

use super::{
    super::{load::Placed, services::Call},
    Verdict,
};
use crate::harness::{Database, uuid_of};

/// So many of a hundred jobs that nothing but the platform can lose.
const SAVED_PERCENT: usize = 97;

/// What became of jobs that were not meant to fail.
#[derive(Debug, Default, Clone, Copy)]
struct Share {
    succeeded: usize,
    failed: usize,
    /// Failed, and no provider ever heard of them.
    unheard: usize,
}

impl Share {
    fn counted(self) -> usize {
        self.succeeded + self.failed
    }

    fn add(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.unheard += other.unheard;
    }

    fn is_below(self, percent: usize) -> bool {
        self.failed * 100 > self.counted() * (100 - percent)
    }

    fn tell(self, what: &str) {
        let percent = self.succeeded as f64 * 100.0 / self.counted().max(1) as f64;
        let Self { failed, unheard, .. } = self;
        eprintln!(
            "{percent:6.2} % of {} succeeded: {what}; {failed} failed, of {unheard} of them no \
             provider ever heard",
            self.counted(),
        );
    }
}

impl Verdict {
    pub(super) async fn enough_succeeded(
        &self,
        placed: &[Placed],
        jobs: &[Value],
        database: &Database,
    ) -> Vec<String> {
        let (mut wrong, mut failures) = (Vec::new(), Vec::new());
        let mut ends: BTreeMap<String, usize> = BTreeMap::new();
        let mut kinds: BTreeMap<&str, Share> = BTreeMap::new();
        let (calls, by_demo) = (self.services.calls(), self.heard_by_demo(database).await);
        let mut savable = Share::default();
        for (placed, job) in placed.iter().zip(jobs) {
            let code = job["error"]["code"].as_str().unwrap_or_default();
            let fate = match (placed.canceled, placed.weather.doom) {
                (_, Some(doom)) => doom,
                (true, None) => "canceled by its user",
                (false, None) => "wanted",
            };
            let status = job["status"].as_str().unwrap();
            *ends.entry(format!("{fate}: {status} {code}")).or_default() += 1;
            if placed.weather.doom.is_some() {
                if status == "succeeded" {
                    wrong.push(format!("succeeded, though {fate}: {job}"));
                }
                continue;
            }
            let calls = calls.get(&placed.n).map(Vec::as_slice).unwrap_or_default();
            let at_demo = by_demo.contains(&uuid_of(&placed.id));
            let share = match status {
                "failed" => {
                    failures.push(format!("failed: {job}"));
                    let unheard = usize::from(!at_demo && calls.is_empty());
                    Share { failed: 1, unheard, ..Share::default() }
                }
                _ if placed.canceled => continue,
                "succeeded" => Share { succeeded: 1, ..Share::default() },
                // Told elsewhere: it has not ended, or was canceled by nobody.
                _ => Share { failed: 1, ..Share::default() },
            };
            kinds.entry(job["model"].as_str().unwrap()).or_default().add(share);
            if at_demo || was_told(placed, calls) {
                savable.add(share);
            }
        }
        eprintln!("{} faults, {} jobs:", self.storm.faults.len(), placed.len());
        for (what, count) in ends {
            eprintln!("{count:6} {what}");
        }
        let mut all = Share::default();
        for (model, share) in kinds {
            share.tell(model);
            all.add(share);
        }
        all.tell("all that were not meant to fail");
        savable.tell("those that nothing but the platform can lose");
        if all.is_below(self.form.succeeded_percent) || savable.is_below(SAVED_PERCENT) {
            wrong.push(format!("too many failed: {all:?}; of them {savable:?}"));
            wrong.append(&mut failures);
        }
        wrong
    }

    /// The jobs that the demo provider took, by its own record.
    async fn heard_by_demo(&self, database: &Database) -> HashSet<Uuid> {
        let owners: HashMap<Uuid, Uuid> = database.attempts().await;
        let by_demo = self.storm.cluster.accepted_attempts();
        by_demo.keys().filter_map(|attempt| owners.get(attempt).copied()).collect()
    }
}

/// Whether its provider told the platform of the call, in a way that proves something.
fn was_told(placed: &Placed, calls: &[Call]) -> bool {
    !placed.weather.mute && calls.iter().any(Call::was_reported)
}
