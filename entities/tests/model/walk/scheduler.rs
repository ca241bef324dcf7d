//! What the leading scheduler does: leases that ran out, hints that nobody took, deadlines.

use std::time::Duration;

use entities::{
    job::{self, JobState},
    tables::jobs,
};
use sea_orm::{ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _};

use super::{super::simple::ROUTES, Walk};

impl Walk {
    /// All leases run out at once, as after a power cut.
    pub(super) async fn rescue(&mut self) -> &'static str {
        let text = "UPDATE jobs SET lease_until = 1 WHERE lease_until IS NOT NULL";
        self.db.write().execute_unprepared(text).await.unwrap();
        // Only this counts how often it happens to a job; the poll loop must not be faster.
        let expired = jobs::Entity::find().filter(jobs::Column::LeaseUntil.eq(1));
        let expired = expired.all(self.db.read()).await.unwrap();
        let before = self.holders.len();
        for pool in ROUTES {
            self.lease(pool, 1_000).await;
        }
        for holder in &self.holders[before..] {
            assert!(!expired.iter().any(|job| job.id == holder.job.id), "{holder:?}");
        }
        let tx = self.db.begin().await.unwrap();
        job::rescue(&tx, 10_000, self.now).await.unwrap();
        tx.commit().await.unwrap();
        self.follow(&[JobState::Uncertain, JobState::Failed]).await;
        "rescue"
    }

    pub(super) async fn sweep(&mut self) -> &'static str {
        self.now = self.now.after(Duration::from_secs(5));
        let tx = self.db.begin().await.unwrap();
        let effects = job::sweep(&tx, self.now).await.unwrap();
        tx.commit().await.unwrap();
        for (pool, hint) in &effects.pushes {
            let job = &self.model.jobs[&hint.job_id];
            assert!(job.state == JobState::Queued && job.dispatched, "{hint:?} {job:?}");
            assert_eq!(pool, ROUTES[job.route], "{hint:?} {job:?}");
        }
        self.push(effects);
        "sweep"
    }

    pub(super) async fn overdue(&mut self) -> &'static str {
        let tx = self.db.begin().await.unwrap();
        job::end_overdue(&tx, 10_000, self.now).await.unwrap();
        tx.commit().await.unwrap();
        self.follow(&[JobState::Failed, JobState::Canceled]).await;
        "deadlines"
    }

    /// The scheduler chose by its own rules; what it did must be allowed and is taken over.
    async fn follow(&mut self, allowed: &[JobState]) {
        for row in self.rows(self.model.live.iter().copied()).await {
            let before = self.model.jobs[&row.id].state;
            if before == row.state {
                continue;
            }
            assert!(allowed.contains(&row.state), "{before:?} {row:?}");
            let waited = before == JobState::Queued;
            assert!(!waited || row.queue_deadline < self.now, "nothing else ends a wait: {row:?}");
            if row.state.is_terminal() {
                self.model.ended(row.id, row.state, 0);
            } else {
                self.model.moved(row.id, row.state);
            }
        }
    }
}
