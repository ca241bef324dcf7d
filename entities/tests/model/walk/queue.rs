//! From waiting to a worker: slots, hints and claims.

use std::collections::BTreeMap;

use entities::{
    Effects,
    ids::{AttemptId, JobId, WorkspaceId},
    job::{self, Claimed, JobState, KnownModels},
    tables::jobs,
};
use rand::RngExt as _;

use super::{super::simple::ROUTES, SLOTS, SOON, Walk, routes::MODEL};

fn job_and_epoch(claimed: &Claimed) -> (JobId, i64) {
    (claimed.job.id, claimed.job.epoch)
}

impl Walk {
    pub(super) async fn dispatch(&mut self) -> &'static str {
        let route = self.route();
        let (pool, last) = (ROUTES[route], self.last[route]);
        let tx = self.db.begin().await.unwrap();
        let (effects, last) = job::dispatch(&tx, pool, None, last, self.now).await.unwrap();
        tx.commit().await.unwrap();
        self.last[route] = last;
        let (mut turns, mut rounds) = (BTreeMap::<WorkspaceId, u32>::new(), Vec::new());
        for (_, hint) in &effects.pushes {
            self.model.dispatched(hint.job_id, pool, self.now);
            let turn = turns.entry(self.model.jobs[&hint.job_id].workspace).or_default();
            *turn += 1;
            rounds.push(*turn);
        }
        assert!(rounds.is_sorted(), "nobody has a second turn before others had one: {rounds:?}");
        for workspace in self.model.wallets.keys() {
            assert!(self.model.slots(*workspace) <= usize::try_from(SLOTS).unwrap());
        }
        self.push(effects);
        "dispatch"
    }

    /// Some hints are lost, some come twice.
    pub(super) fn push(&mut self, effects: Effects) {
        for (_, hint) in effects.pushes {
            match self.random.random_range(0..10) {
                0 => {}
                1 => self.hints.extend([hint, hint]),
                _ => self.hints.push(hint),
            }
        }
    }

    pub(super) async fn claim(&mut self) -> &'static str {
        if self.hints.is_empty() {
            return "no hint";
        }
        let n = self.random.random_range(0..self.hints.len());
        let hint = self.hints.swap_remove(n);
        let row = self.row(hint.job_id).await;
        let model = &self.model.jobs[&hint.job_id];
        let expected =
            model.state == JobState::Queued && model.dispatched && row.epoch == hint.epoch;
        // Some workers have not heard yet of a route that is shut.
        let hears = self.random.random_range(0..10) > 0;
        if hears && !self.admit(hint, expected).await {
            return "route shut";
        }
        let route = |job: &jobs::Model| {
            Some((ROUTES.get(usize::try_from(job.route).ok()?)?.to_string(), MODEL.to_owned()))
        };
        let tx = self.db.begin().await.unwrap();
        let claimed = {
            // The answer to the first try may get lost: the second finds what it did.
            let attempt = AttemptId::generate();
            let first = job::claim(&tx, hint, attempt, SOON, self.now, &KnownModels::ALL, route)
                .await
                .unwrap();
            let again = job::claim(&tx, hint, attempt, SOON, self.now, &KnownModels::ALL, route)
                .await
                .unwrap();
            assert_eq!(first.as_ref().map(job_and_epoch), again.as_ref().map(job_and_epoch));
            let stranger = AttemptId::generate();
            let other = job::claim(&tx, hint, stranger, SOON, self.now, &KnownModels::ALL, route)
                .await
                .unwrap();
            assert!(other.is_none(), "a job was claimed twice: {other:?}");
            again
        };
        tx.commit().await.unwrap();
        assert_eq!(claimed.is_some(), expected, "{hint:?} {:?}", self.model.jobs[&hint.job_id]);
        let Some(claimed) = claimed else { return "stale hint" };
        assert_eq!(claimed.attempt.as_ref().unwrap().number, row.attempts + 1);
        self.model.moved(hint.job_id, JobState::Submitting);
        self.holders.push(claimed);
        "claim"
    }
}
