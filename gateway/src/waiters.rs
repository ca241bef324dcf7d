//! Waking whoever waits for a change of a job.
//!
//! Announcements wake at once, but any of them may be lost; so all waited-for jobs are looked at
//! together every few seconds, with one query however many wait. Nothing is stored. A waiter
//! subscribes first and reads second, so that no change falls between the two.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use config::{announce::Announcement, context::Context};
use entities::{Db, ids::JobId, job::view};
use futures::{Stream, StreamExt as _};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::platform;

/// How often waited-for jobs are looked at in case an announcement was lost.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The most jobs in one look.
const LOOK_AT_MOST: usize = 500;

/// Newer than any version: the job is gone.
const GONE: i64 = i64::MAX;

/// The newest version heard of, for each job that someone waits for.
type Heard = Mutex<HashMap<JobId, watch::Sender<i64>>>;

/// Where waiting requests subscribe. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiters {
    heard: Arc<Heard>,
}

/// One waiter's interest in one job.
#[derive(Debug)]
pub(crate) struct Subscription {
    job: JobId,
    heard: Arc<Heard>,
    newest: watch::Receiver<i64>,
}

fn lock(heard: &Heard) -> MutexGuard<'_, HashMap<JobId, watch::Sender<i64>>> {
    // No panic can happen while it is held, and the map is whole at every point.
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiters {
    /// Starts the task that listens and looks. It ends with the last clone, or with the token.
    pub(crate) fn start(context: &Context, draining: CancellationToken) -> Self {
        let waiters = Self::default();
        let listening = listen(
            Arc::downgrade(&waiters.heard),
            context.db.clone(),
            platform::announcements(context),
        );
        tokio::spawn(async move {
            draining.run_until_cancelled(listening).await;
        });
        waiters
    }

    /// Begins to listen for a job's changes.
    pub(crate) fn subscribe(&self, job: JobId) -> Subscription {
        let newest =
            lock(&self.heard).entry(job).or_insert_with(|| watch::Sender::new(0)).subscribe();
        Subscription { job, heard: Arc::clone(&self.heard), newest }
    }
}

impl Subscription {
    /// Waits until a version above `seen` is heard of, and returns it.
    pub(crate) async fn newer_than(&mut self, seen: i64) -> i64 {
        let heard = self.newest.wait_for(|newest| *newest > seen).await.map(|newest| *newest);
        match heard {
            Ok(newest) => newest,
            // The sender lives in the map as long as this subscription does.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut heard = lock(&self.heard);
        // Subscribing holds the lock, so nobody can join between the count and the removal.
        if heard.get(&self.job).is_some_and(|sender| sender.receiver_count() <= 1) {
            heard.remove(&self.job);
        }
    }
}

async fn listen<A>(heard: Weak<Heard>, db: Db, mut announcements: A)
where
    A: Stream<Item = Announcement> + Unpin,
{
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut announcer_lives = true;
    loop {
        let announcement = tokio::select! {
            _ = ticks.tick() => None,
            announcement = announcements.next(), if announcer_lives => Some(announcement),
        };
        let Some(heard) = heard.upgrade() else { return };
        match announcement {
            Some(Some(Announcement::Job { id, version })) => raise(&lock(&heard), id, version),
            Some(Some(
                Announcement::Waiting { .. }
                | Announcement::Callback { .. }
                | Announcement::KeyRevoked { .. },
            )) => {}
            Some(None) => announcer_lives = false,
            None | Some(Some(Announcement::Resync)) => look(&heard, &db).await,
        }
    }
}

fn raise(heard: &HashMap<JobId, watch::Sender<i64>>, job: JobId, version: i64) {
    if let Some(sender) = heard.get(&job) {
        sender.send_if_modified(|newest| {
            let rises = version > *newest;
            *newest = version.max(*newest);
            rises
        });
    }
}

/// Reads the versions of all waited-for jobs.
async fn look(heard: &Heard, db: &Db) {
    let ids: Vec<JobId> = lock(heard).keys().copied().collect();
    for ids in ids.chunks(LOOK_AT_MOST) {
        match view::versions(db, ids).await {
            Ok(versions) => {
                let versions: HashMap<JobId, i64> = versions.into_iter().collect();
                let heard = lock(heard);
                for id in ids {
                    raise(&heard, *id, versions.get(id).copied().unwrap_or(GONE));
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look at the jobs that are waited for"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_hears_of_newer_versions_only() {
        let waiters = Waiters::default();
        let job = JobId::generate();
        let mut one = waiters.subscribe(job);
        let mut two = waiters.subscribe(job);
        raise(&lock(&waiters.heard), job, 3);
        raise(&lock(&waiters.heard), job, 2);
        assert_eq!(one.newer_than(1).await, 3);
        assert_eq!(two.newer_than(2).await, 3);
    }

    #[tokio::test]
    async fn nothing_is_kept_for_jobs_that_nobody_waits_for() {
        let waiters = Waiters::default();
        let job = JobId::generate();
        let one = waiters.subscribe(job);
        let two = waiters.subscribe(job);
        drop(one);
        assert_eq!(lock(&waiters.heard).len(), 1);
        drop(two);
        assert!(lock(&waiters.heard).is_empty());
    }
}
