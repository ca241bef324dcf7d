//! The periodic tasks, most urgent first.

use std::{collections::BTreeSet, time::Duration};

use config::{
    context::Context,
    media::{MediaError, MediaKey},
    routes,
    settings::Settings,
};
use entities::{
    Effects, Timestamp, WriteError, accounts, audit, job, mail, pools, privacy, reconcile,
    throttle, uploads, usage,
};
use futures::future::BoxFuture;
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

use crate::erasure;

/// The most jobs that one round of a task touches; more come with the next round.
const BATCH: u64 = 200;

/// The most audit events that are deleted at once.
const EVENTS: u64 = 2_000;
/// Rows of the usage log that one round deletes one by one at most; on Postgres whole days are
/// dropped instead.
const USAGE_BATCH: u64 = 5_000;

/// Days of the usage log that are made ahead.
const USAGE_DAYS_AHEAD: u16 = 7;

/// Small rows that are forgotten by one statement.
const FORGET_BATCH: u64 = 2_000;

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
            Self::Scrub => Duration::from_secs(10),
            Self::Accounts => Duration::from_secs(30),
            Self::Forget => Duration::from_secs(600),
            Self::Staging => Duration::from_secs(3_600),
        }
    }

    pub(crate) async fn run(self, context: &Context) -> Result<(), WriteError> {
        let now = context.clock.now();
        match self {
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
                let dispatch: BTreeSet<String> = waiting.map_err(failed)?.into_iter().collect();
                context.perform(Effects { dispatch, ..Effects::default() });
                Ok(())
            }
            Self::Gauges => gauges(context).await.map_err(failed),
            Self::Reconcile => check(context).await.map_err(failed),
            Self::Expire => expire(context, now).await,
            Self::Uploads => uploads_leave(context, now).await,
            Self::UsageLog => usage_log(context, now).await.map_err(failed),
            Self::Erasures => erasure::round(context, now).await,
            Self::Exports => exports_leave(context, now).await,
            Self::Forget => {
                forget_keys(context, now).await?;
                accounts::forget_spending(context.db.write(), now).await.map_err(failed)?;
                erasure::logs_again(context, now).await?;
                pools::forget_dead(context.db.write()).await.map_err(failed)
            }
            Self::Accounts => forget_accounts_past(context, now).await.map_err(failed),
            Self::Staging => {
                staging(context).await;
                erasure::half_copies(context).await
            }
            // What somebody reads at the moment comes round again.
            Self::Scrub => context.db.scrub().await.map(drop).map_err(failed),
        }
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

pub(crate) fn failed(error: DbErr) -> WriteError {
    WriteError::Db(std::sync::Arc::new(error))
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

/// Deletes a small batch of what is kept no longer, so that live traffic does not notice: files
/// first, then the rows that tell of them.
async fn expire(context: &Context, now: Timestamp) -> Result<(), WriteError> {
    let expired = job::expired(context.db.read(), BATCH, now).await.map_err(failed)?;
    let mut done = Vec::new();
    let mut files = 0;
    for job in expired {
        match delete_files(context, &job.keys).await {
            Ok(()) => {
                files += job.keys.len();
                done.push(job.id);
            }
            Err(error) => {
                tracing::warn!(job_id = %job.id, %error, "a job's files were not deleted; they come round again");
            }
        }
    }
    if done.is_empty() {
        return Ok(());
    }
    let count = done.len();
    write(context, move |tx| {
        let done = done.clone();
        Box::pin(async move { job::erase(tx, &done, now).await })
    })
    .await?;
    context.metrics.retention_deleted("job", count);
    context.metrics.retention_deleted("file", files);
    Ok(())
}

/// Removes a small batch of uploads that are deleted or expired: files first, then their rows.
async fn uploads_leave(context: &Context, now: Timestamp) -> Result<(), WriteError> {
    let leaving = uploads::leaving(context.db.read(), BATCH, now).await.map_err(failed)?;
    let mut done = Vec::new();
    for (id, key) in leaving {
        match context.media.delete(&key).await {
            Ok(()) => done.push(id),
            Err(error) => {
                tracing::warn!(upload = %id, %error, "an upload was not deleted; it comes round again");
            }
        }
    }
    if done.is_empty() {
        return Ok(());
    }
    let count = done.len();
    write(context, move |tx| {
        let done = done.clone();
        Box::pin(async move {
            uploads::forget(tx, &done).await?;
            Ok(Effects::default())
        })
    })
    .await?;
    context.metrics.retention_deleted("upload", count);
    Ok(())
}

/// Makes the days of the usage log that are to come, and deletes those whose time is over.
async fn usage_log(context: &Context, now: Timestamp) -> Result<(), DbErr> {
    usage::make_days(&context.db, now, USAGE_DAYS_AHEAD).await?;
    let kept = context.settings.retention.usage_log;
    let deleted = usage::expire(&context.db, kept, USAGE_BATCH, now).await?;
    if deleted > 0 {
        let count = usize::try_from(deleted).unwrap_or(usize::MAX);
        context.metrics.retention_deleted("usage", count);
    }
    Ok(())
}

/// Deletes exports whose time is over: files first, then their rows.
async fn exports_leave(context: &Context, now: Timestamp) -> Result<(), WriteError> {
    let leaving = privacy::expired_exports(context.db.read(), BATCH, now).await.map_err(failed)?;
    let mut done = Vec::new();
    for export in leaving {
        match context.media.delete(MediaKey::export(export.id)).await {
            Ok(()) => done.push(export.id),
            Err(error) => {
                tracing::warn!(export = %export.id, %error, "an export was not deleted; it comes round again");
            }
        }
    }
    if done.is_empty() {
        return Ok(());
    }
    privacy::forget_exports(context.db.write(), &done).await.map_err(failed)?;
    context.metrics.retention_deleted("export", done.len());
    Ok(())
}

/// Forgets idempotency keys whose time is over, a batch at a time.
async fn forget_keys(context: &Context, now: Timestamp) -> Result<(), WriteError> {
    loop {
        let gone = job::forget_old_idempotency_keys(context.db.write(), FORGET_BATCH, now);
        let gone = gone.await.map_err(failed)?;
        context.metrics.retention_deleted("idempotency_key", usize::try_from(gone).unwrap_or(0));
        if gone < FORGET_BATCH {
            return Ok(());
        }
    }
}

async fn delete_files(context: &Context, keys: &[String]) -> Result<(), MediaError> {
    for key in keys {
        context.media.delete(key).await?;
    }
    Ok(())
}

async fn gauges(context: &Context) -> Result<(), DbErr> {
    let pools = pools::gauges(context.db.read(), context.clock.now()).await?;
    context.metrics.pools(&pools, &context.settings.workers.max_in_flight);
    let (board, settings) = (context.routes.board(), &context.settings.providers);
    context.metrics.routes(&routes::overview(&board, context.catalogue.routes(), settings));
    Ok(())
}

/// Deletes what is over: sessions, sign-ups that nobody confirmed, links in mails, throttles, and
/// a small batch of old audit events.
async fn forget_accounts_past(context: &Context, now: Timestamp) -> Result<(), DbErr> {
    let (db, settings) = (context.db.write(), &context.settings);
    let sessions =
        accounts::delete_old_sessions(db, settings.accounts.session_terms(), now).await?;
    let sign_ups = accounts::delete_old_sign_ups(db, now).await?;
    let links = mail::delete_old(db, now).await?;
    throttle::delete_old(db, now).await?;
    let before = now.before(settings.retention.audit);
    let events = audit::delete_old(db, before, EVENTS).await?;
    for (kind, count) in [
        ("session", sessions),
        ("sign_up", sign_ups),
        ("mail_link", links),
        ("audit_event", events),
    ] {
        context.metrics.retention_deleted(kind, usize::try_from(count).unwrap_or(usize::MAX));
    }
    Ok(())
}

/// Removes what crashes left half copied.
async fn staging(context: &Context) {
    match context.media.remove_stale().await {
        Ok(0) => {}
        Ok(removed) => {
            tracing::info!(removed, "half-copied files of crashed processes were removed")
        }
        Err(error) => tracing::warn!(%error, "half-copied files could not be removed"),
    }
}

async fn check(context: &Context) -> Result<(), DbErr> {
    let violations = reconcile::reconcile(&context.db).await?;
    context.metrics.ledger_violations(violations.len());
    for violation in &violations {
        tracing::error!(code = violation.code, subject = %violation.subject, detail = %violation.detail, "an invariant is broken");
    }
    Ok(())
}
