//! The poll loop of one pool: leases jobs that are due, as many as there are free hands, and looks
//! at each on its own, so that a long copy of one job's media delays no other job.
//!
//! Nothing is kept here: a job that is leased and dropped comes back when its lease expires.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use entities::{Timestamp, WriteError, job};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::engine::Engine;

/// The longest that the loop sleeps, so that a cancel or another process's job is not overlooked
/// for longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The shortest, so that a job that is due all the time does not spin.
const SHORTEST_SLEEP: Duration = Duration::from_millis(5);

/// Looks at what is due until the process closes, then finishes what is in hand.
pub(crate) async fn poll_loop(engine: Engine, concurrency: usize) {
    let stopping = engine.context.shutdown.clone();
    let mut hands = Hands::new(concurrency);
    while !stopping.is_closing() {
        let sleep = match round(&engine, &mut hands).await {
            Ok(sleep) => sleep,
            Err(error) => {
                tracing::warn!(%error, "the poll loop could not reach the database");
                LONGEST_SLEEP
            }
        };
        tokio::select! {
            () = stopping.wait() => break,
            () = engine.due.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
    hands.finish().await;
}

/// The looks that are going on; at most so many at the same time.
struct Hands {
    free: Arc<Semaphore>,
    looks: JoinSet<()>,
}

impl Hands {
    fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count.max(1))), looks: JoinSet::new() }
    }

    /// How many are free; waits for one if all are busy.
    async fn free(&mut self) -> u32 {
        while let Some(ended) = self.looks.try_join_next() {
            report(ended);
        }
        if self.free.available_permits() == 0
            && let Some(ended) = self.looks.join_next().await
        {
            report(ended);
        }
        u32::try_from(self.free.available_permits()).unwrap_or(u32::MAX)
    }

    /// Looks at one job, with a hand that was free.
    fn look(&mut self, engine: &Engine, claimed: job::Claimed) {
        // Only this loop takes hands, and it leases no more jobs than are free.
        let hand = Arc::clone(&self.free).try_acquire_owned();
        let engine = engine.clone();
        self.looks.spawn(async move {
            engine.look(claimed).await;
            drop(hand);
        });
    }

    async fn finish(mut self) {
        while let Some(ended) = self.looks.join_next().await {
            report(ended);
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a look at a job ended badly; its lease brings the job back");
    }
}

/// Begins to look at what is due; answers with how long to sleep.
async fn round(engine: &Engine, hands: &mut Hands) -> Result<Duration, WriteError> {
    let now = engine.now();
    if job::next_due(&engine.context.db, &engine.pool).await?.is_none_or(|due| due > now) {
        return until_due(engine).await;
    }
    let batch = hands.free().await.min(engine.context.settings.workers.poll_batch.get());
    if engine.context.shutdown.is_closing() {
        return Ok(Duration::ZERO);
    }
    let claimed = lease(engine, batch, now).await?;
    for claimed in claimed {
        hands.look(engine, claimed);
    }
    until_due(engine).await
}

/// Leases what is due. A commit whose answer is lost may have happened, and then nobody else knows of
/// its leases, each of which would have to run out: they are looked for once the database answers.
async fn lease(
    engine: &Engine,
    batch: u32,
    now: Timestamp,
) -> Result<Vec<job::Claimed>, WriteError> {
    let (pool, lease) = (Arc::clone(&engine.pool), engine.lease);
    let leased = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&leased);
    let written = engine
        .context
        .writer
        .run(uuid::Uuid::nil(), move |tx| {
            let (pool, noted) = (Arc::clone(&pool), Arc::clone(&noted));
            Box::pin(async move {
                let due = job::lease_due(tx, &pool, batch, lease, now).await?;
                noted.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&due);
                Ok(due)
            })
        })
        .await;
    match written {
        Err(error) if error.may_pass() => {
            let perhaps =
                std::mem::take(&mut *leased.lock().unwrap_or_else(PoisonError::into_inner));
            if perhaps.is_empty() { Err(error) } else { still_leased(engine, perhaps).await }
        }
        written => written,
    }
}

/// Those of the jobs whose leases were written, made whole again.
async fn still_leased(
    engine: &Engine,
    perhaps: Vec<job::Claimed>,
) -> Result<Vec<job::Claimed>, WriteError> {
    let asked = Engine::until_written(engine.lease, || async {
        Ok(job::regain(engine.context.db.write(), &perhaps, engine.lease).await?)
    });
    let regained = tokio::select! {
        regained = asked => regained?,
        () = engine.context.shutdown.wait() => Vec::new(),
    };
    Ok(perhaps.into_iter().filter(|claimed| regained.contains(&claimed.id())).collect())
}

async fn until_due(engine: &Engine) -> Result<Duration, WriteError> {
    let due = job::next_due(&engine.context.db, &engine.pool).await?;
    let sleep = due.map_or(LONGEST_SLEEP, |due| due.since(engine.now()));
    Ok(sleep.clamp(SHORTEST_SLEEP, LONGEST_SLEEP))
}
