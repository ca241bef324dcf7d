//! Runs `dispatch(pool)` whenever something asks for it: however many ask while one round runs,
//! one more round follows.
//!
//! Rounds begin at least [`APART`] from each other, so that under load each hands out many jobs; the
//! first one after a quiet moment begins at once. While submits pour in and every workspace is at
//! its limit, rounds find nothing. Each such round makes the pause before the next one longer, up to
//! [`LONGEST`]; a slot that is freed in this process ends the pause at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use entities::{Db, Effects, ids::WorkspaceId, job};
use sea_orm::{ConnectionTrait, DatabaseBackend, DbErr};
use tokio::sync::{Notify, mpsc};

use crate::{clock::Clock, settings::Pools};

/// From the beginning of one round to that of the next: a round costs the database about the same
/// however many jobs it hands out.
const APART: Duration = Duration::from_millis(5);

/// The pause after a round that found nothing to dispatch, the first time.
const SHORTEST: Duration = Duration::from_millis(2);

/// The longest pause: what a workspace that is not at its limit may wait beside others that are.
const LONGEST: Duration = Duration::from_millis(32);

/// Wakes the task that dispatches. Cheap to clone.
#[derive(Clone)]
pub(super) struct Dispatcher {
    asked: Arc<Asked>,
}

#[derive(Default)]
struct Asked {
    pools: Mutex<BTreeSet<String>>,
    bell: Notify,
    /// Rung when a slot was freed, not only a job added to those that wait.
    freed: Notify,
}

/// The pause after rounds that found nothing.
struct Pause {
    span: Duration,
    last: Instant,
}

impl Pause {
    fn new() -> Self {
        Self { span: SHORTEST, last: Instant::now() }
    }

    /// Waits; longer each time, unless the last time is long ago.
    async fn wait(&mut self, freed: &Notify) {
        if self.last.elapsed() > 2 * LONGEST {
            self.span = SHORTEST;
        }
        tokio::select! {
            () = freed.notified() => self.span = SHORTEST,
            () = tokio::time::sleep(self.span) => self.span = (self.span * 2).min(LONGEST),
        }
        self.last = Instant::now();
    }
}

impl Dispatcher {
    /// `most` is how many jobs each pool may have at its provider.
    pub(super) fn start(
        db: Db,
        clock: Clock,
        most: Pools,
        out: mpsc::WeakUnboundedSender<Effects>,
    ) -> Self {
        let asked = Arc::new(Asked::default());
        tokio::spawn(run(Arc::clone(&asked), db, clock, most, out));
        Self { asked }
    }

    /// Asks for a round; `freed`: because a slot was freed.
    pub(super) fn wake(&self, pools: &BTreeSet<String>, freed: bool) {
        if pools.is_empty() {
            return;
        }
        let mut waiting = self.asked.pools.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(pools.iter().cloned());
        drop(waiting);
        self.asked.bell.notify_one();
        if freed {
            self.asked.freed.notify_one();
        }
    }
}

async fn run(
    asked: Arc<Asked>,
    db: Db,
    clock: Clock,
    most: Pools,
    out: mpsc::WeakUnboundedSender<Effects>,
) {
    let mut last: BTreeMap<String, WorkspaceId> = BTreeMap::new();
    let mut pause = Pause::new();
    let mut earliest = tokio::time::Instant::now();
    loop {
        asked.bell.notified().await;
        tokio::time::sleep_until(earliest).await;
        earliest = tokio::time::Instant::now() + APART;
        let pools =
            std::mem::take(&mut *asked.pools.lock().unwrap_or_else(PoisonError::into_inner));
        for pool in pools {
            // The platform is stopping when nobody is left to push.
            let Some(out) = out.upgrade() else { return };
            match round(&db, &clock, &pool, most.get(&pool), last.get(&pool).copied()).await {
                Ok((effects, _)) if effects.pushes.is_empty() => {
                    // Everybody is at their limit: while submits pour in, asking for each of them
                    // again would change nothing.
                    pause.wait(&asked.freed).await;
                }
                Ok((effects, turn)) => {
                    if let Some(turn) = turn {
                        last.insert(pool, turn);
                    }
                    drop(out.send(effects));
                }
                Err(error) => {
                    tracing::debug!(pool, %error, "nothing was dispatched; the sweep will ask again");
                }
            }
        }
    }
}

async fn round(
    db: &Db,
    clock: &Clock,
    pool: &str,
    most: Option<NonZeroUsize>,
    last: Option<WorkspaceId>,
) -> Result<(Effects, Option<WorkspaceId>), DbErr> {
    let tx = db.begin().await?;
    if tx.get_database_backend() == DatabaseBackend::Postgres {
        // A dispatch that a crash undoes is done again; it need not wait for the disk. And a plan
        // that was made while the table was young would read every waiting job: plan each time.
        let settings =
            "SET LOCAL synchronous_commit = off; SET LOCAL plan_cache_mode = force_custom_plan";
        tx.execute_unprepared(settings).await?;
    }
    let done = job::dispatch(&tx, pool, most, last, clock.now()).await?;
    tx.commit().await?;
    Ok(done)
}
