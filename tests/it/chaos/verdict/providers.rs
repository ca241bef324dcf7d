//! Holds the platform to the providers' own records.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use super::{super::load::Placed, Verdict};
use crate::harness::{Database, uuid_of};

impl Verdict {
    pub(super) async fn providers(
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
