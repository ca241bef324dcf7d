//! Lanes for one kind of step. A lane is one task with one statement at a time; changes of the same
//! key always take the same lane, so that no lane waits for another's rows.

use std::{future::Future, sync::Arc};

use sea_orm::{DatabaseConnection, DbErr};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{
    WriteError,
    db::{Db, is_away},
    writer::lane_of,
};

/// Groups of one kind that are written at the same time: one's commit overlaps with another's work.
const LANES: usize = 2;

/// The most steps in one statement.
const GROUP: usize = 128;

/// How many steps may wait in one lane before callers have to wait.
const WAITING: usize = 4096;

/// A step that one statement takes for many jobs.
pub(super) trait Step: Send + Sync + 'static {
    /// What became of it; `None` when someone else was first.
    type Done: Send + 'static;

    /// What it changes besides its job.
    fn key(&self) -> Uuid;

    /// Takes the steps, in one statement; an answer for each, in order.
    fn take(
        db: &DatabaseConnection,
        group: &[Self],
    ) -> impl Future<Output = Result<Vec<Option<Self::Done>>, DbErr>> + Send
    where
        Self: Sized;
}

type Answer<S> = oneshot::Sender<Result<Option<<S as Step>::Done>, WriteError>>;

struct Pending<S: Step> {
    step: S,
    answer: Answer<S>,
}

/// The lanes of one kind. Cheap to clone.
pub(super) struct Lanes<S: Step> {
    lanes: Arc<Vec<mpsc::Sender<Pending<S>>>>,
}

impl<S: Step> Clone for Lanes<S> {
    fn clone(&self) -> Self {
        Self { lanes: Arc::clone(&self.lanes) }
    }
}

impl<S: Step> std::fmt::Debug for Lanes<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lanes")
    }
}

impl<S: Step> Lanes<S> {
    pub(super) fn start(db: &Db) -> Self {
        let lanes = (0..LANES)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(WAITING);
                tokio::spawn(run(db.clone(), receiver));
                sender
            })
            .collect();
        Self { lanes: Arc::new(lanes) }
    }

    /// Takes the step and answers once it is committed.
    pub(super) async fn write(&self, step: S) -> Result<Option<S::Done>, WriteError> {
        let (answer, verdict) = oneshot::channel();
        let lane = &self.lanes[lane_of(step.key(), self.lanes.len())];
        lane.send(Pending { step, answer }).await.map_err(|_| WriteError::Stopped)?;
        verdict.await.map_err(|_| WriteError::Stopped)?
    }
}

async fn run<S: Step>(db: Db, mut receiver: mpsc::Receiver<Pending<S>>) {
    let mut group = Vec::with_capacity(GROUP);
    while receiver.recv_many(&mut group, GROUP).await > 0 {
        let (steps, answers): (Vec<S>, Vec<Answer<S>>) =
            group.drain(..).map(|pending| (pending.step, pending.answer)).unzip();
        match S::take(db.groups(), &steps).await {
            Ok(done) => {
                for (answer, done) in answers.into_iter().zip(done) {
                    // A caller that went away needs no answer; its step is taken all the same.
                    drop(answer.send(Ok(done)));
                }
            }
            // Each alone would fare no better.
            Err(error) if steps.len() == 1 || is_away(&error) => {
                let error = Arc::new(error);
                for answer in answers {
                    drop(answer.send(Err(WriteError::Db(error.clone()))));
                }
            }
            Err(_) => {
                for (step, answer) in steps.into_iter().zip(answers) {
                    let alone = S::take(db.groups(), std::slice::from_ref(&step)).await;
                    let alone = alone.map_err(WriteError::from);
                    drop(answer.send(alone.map(|done| done.into_iter().next().flatten())));
                }
            }
        }
    }
}
