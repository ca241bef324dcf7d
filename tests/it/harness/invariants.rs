//! What must hold at the end of every test.

use std::{collections::HashSet, fs};

use serde_json::Value;
use uuid::Uuid;

use super::{Cluster, uuid_of};

impl Cluster {
    /// The end of every test: the books are right, no provider was called twice for one job, and
    /// every process stops cleanly.
    pub(crate) async fn finish(mut self) {
        let (ok, report) = self.admin(&["reconcile"]);
        let none = report["violations"].as_array().is_some_and(Vec::is_empty);
        assert!(ok && report["ok"] == true && none, "{report}");
        self.accepted_once().await;
        self.stop().await;
    }

    /// How many of a user's requests the demo provider accepted, by its own record.
    pub(crate) async fn accepted_by(&self, email: &str) -> usize {
        let accepted = self.accepted_once().await;
        let database = self.database().await;
        let mine = database.jobs_of(email).await;
        database.close().await;
        accepted.iter().filter(|job| mine.contains(job)).count()
    }

    /// Holds the platform to the demo provider's own record: no job was accepted twice. The jobs
    /// that were accepted.
    async fn accepted_once(&self) -> HashSet<Uuid> {
        let file = self.data().join("demo").join("accepted.jsonl");
        let text = fs::read_to_string(file).unwrap_or_default();
        let (mut torn, mut accepted) = (0, Vec::new());
        for line in text.lines() {
            match serde_json::from_str::<Value>(line) {
                Ok(line) if line["event"] != "accepted" => {}
                Ok(line) => accepted.push(uuid_of(line["attempt_id"].as_str().unwrap())),
                Err(_) => torn += 1,
            }
        }
        assert!(torn <= self.kills, "{torn} broken lines after {} kills", self.kills);
        let database = self.database().await;
        let attempts = database.attempts().await;
        database.close().await;
        let mut jobs = HashSet::new();
        for attempt in &accepted {
            let job = attempts.get(attempt).expect("a call went out before it was written down");
            assert!(
                jobs.insert(*job),
                "job {job} was accepted twice, the second time as {attempt}"
            );
        }
        jobs
    }
}
