//! The periodic tasks, most urgent first. Those that delete what is kept no longer are in
//! `retention`.

mod retention;

use std::{collections::BTreeSet, time::Duration};

use config::{
    context::Context,
    routes::{Known, overview},
    settings::Settings,
};
use entities::{Effects, Timestamp, WriteError, accounts, job, pools, reconcile, routing};
use futures::future::BoxFuture;
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

use crate::erasure;

/// The most jobs that one round of a task touches; more come with the next round.
const BATCH: u64 = 200;

/// A periodic task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Rescue,
    Sweep,
    Deadlines,
    Dispatch,
    Gauges,
    Reconcile,
    Expire,
    Uploads,
    UsageLog,
    Erasures,
    Exports,
    Forget,
    Accounts,
    Staging,
    Scrub,
}

/// All of them.
pub(crate) const TASKS: [Task; 15] = [
    Task::Rescue,
    Task::Sweep,
    Task::Deadlines,
    Task::Dispatch,
    Task::Gauges,
    Task::Reconcile,
    Task::Expire,
    Task::Uploads,
    Task::UsageLog,
    Task::Erasures,
    Task::Exports,
    Task::Forget,
    Task::Accounts,
    Task::Staging,
    Task::Scrub,
];

impl Task {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rescue => "rescue",
            Self::Sweep => "sweep",
            Self::Deadlines => "deadlines",
            Self::Dispatch => "dispatch",
            Self::Gauges => "gauges",
            Self::Reconcile => "reconcile",
            Self::Expire => "expire",
            Self::Uploads => "uploads",
            Self::UsageLog => "usage_log",
            Self::Erasures => "erasures",
            Self::Exports => "exports",
            Self::Forget => "forget",
            Self::Accounts => "accounts",
            Self::Staging => "staging",
            Self::Scrub => "scrub",
        }
    }

    pub(crate) fn every(self, settings: &Settings) -> Duration {
        match self {
            Self::Rescue | Self::Sweep | Self::Dispatch => settings.scheduler.sweep,
            Self::Deadlines | Self::Gauges => Duration::from_secs(2),
            Self::Erasures => Duration::from_millis(500),
            Self::Expire | Self::Uploads | Self::Exports | Self::UsageLog => Duration::from_secs(5),
            Self::Reconcile => settings.scheduler.reconcile,
            Self::Scrub => settings.retention.scrub,
            Self::Accounts => Duration::from_secs(30),
            Self::Forget => Duration::from_secs(600),
            Self::Staging => Duration::from_secs(3_600),
        }
    }

    /// How long the task rests after a round that took so long. What reads whole tables, a long queue
    /// or a ledger of years, is not to take more than a twentieth of the time.
    pub(crate) fn rest(self, took: Duration) -> Duration {
        match self {
            Self::Gauges | Self::Reconcile => 20 * took,
            _ => Duration::ZERO,
        }
    }

    /// Does one round; whether there is more to do at once.
    pub(crate) async fn run(self, context: &Context) -> Result<bool, WriteError> {
        let now = context.clock.now();
        let done = match self {
            Self::Expire => return retention::spell(|| retention::expire(context, now)).await,
            Self::Uploads => {
                return retention::spell(|| retention::uploads_leave(context, now)).await;
            }
            Self::UsageLog => {
                retention::days_to_come(context, now).await?;
                let spell = retention::spell(|| retention::usage_log(context, now)).await;
                return spell.map_err(WriteError::from);
            }
            Self::Rescue => {
                write(context, move |tx| {
                    Box::pin(async move { Ok(job::rescue(tx, BATCH, now).await?.0) })
                })
                .await
            }
            Self::Sweep => {
                write(context, move |tx| Box::pin(async move { job::sweep(tx, now).await })).await
            }
            Self::Deadlines => {
                write(context, move |tx| {
                    Box::pin(async move { Ok(job::end_overdue(tx, BATCH, now).await?.0) })
                })
                .await
            }
            Self::Dispatch => {
                let waiting = job::pools_with_waiting_jobs(context.db.read(), now).await;
                let dispatch: BTreeSet<String> = waiting?.into_iter().collect();
                context.perform(Effects { dispatch, ..Effects::default() });
                Ok(())
            }
            Self::Gauges => gauges(context).await.map_err(WriteError::from),
            Self::Reconcile => check(context).await.map_err(WriteError::from),
            Self::Erasures => erasure::round(context, now).await,
            Self::Exports => retention::exports_leave(context, now).await,
            Self::Forget => {
                retention::forget_keys(context, now).await?;
                accounts::forget_spending(context.db.write(), now).await?;
                erasure::logs_again(context, now).await?;
                pools::forget_dead(context.db.write()).await.map_err(WriteError::from)
            }
            Self::Accounts => {
                retention::forget_accounts_past(context, now).await.map_err(WriteError::from)
            }
            Self::Staging => {
                retention::staging(context).await;
                erasure::half_copies(context).await
            }
            // What somebody reads at the moment comes round again.
            Self::Scrub => context.db.scrub().await.map(drop).map_err(WriteError::from),
        };
        done.map(|()| false)
    }
}

/// Pushes the hints again that were pushed before `lost`; whether that was all of them.
pub(crate) async fn push_again(context: &Context, lost: Timestamp) -> Result<bool, WriteError> {
    let now = context.clock.now();
    let effects = context
        .writer
        .run(Uuid::nil(), move |tx| Box::pin(async move { job::push_again(tx, lost, now).await }))
        .await?;
    let all = effects.pushes.is_empty();
    context.perform(effects);
    Ok(all)
}

pub(crate) async fn write<F>(context: &Context, work: F) -> Result<(), WriteError>
where
    F: for<'t> Fn(&'t DatabaseTransaction) -> BoxFuture<'t, Result<Effects, DbErr>>
        + Send
        + 'static,
{
    let effects = context.writer.run(Uuid::nil(), work).await?;
    context.perform(effects);
    Ok(())
}

async fn gauges(context: &Context) -> Result<(), DbErr> {
    let pools = pools::gauges(context.db.read(), context.clock.now()).await?;
    context.metrics.pools(&pools, &context.settings.workers.max_in_flight);
    let (board, settings) = (context.routes.board(), &context.settings.providers);
    let given_up = routing::given_up(context.db.read()).await?;
    let routes = context.catalogue.routes();
    let known = Known { board: &board, given_up: &given_up, routes, settings };
    context.metrics.routes(&overview(known));
    Ok(())
}

async fn check(context: &Context) -> Result<(), DbErr> {
    let violations = reconcile::reconcile(&context.db).await?;
    context.metrics.ledger_violations(violations.len());
    for violation in &violations {
        tracing::error!(code = violation.code, subject = %violation.subject, detail = %violation.detail, "an invariant is broken");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_whole_tables_takes_a_twentieth_of_the_time_at_most() {
        let took = Duration::from_secs(5);
        for task in TASKS {
            let whole = matches!(task.name(), "gauges" | "reconcile");
            let least = if whole { Duration::from_secs(100) } else { Duration::ZERO };
            assert_eq!(task.rest(took), least, "{}", task.name());
        }
    }
}
