//! Group commit for state changes: what arrives while one transaction is being written is written
//! together in the next one.
//!
//! A commit costs a flush to disk; a group shares one. Each lane is one task with one transaction
//! at a time; changes of the same key always take the same lane and a lane sorts its group by
//! key, so that groups lock rows in one order. A change that fails takes its group's transaction
//! down: every change of that group is then written alone, so that a bad one hurts nobody else.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use futures::future::BoxFuture;
use sea_orm::{DatabaseTransaction, DbErr};
use tokio::sync::{Mutex, mpsc, oneshot};
use uuid::Uuid;

use crate::db::{Db, is_away, may_pass};

/// The most changes that share one transaction.
const GROUP: usize = 64;

/// How many changes may wait in one lane before callers have to wait.
const WAITING: usize = 4096;

/// Writes state changes in groups. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    lanes: Arc<Vec<mpsc::Sender<Box<dyn Change>>>>,
}

/// Why a change is not known to be written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The database failed; shared by all changes of the group.
    #[error("{0}")]
    Db(Arc<DbErr>),
    /// The process is stopping.
    #[error("the writer has stopped")]
    Stopped,
}

impl From<DbErr> for WriteError {
    fn from(error: DbErr) -> Self {
        Self::Db(Arc::new(error))
    }
}

impl WriteError {
    /// Whether the database was out of reach; the change may have been written all the same.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Db(error) => is_away(error),
            Self::Stopped => false,
        }
    }

    /// Whether the same change may be written when it is tried again.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Db(error) => may_pass(error),
            Self::Stopped => false,
        }
    }
}

/// A state change that waits for its commit.
trait Change: Send {
    fn key(&self) -> Uuid;
    fn apply<'t>(&'t mut self, tx: &'t DatabaseTransaction) -> BoxFuture<'t, Result<(), DbErr>>;
    fn committed(self: Box<Self>);
    fn failed(self: Box<Self>, error: WriteError);
}

struct Pending<F, T> {
    key: Uuid,
    work: F,
    value: Option<T>,
    answer: oneshot::Sender<Result<T, WriteError>>,
}

impl<F, T> Change for Pending<F, T>
where
    F: for<'t> Fn(&'t DatabaseTransaction) -> BoxFuture<'t, Result<T, DbErr>> + Send,
    T: Send,
{
    fn key(&self) -> Uuid {
        self.key
    }

    fn apply<'t>(&'t mut self, tx: &'t DatabaseTransaction) -> BoxFuture<'t, Result<(), DbErr>> {
        let work = (self.work)(tx);
        let value = &mut self.value;
        Box::pin(async move {
            *value = Some(work.await?);
            Ok(())
        })
    }

    fn committed(self: Box<Self>) {
        let answer = self.value.ok_or(WriteError::Stopped);
        // A caller that went away needs no answer; the change is committed all the same.
        drop(self.answer.send(answer));
    }

    fn failed(self: Box<Self>, error: WriteError) {
        drop(self.answer.send(Err(error)));
    }
}

impl Writer {
    /// Starts the lanes: one on SQLite, which has one writer anyway, `lanes` on Postgres. They end
    /// when the last clone is dropped.
    #[must_use]
    pub fn start(db: &Db, lanes: usize) -> Self {
        let lanes = match db.backend() {
            sea_orm::DatabaseBackend::Sqlite => 1,
            _ => lanes.max(1),
        };
        let lanes = (0..lanes)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(WAITING);
                tokio::spawn(run_lane(db.clone(), Mutex::new(receiver)));
                sender
            })
            .collect();
        Self { lanes: Arc::new(lanes) }
    }

    /// Runs `work` in a transaction and answers once it is committed. `work` may run twice (its
    /// first transaction is then rolled back), so it must not act outside the transaction.
    ///
    /// # Errors
    /// When `work` fails, or the commit does (it may then have happened all the same).
    pub async fn run<T, F>(&self, key: Uuid, work: F) -> Result<T, WriteError>
    where
        F: for<'t> Fn(&'t DatabaseTransaction) -> BoxFuture<'t, Result<T, DbErr>> + Send + 'static,
        T: Send + 'static,
    {
        let (answer, verdict) = oneshot::channel();
        let change = Box::new(Pending { key, work, value: None, answer });
        self.lane(key).send(change).await.map_err(|_| WriteError::Stopped)?;
        verdict.await.map_err(|_| WriteError::Stopped)?
    }

    fn lane(&self, key: Uuid) -> &mpsc::Sender<Box<dyn Change>> {
        &self.lanes[lane_of(key, self.lanes.len())]
    }
}

/// Which of so many lanes is the key's.
pub(crate) fn lane_of(key: Uuid, lanes: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % lanes.max(1) as u64).unwrap_or(0)
}

async fn run_lane(db: Db, receiver: Mutex<mpsc::Receiver<Box<dyn Change>>>) {
    let mut receiver = receiver.into_inner();
    let mut group = Vec::with_capacity(GROUP);
    while receiver.recv_many(&mut group, GROUP).await > 0 {
        group.sort_by_key(|change| change.key());
        write_group(&db, std::mem::take(&mut group)).await;
    }
}

async fn write_group(db: &Db, mut group: Vec<Box<dyn Change>>) {
    match try_group(db, &mut group).await {
        Ok(()) => group.into_iter().for_each(Change::committed),
        // When a commit fails, whether it happened cannot be known: never run such a group again.
        // Nor can each alone fare better while the database is away.
        Err(Failure { while_committing, error })
            if while_committing || group.len() == 1 || is_away(&error) =>
        {
            let error = Arc::new(error);
            group.into_iter().for_each(|change| change.failed(WriteError::Db(error.clone())));
        }
        Err(_) => {
            for change in group {
                Box::pin(write_group(db, vec![change])).await;
            }
        }
    }
}

struct Failure {
    while_committing: bool,
    error: DbErr,
}

async fn try_group(db: &Db, group: &mut [Box<dyn Change>]) -> Result<(), Failure> {
    let before = |error| Failure { while_committing: false, error };
    let tx = db.begin().await.map_err(before)?;
    for change in group.iter_mut() {
        change.apply(&tx).await.map_err(before)?;
    }
    tx.commit().await.map_err(|error| Failure { while_committing: true, error })
}
