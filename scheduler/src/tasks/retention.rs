//! What is kept no longer is deleted in small batches, so that live traffic does not notice: files
//! first, then the rows that tell of them. While there is more, a round goes on for [`SPELL`] and the
//! next one follows soon, so that deleting keeps up with whatever is made.

use config::{
    context::Context,
    media::{MediaError, MediaKey},
};
use entities::{
    Effects, Timestamp, WriteError, accounts, audit, job, mail, privacy, throttle, uploads, usage,
};
use sea_orm::DbErr;
use tokio::time::{Duration, Instant};

use super::{BATCH, write};

/// How long one round deletes at most, before the scheduler sees to its other tasks.
const SPELL: Duration = Duration::from_millis(250);

/// What one batch of a round did.
pub(super) struct Batch {
    /// How much of what was due is gone.
    pub(super) gone: usize,
    /// How much one batch takes at most.
    pub(super) most: usize,
}

/// Does one batch after another until little is left or the time is up; whether there may be more.
/// What cannot be deleted now does not count, so that it is not tried again at once.
pub(super) async fn spell<F, E>(mut batch: impl FnMut() -> F) -> Result<bool, E>
where
    F: Future<Output = Result<Batch, E>>,
{
    let end = Instant::now() + SPELL;
    loop {
        let Batch { gone, most } = batch().await?;
        if gone < most {
            return Ok(false);
        }
        if Instant::now() >= end {
            return Ok(true);
        }
    }
}

/// The most audit events that are deleted at once.
const EVENTS: u64 = 2_000;
/// Rows of the usage log that one round deletes one by one at most; on Postgres whole days are
/// dropped instead.
const USAGE_BATCH: u64 = 1_000;

/// Days of the usage log that are made ahead.
const USAGE_DAYS_AHEAD: u16 = 7;

/// Small rows that are forgotten by one statement.
const FORGET_BATCH: u64 = 2_000;

/// Deletes the content of jobs whose time is over.
pub(super) async fn expire(context: &Context, now: Timestamp) -> Result<Batch, WriteError> {
    let expired = job::expired(context.db.read(), BATCH, now).await?;
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
    let batch = Batch { gone: done.len(), most: BATCH as usize };
    if done.is_empty() {
        return Ok(batch);
    }
    let count = done.len();
    write(context, move |tx| {
        let done = done.clone();
        Box::pin(async move { job::erase(tx, &done, now).await })
    })
    .await?;
    context.metrics.retention_deleted("job", count);
    context.metrics.retention_deleted("file", files);
    Ok(batch)
}

/// Removes a small batch of uploads that are deleted or expired: files first, then their rows.
pub(super) async fn uploads_leave(context: &Context, now: Timestamp) -> Result<Batch, WriteError> {
    let leaving = uploads::leaving(context.db.read(), BATCH, now).await?;
    let mut done = Vec::new();
    for (id, key) in leaving {
        match context.media.delete(&key).await {
            Ok(()) => done.push(id),
            Err(error) => {
                tracing::warn!(upload = %id, %error, "an upload was not deleted; it comes round again");
            }
        }
    }
    let batch = Batch { gone: done.len(), most: BATCH as usize };
    if done.is_empty() {
        return Ok(batch);
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
    Ok(batch)
}

/// Makes the days of the usage log that are to come.
pub(super) async fn days_to_come(context: &Context, now: Timestamp) -> Result<(), DbErr> {
    usage::make_days(&context.db, now, USAGE_DAYS_AHEAD).await
}

/// Deletes rows of the usage log whose time is over.
pub(super) async fn usage_log(context: &Context, now: Timestamp) -> Result<Batch, DbErr> {
    let kept = context.settings.retention.usage_log;
    let deleted = usage::expire(&context.db, kept, USAGE_BATCH, now).await?;
    let gone = usize::try_from(deleted).unwrap_or(usize::MAX);
    if gone > 0 {
        context.metrics.retention_deleted("usage", gone);
    }
    Ok(Batch { gone, most: USAGE_BATCH as usize })
}

/// Deletes exports whose time is over: files first, then their rows.
pub(super) async fn exports_leave(context: &Context, now: Timestamp) -> Result<(), WriteError> {
    let leaving = privacy::expired_exports(context.db.read(), BATCH, now).await?;
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
    privacy::forget_exports(context.db.write(), &done).await?;
    context.metrics.retention_deleted("export", done.len());
    Ok(())
}

/// Forgets idempotency keys whose time is over, a batch at a time.
pub(super) async fn forget_keys(context: &Context, now: Timestamp) -> Result<(), WriteError> {
    loop {
        let gone = job::forget_old_idempotency_keys(context.db.write(), FORGET_BATCH, now);
        let gone = gone.await?;
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

/// Deletes what is over: sessions, sign-ups that nobody confirmed, links in mails, throttles, and
/// a small batch of old audit events.
pub(super) async fn forget_accounts_past(context: &Context, now: Timestamp) -> Result<(), DbErr> {
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
pub(super) async fn staging(context: &Context) {
    match context.media.remove_stale().await {
        Ok(0) => {}
        Ok(removed) => {
            tracing::info!(removed, "half-copied files of crashed processes were removed")
        }
        Err(error) => tracing::warn!(%error, "half-copied files could not be removed"),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, convert::Infallible, future::ready};

    use super::*;

    /// Whether there may be more, and what is left, after a round in which each batch takes three.
    async fn round(due: usize, can_be_deleted: bool) -> (bool, usize, u32) {
        let (left, batches) = (Cell::new(due), Cell::new(0));
        let batch = || {
            let gone = if can_be_deleted { left.get().min(3) } else { 0 };
            left.set(left.get() - gone);
            batches.set(batches.get() + 1);
            ready(Ok::<_, Infallible>(Batch { gone, most: 3 }))
        };
        let Ok(more) = spell(batch).await;
        (more, left.get(), batches.get())
    }

    #[tokio::test]
    async fn a_round_goes_on_while_batches_are_full() {
        assert_eq!(round(7, true).await, (false, 0, 3));
        assert_eq!(round(0, true).await, (false, 0, 1));
    }

    #[tokio::test]
    async fn what_cannot_be_deleted_does_not_keep_a_round_going() {
        assert_eq!(round(7, false).await, (false, 7, 1));
    }
}
