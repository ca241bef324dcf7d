//! Whoever was ever given a job: a worker that submits it, or a poll loop that looks at it.

use entities::{
    ids::{AttemptId, JobId},
    job::{
        self, Acceptance, AttemptOutcome, Claimed, Ending, Failure, HandBack, JobRef, JobState,
        Look, NewOutput, Usage,
    },
    tables::{attempts, jobs},
};
use rand::RngExt as _;
use sea_orm::EntityTrait as _;
use serde_json::json;

use super::{super::simple::ROUTES, SOON, Walk};

impl Walk {
    /// Somebody who was given a job tries to go on with it; only the newest holder can.
    pub(super) async fn work(&mut self) -> &'static str {
        if self.holders.is_empty() {
            return "no holder";
        }
        // Mostly whoever got a job last, else anybody of long ago.
        let oldest = match self.random.random_range(0..4) {
            0 => 0,
            _ => self.holders.len().saturating_sub(8),
        };
        let n = self.random.random_range(oldest..self.holders.len());
        let holder = self.holders.remove(n);
        let fresh = self.row(holder.job.id).await.epoch == holder.job.epoch;
        let name = self.try_one(&holder, fresh).await;
        if self.holders.len() < 200 && self.random.random_range(0..4) == 0 {
            // It comes back later, and is stale by then.
            self.holders.insert(0, holder);
        }
        if fresh { name } else { "stale holder" }
    }

    async fn try_one(&mut self, holder: &Claimed, fresh: bool) -> &'static str {
        let dice = self.random.random_range(0..10);
        match (holder.job.state, dice) {
            (JobState::Storing, 0..7) => self.succeed(holder, fresh).await,
            (JobState::Submitting, 6..8) => self.hand_back(holder, fresh).await,
            _ => self.go_on(holder, dice, fresh).await,
        }
    }

    async fn go_on(&mut self, holder: &Claimed, dice: u32, fresh: bool) -> &'static str {
        let (job, attempt) = (&holder.job, holder.attempt.as_ref().unwrap());
        let (guard, now, state) = (JobRef::from(job), self.now, job.state);
        let tx = self.db.begin().await.unwrap();
        let (name, done, to) = match (state, dice) {
            (JobState::Submitting, 0..5) | (JobState::Uncertain, 0..6) => {
                let acceptance = acceptance(attempt.id);
                let done = job::accepted(&tx, &guard, &acceptance, now).await.unwrap().is_some();
                ("accepted", done, Some(JobState::Running))
            }
            (JobState::Submitting, 5) => {
                let done = job::uncertain(&tx, &guard, attempt.id, now).await.unwrap().is_some();
                ("lost answer", done, Some(JobState::Uncertain))
            }
            (JobState::Submitting, 8) => {
                let moved =
                    job::finished_at_once(&tx, &guard, attempt.id, Usage::UNKNOWN, now).await;
                ("at once", self.stored(holder, moved.unwrap()), Some(JobState::Storing))
            }
            (JobState::Running, 0..6) => {
                let used = Usage { cost_usd_micros: Some(7), ..Usage::UNKNOWN };
                let moved = job::media_ready(&tx, &guard, attempt.id, used).await;
                ("media ready", self.stored(holder, moved.unwrap()), Some(JobState::Storing))
            }
            (JobState::Running | JobState::Uncertain, 6..8) => {
                let look = if dice == 6 { Look::InVain } else { Look::Running { progress: None } };
                let done = job::poll_again(&tx, job, look, SOON, now).await.unwrap().is_some();
                ("poll again", done, Some(state))
            }
            (JobState::Storing, 7..9) => {
                let done = job::store_again(&tx, job, SOON, now).await.unwrap().is_some();
                ("store again", done, Some(state))
            }
            _ => {
                let failure = Failure { code: "provider_failed", detail: "no".into() };
                let attempt = Some((attempt.id, AttemptOutcome::Failed));
                let ending = Ending::Failed(failure);
                let done = job::end(&tx, &guard, attempt, &ending, now).await.unwrap().is_some();
                ("fail", done, None)
            }
        };
        tx.commit().await.unwrap();
        assert_eq!(done, fresh, "{name} {job:?}");
        match to {
            _ if !fresh => {}
            Some(to) => self.model.moved(job.id, to),
            None => self.model.ended(job.id, JobState::Failed, 0),
        }
        if name == "accepted" && !fresh {
            self.late_answer(holder).await;
        }
        name
    }

    /// The provider surely did not accept it: it waits again, for any of its routes.
    async fn hand_back(&mut self, holder: &Claimed, fresh: bool) -> &'static str {
        let (job, to) = (&holder.job, self.route());
        let back = HandBack {
            attempt_id: holder.attempt.as_ref().unwrap().id,
            outcome: AttemptOutcome::Throttled,
            wait: SOON,
            route: i32::try_from(to).unwrap(),
            counts: false,
        };
        let tx = self.db.begin().await.unwrap();
        let done = job::hand_back(&tx, job, &back, ROUTES[to], self.now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(done.is_some(), fresh, "hand back {job:?}");
        if fresh {
            self.model.handed_back(job.id, to, self.now.after(SOON));
        }
        "hand back"
    }

    /// What the provider answered is true, although the lease was lost meanwhile.
    async fn late_answer(&mut self, holder: &Claimed) {
        let (id, attempt) = (holder.job.id, holder.attempt.as_ref().unwrap());
        let row = self.row(id).await;
        if row.attempts != attempt.number {
            // It was handed back, so the provider cannot have accepted it.
            return;
        }
        let tx = self.db.begin().await.unwrap();
        let late = job::accepted_late(&tx, id, &acceptance(attempt.id), self.now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(late.is_some(), row.state == JobState::Uncertain, "{row:?}");
        let known = attempts::Entity::find_by_id(attempt.id).one(self.db.read()).await.unwrap();
        let known = known.unwrap().accepted_at.is_some();
        match row.state {
            JobState::Uncertain => self.model.moved(id, JobState::Running),
            JobState::Running | JobState::Storing | JobState::Succeeded => assert!(known),
            JobState::Failed | JobState::Canceled => assert!(known, "what it cost is remembered"),
            JobState::Queued | JobState::Submitting => assert!(!known),
        }
    }

    async fn succeed(&mut self, holder: &Claimed, fresh: bool) -> &'static str {
        let (job, attempt) = (&holder.job, holder.attempt.as_ref().unwrap());
        let asked = u32::try_from(job.outputs_expected).unwrap();
        let files = files(job.id, self.random.random_range(1..=asked));
        let tx = self.db.begin().await.unwrap();
        let done = job::succeed(&tx, job, attempt.id, &files, self.now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(done.is_some(), fresh, "succeed {job:?}");
        if fresh {
            let came = u32::try_from(files.len()).unwrap();
            self.model.ended(job.id, JobState::Succeeded, came);
        }
        "succeed"
    }

    /// The holder keeps its lease while it stores.
    fn stored(&mut self, holder: &Claimed, moved: Option<jobs::Model>) -> bool {
        let Some(job) = moved else { return false };
        self.holders.push(Claimed { job, attempt: holder.attempt.clone() });
        true
    }

    /// The poll loop of some process leases what is due.
    pub(super) async fn look(&mut self) -> &'static str {
        let (route, limit) = (self.route(), self.random.random_range(1..6));
        let found = self.lease(ROUTES[route], limit).await;
        if found == 0 { "nothing due" } else { "lease due" }
    }

    pub(super) async fn lease(&mut self, pool: &str, limit: u32) -> usize {
        let tx = self.db.begin().await.unwrap();
        let due = job::lease_due(&tx, pool, limit, SOON, self.now).await.unwrap();
        tx.commit().await.unwrap();
        let count = due.len();
        for claimed in due {
            let model = &self.model.jobs[&claimed.job.id];
            assert_eq!((claimed.job.state, pool), (model.state, ROUTES[model.route]));
            self.holders.push(claimed);
        }
        count
    }
}

fn acceptance(attempt_id: AttemptId) -> Acceptance {
    Acceptance {
        attempt_id,
        request_id: attempt_id.to_string(),
        handle: json!(null),
        poll_after: SOON,
    }
}

fn files(id: JobId, count: u32) -> Vec<NewOutput> {
    (0..count)
        .map(|position| NewOutput {
            key: format!("jobs/{id}/{position}"),
            content_type: "image/png".into(),
            bytes: 10,
            sha256: "00".repeat(32),
            width: Some(1),
            height: Some(1),
            duration: None,
            thumbnail: None,
        })
        .collect()
}
