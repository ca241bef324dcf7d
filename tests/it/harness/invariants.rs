//! What must hold at the end of every test.

use std::{
    collections::{HashMap, HashSet},
    fs,
};

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
        // Jobs may still run: what was accepted up to now has been written down by now.
        let accepted = self.accepted_attempts();
        let database = self.database().await;
        let attempts = database.attempts().await;
        database.close().await;
        let mut jobs = HashSet::new();
        for (attempt, count) in accepted {
            let job = attempts.get(&attempt).expect("a call went out before it was written down");
            assert!(count == 1 && jobs.insert(*job), "job {job} was accepted twice: {attempt}");
        }
        jobs
    }

    /// The attempts that the demo provider accepted by its own record, and how often each.
    pub(crate) fn accepted_attempts(&self) -> HashMap<Uuid, usize> {
        let file = self.data().join("demo").join("accepted.jsonl");
        let text = fs::read_to_string(file).unwrap_or_default();
        let (mut torn, mut accepted) = (0, HashMap::new());
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            match whole(line) {
                Some(line) if line["event"] != "accepted" => {}
                Some(line) => {
                    *accepted.entry(uuid_of(line["attempt_id"].as_str().unwrap())).or_default() +=
                        1;
                }
                None => torn += usize::from(!line.trim().is_empty()),
            }
        }
        assert!(torn <= self.kills, "{torn} broken lines after {} kills", self.kills);
        accepted
    }
}

/// A line of the record, also behind the torn beginning of another: inside of a text the quotes
/// would be escaped.
fn whole(line: &str) -> Option<Value> {
    serde_json::from_str(&line[line.rfind(r#"{"event":"#)?..]).ok()
}
