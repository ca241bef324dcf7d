//! Group commit for submits: each hands its job over and waits for its own verdict; a group is
//! whatever arrived while the last one was being written. No timer is involved.
//!
//! On Postgres the ordinary jobs of a group are written by one statement (`submit_once`); what is
//! left, and everything on SQLite, goes through a transaction of several (`submit`).
//!
//! A group that fails is written again one by one, so that a bad job hurts nobody else. After a
//! failed commit, whether it happened cannot be known; the rows are looked for by their ids,
//! which the callers made.

use std::sync::Arc;

use sea_orm::{ColumnTrait, DatabaseBackend, DbErr, EntityTrait, QueryFilter, QuerySelect};
use tokio::sync::{mpsc, oneshot};

use super::{
    submit::{NewJob, Verdict, submit_group},
    submit_once,
};
use crate::{
    Effects,
    db::{Db, is_away, was_sent},
    effects::Verb,
    ids::JobId,
    tables::jobs,
    writer::lane_of,
};

/// Groups that are written at the same time on Postgres: one lane's commit overlaps with another's
/// statements. A workspace has its lane, so that no lane waits for another's wallets.
const LANES: usize = 2;

/// How much the batcher takes on.
#[derive(Debug, Clone, Copy)]
pub struct BatcherLimits {
    /// The most jobs in one transaction.
    pub group: usize,
    /// The most jobs that wait; more are refused.
    pub waiting: usize,
}

impl Default for BatcherLimits {
    fn default() -> Self {
        Self { group: 64, waiting: 4096 }
    }
}

/// Why a submit has no verdict.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// Too many wait already; nothing was written.
    #[error("too many submits are waiting")]
    Busy,
    /// The database failed; nothing was written, or that cannot be known.
    #[error("the database failed: {0}")]
    Db(Arc<DbErr>),
}

struct Waiting {
    job: NewJob,
    answer: oneshot::Sender<Result<Verdict, SubmitError>>,
}

/// Accepts jobs in groups. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Batcher {
    lanes: Arc<Vec<mpsc::Sender<Waiting>>>,
}

impl Batcher {
    /// Starts the tasks that write; they end when the last clone is dropped. `perform` is called
    /// with what each committed group asks for, before its verdicts are given.
    #[must_use]
    pub fn start<P>(db: Db, limits: BatcherLimits, perform: P) -> Self
    where
        P: Fn(Effects) + Send + Sync + 'static,
    {
        let lanes = match db.backend() {
            DatabaseBackend::Sqlite => 1,
            _ => LANES,
        };
        let perform = Arc::new(perform);
        let lanes = (0..lanes)
            .map(|_| {
                let (queue, mut waiting) = mpsc::channel(limits.waiting.div_ceil(lanes));
                let (db, perform) = (db.clone(), Arc::clone(&perform));
                tokio::spawn(async move {
                    let mut group = Vec::with_capacity(limits.group);
                    while gather(&mut waiting, &mut group, limits.group).await {
                        write(&db, std::mem::take(&mut group), perform.as_ref()).await;
                    }
                });
                queue
            })
            .collect();
        Self { lanes: Arc::new(lanes) }
    }

    /// Submits one job and waits for its verdict. The caller may go away: the job is then
    /// committed or not, as if the answer had been lost.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn submit(&self, job: NewJob) -> Result<Verdict, SubmitError> {
        let (answer, verdict) = oneshot::channel();
        let lane = lane_of(job.workspace_id.0, self.lanes.len());
        self.lanes[lane].try_send(Waiting { job, answer }).map_err(|_| SubmitError::Busy)?;
        verdict.await.map_err(|_| SubmitError::Busy)?
    }
}

/// How often a group that still grows lets others run before it is written.
const GATHERED: u32 = 3;

/// Takes whatever waits; `false` when nobody will come any more. Everybody who can run now runs
/// first: under load their jobs come along, and when it is quiet this costs nothing.
async fn gather(
    waiting: &mut mpsc::Receiver<Waiting>,
    group: &mut Vec<Waiting>,
    most: usize,
) -> bool {
    if waiting.recv_many(group, most).await == 0 {
        return false;
    }
    for _ in 0..GATHERED {
        let before = group.len();
        tokio::task::yield_now().await;
        while group.len() < most
            && let Ok(next) = waiting.try_recv()
        {
            group.push(next);
        }
        if group.len() == before {
            break;
        }
    }
    true
}

/// Writes a group and answers everybody in it.
async fn write<P: Fn(Effects) + Sync>(db: &Db, mut group: Vec<Waiting>, perform: &P) {
    // Who went away was told that it failed; that had better be true.
    group.retain(|waiting| !waiting.answer.is_closed());
    if db.backend() == DatabaseBackend::Postgres {
        group = write_ordinary(db, group, perform).await;
    }
    if !group.is_empty() {
        write_the_long_way(db, group, perform).await;
    }
}

/// Writes what one statement can and answers it; the rest comes back.
async fn write_ordinary<P: Fn(Effects) + Sync>(
    db: &Db,
    group: Vec<Waiting>,
    perform: &P,
) -> Vec<Waiting> {
    let (ordinary, mut rest): (Vec<Waiting>, Vec<Waiting>) =
        group.into_iter().partition(|waiting| submit_once::is_ordinary(&waiting.job));
    if ordinary.is_empty() {
        return rest;
    }
    let jobs: Vec<&NewJob> = ordinary.iter().map(|waiting| &waiting.job).collect();
    let written = match submit_once::write(db.groups(), &jobs).await {
        Ok(written) => written,
        Err(error) if was_sent(&error) => {
            let jobs: Vec<NewJob> = jobs.into_iter().cloned().collect();
            let results = look_for(db, &jobs, error).await;
            for (waiting, result) in ordinary.into_iter().zip(results) {
                drop(waiting.answer.send(result));
            }
            return rest;
        }
        Err(error) if is_away(&error) => {
            let error = Arc::new(error);
            for waiting in ordinary {
                drop(waiting.answer.send(Err(SubmitError::Db(error.clone()))));
            }
            return rest;
        }
        // It wrote nothing. Why, the long way finds out.
        Err(error) => {
            tracing::debug!(%error, "a group of submits goes the long way");
            rest.extend(ordinary);
            return rest;
        }
    };
    let mut effects = Effects::default();
    for job in jobs.into_iter().filter(|job| written.contains(&job.id)) {
        if !effects.dispatch.contains(&job.pool) {
            effects.dispatch.insert(job.pool.clone());
        }
        effects.credits.push((Verb::Hold, job.credits));
    }
    perform(effects);
    for waiting in ordinary {
        if written.contains(&waiting.job.id) {
            // A client that went away finds its job by its idempotency key.
            drop(waiting.answer.send(Ok(Verdict::Accepted)));
        } else {
            rest.push(waiting);
        }
    }
    rest
}

/// Writes a group in a transaction of several statements and answers everybody in it.
async fn write_the_long_way<P: Fn(Effects) + Sync>(db: &Db, group: Vec<Waiting>, perform: &P) {
    let (jobs, answers): (Vec<NewJob>, Vec<_>) =
        group.into_iter().map(|waiting| (waiting.job, waiting.answer)).unzip();
    let results = match try_write(db, &jobs).await {
        Ok((verdicts, effects)) => {
            perform(effects);
            verdicts.into_iter().map(Ok).collect()
        }
        Err(Failure::Commit(error)) => look_for(db, &jobs, error).await,
        // Each alone would fare no better.
        Err(Failure::Before(error)) if jobs.len() == 1 || is_away(&error) => {
            let error = Arc::new(error);
            jobs.iter().map(|_| Err(SubmitError::Db(error.clone()))).collect()
        }
        Err(Failure::Before(_)) => one_by_one(db, &jobs, perform).await,
    };
    for (answer, result) in answers.into_iter().zip(results) {
        drop(answer.send(result));
    }
}

enum Failure {
    /// Nothing was written.
    Before(DbErr),
    /// It may have been written.
    Commit(DbErr),
}

async fn try_write(db: &Db, jobs: &[NewJob]) -> Result<(Vec<Verdict>, Effects), Failure> {
    let tx = db.begin().await.map_err(Failure::Before)?;
    let done = submit_group(&tx, jobs).await.map_err(Failure::Before)?;
    tx.commit().await.map_err(Failure::Commit)?;
    Ok(done)
}

async fn one_by_one<P: Fn(Effects) + Sync>(
    db: &Db,
    jobs: &[NewJob],
    perform: &P,
) -> Vec<Result<Verdict, SubmitError>> {
    let mut results = Vec::with_capacity(jobs.len());
    for job in jobs {
        let one = std::slice::from_ref(job);
        match try_write(db, one).await {
            Ok((verdicts, effects)) => {
                perform(effects);
                results.extend(verdicts.into_iter().map(Ok));
            }
            Err(Failure::Commit(error)) => results.extend(look_for(db, one, error).await),
            Err(Failure::Before(error)) => results.push(Err(SubmitError::Db(Arc::new(error)))),
        }
    }
    results
}

/// After a commit whose answer was lost: a job that is there was accepted.
async fn look_for(db: &Db, jobs: &[NewJob], error: DbErr) -> Vec<Result<Verdict, SubmitError>> {
    let error = Arc::new(error);
    let found: Result<Vec<JobId>, DbErr> = jobs::Entity::find()
        .select_only()
        .column(jobs::Column::Id)
        .filter(jobs::Column::Id.is_in(jobs.iter().map(|job| job.id)))
        .into_tuple()
        .all(db.write())
        .await;
    jobs.iter()
        .map(|job| match &found {
            Ok(found) if found.contains(&job.id) => Ok(Verdict::Accepted),
            _ => Err(SubmitError::Db(error.clone())),
        })
        .collect()
}
