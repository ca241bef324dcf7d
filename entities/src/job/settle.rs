//! The end of a job: the terminal state, the closed hold, the ledger entries, the wallet and the
//! freed slot change in one transaction.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, ExprTrait, QueryFilter,
    sea_query::Expr,
};

use super::{
    AttemptOutcome, JobRef, JobState, Usage,
    guarded::{Shows, change},
    progress::shown,
};
use crate::{
    Credits, Effects, Timestamp,
    accounts::spending,
    effects::{JobEnd, Verb},
    ids::{AttemptId, OutputId, WorkspaceId},
    ledger::{EntryKind, post},
    routing::note_possible_cost,
    tables::{attempts, holds, jobs, outputs, wallets, workspaces},
};

/// How a job ends without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It failed.
    Failed(Failure),
    /// Its user canceled it.
    Canceled,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub code: &'static str,
    /// For people; never a secret or a provider's internals.
    pub detail: String,
}

/// A stored media file of a finished job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOutput {
    /// Its name in the media store.
    pub key: String,
    /// Found in the bytes.
    pub content_type: String,
    /// Its size.
    pub bytes: u64,
    /// Hexadecimal.
    pub sha256: String,
    /// In pixels.
    pub width: Option<u32>,
    /// In pixels.
    pub height: Option<u32>,
    /// For moving pictures.
    pub duration: Option<Duration>,
    /// If it has one of its own.
    pub thumbnail: Option<NewThumbnail>,
}

/// A small picture of a stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewThumbnail {
    /// What it is.
    pub content_type: String,
    /// Its size.
    pub bytes: u64,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// storing -> succeeded: captures the price, pro rata when fewer files came than were asked for,
/// and releases the rest. `None`: someone else was first.
///
/// # Errors
/// When the database fails, or there is no output at all.
pub async fn succeed(
    db: &impl ConnectionTrait,
    job: &jobs::Model,
    attempt_id: AttemptId,
    delivered: &[NewOutput],
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    if delivered.is_empty() {
        return Err(DbErr::Custom(format!("{} cannot succeed without an output", job.id)));
    }
    let Some(done) = finish(db, &JobRef::from(job), JobState::Succeeded, None, now).await? else {
        return Ok(None);
    };
    let side = |side: u32| i32::try_from(side).ok();
    let rows = delivered.iter().zip(0_i32..).map(|(output, position)| outputs::ActiveModel {
        id: Set(OutputId::generate()),
        job_id: Set(job.id),
        workspace_id: Set(job.workspace_id),
        position: Set(position),
        key: Set(output.key.clone()),
        content_type: Set(output.content_type.clone()),
        bytes: Set(i64::try_from(output.bytes).unwrap_or(i64::MAX)),
        sha256: Set(output.sha256.clone()),
        width: Set(output.width.and_then(side)),
        height: Set(output.height.and_then(side)),
        duration_ms: Set(output.duration.and_then(|d| i64::try_from(d.as_millis()).ok())),
        thumbnail_type: Set(output.thumbnail.as_ref().map(|small| small.content_type.clone())),
        thumbnail_bytes: Set(output.thumbnail.as_ref().and_then(|t| i64::try_from(t.bytes).ok())),
        thumbnail_width: Set(output.thumbnail.as_ref().and_then(|t| side(t.width))),
        thumbnail_height: Set(output.thumbnail.as_ref().and_then(|t| side(t.height))),
        created_at: Set(now),
        deleted_at: Set(None),
    });
    outputs::Entity::insert_many(rows).exec_without_returning(db).await?;
    finish_attempt(db, attempt_id, AttemptOutcome::Succeeded, now).await?;
    let asked = Ord::max(u32::try_from(job.outputs_expected).unwrap_or(1), 1);
    let came = Ord::min(u32::try_from(delivered.len()).unwrap_or(u32::MAX), asked);
    close_hold(db, &done, Some((came, asked)), now).await.map(Some)
}

/// Any live state -> failed or canceled: releases everything. `None`: someone else was first.
///
/// # Errors
/// When the database fails.
pub async fn end(
    db: &impl ConnectionTrait,
    job: &JobRef,
    attempt: Option<(AttemptId, AttemptOutcome)>,
    ending: &Ending,
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    let (to, failure) = match ending {
        Ending::Failed(failure) => (JobState::Failed, Some(failure)),
        Ending::Canceled => (JobState::Canceled, None),
    };
    let Some(done) = finish(db, job, to, failure, now).await? else { return Ok(None) };
    if let Some((attempt_id, outcome)) = attempt {
        finish_attempt(db, attempt_id, outcome, now).await?;
        if outcome.may_have_cost() {
            note_possible_cost(db, &done, attempt_id).await?;
        }
    }
    close_hold(db, &done, None, now).await.map(Some)
}

/// Records what a call used, as far as the provider says. Also for a result that came after the
/// job's end: the rest of it is discarded, what it cost is not.
///
/// # Errors
/// When the database fails.
pub async fn note_usage(
    db: &impl ConnectionTrait,
    attempt_id: AttemptId,
    usage: Usage,
) -> Result<(), DbErr> {
    if usage == Usage::UNKNOWN {
        return Ok(());
    }
    let known = |value: Option<i64>| value.map_or(sea_orm::NotSet, |value| Set(Some(value)));
    attempts::Entity::update_many()
        .set(attempts::ActiveModel {
            cost_usd_micros: known(usage.cost_usd_micros),
            billed_units_micros: known(usage.billed_units_micros),
            // What is known takes the place of what was possible.
            possible_cost_usd_micros: usage.cost_usd_micros.map_or(sea_orm::NotSet, |_| Set(None)),
            ..Default::default()
        })
        .filter(attempts::Column::Id.eq(attempt_id))
        .exec(db)
        .await?;
    Ok(())
}

async fn finish(
    db: &impl ConnectionTrait,
    job: &JobRef,
    to: JobState,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Result<Option<jobs::Model>, DbErr> {
    let ended = jobs::ActiveModel {
        finished_at: Set(Some(now)),
        lease_until: Set(None),
        next_poll_at: Set(None),
        uncertain_until: Set(None),
        progress: if to == JobState::Succeeded { Set(Some(1.0)) } else { sea_orm::NotSet },
        error_code: Set(failure.map(|failure| failure.code.to_owned())),
        error_detail: Set(failure.map(|failure| failure.detail.clone())),
        ..Default::default()
    };
    change(db, job, to, Shows::Yes, ended).await
}

/// Closes the hold: captures the share that was delivered (`None`: nothing), releases the rest.
async fn close_hold(
    db: &impl ConnectionTrait,
    job: &jobs::Model,
    share: Option<(u32, u32)>,
    now: Timestamp,
) -> Result<Effects, DbErr> {
    let custom = |what: &str| DbErr::Custom(format!("{}: {what}", job.id));
    let hold = holds::Entity::find_by_id(job.id).one(db).await?;
    let amount = hold.ok_or_else(|| custom("has no hold"))?.amount;
    let captured = match share {
        None => Credits::ZERO,
        // What is delivered is never free, however small its share.
        Some((part, whole)) => Ord::max(
            amount.share(part, whole).map_err(|_| custom("its share is out of range"))?,
            Credits(1),
        ),
    };
    let released = amount.minus(captured).map_err(|_| custom("its hold is out of range"))?;
    let closed = holds::Entity::update_many()
        .set(holds::ActiveModel {
            captured: Set(captured),
            released: Set(released),
            closed_at: Set(Some(now)),
            ..Default::default()
        })
        .filter(holds::Column::JobId.eq(job.id))
        .filter(holds::Column::ClosedAt.is_null())
        .exec(db)
        .await?;
    if closed.rows_affected != 1 {
        return Err(custom("its hold is closed already"));
    }
    let mut effects = shown(job);
    effects.dispatch.insert(job.pool.clone());
    effects.finished.push(JobEnd { model: job.model.clone(), status: job.state.public() });
    let mut postings = Vec::new();
    let moves = [
        (EntryKind::Capture, Verb::Capture, captured),
        (EntryKind::Release, Verb::Release, released),
    ];
    for (kind, verb, amount) in moves {
        if amount > Credits::ZERO {
            let workspace_id = job.workspace_id;
            postings.push(post::Posting {
                workspace_id,
                kind,
                reference: job.id.0,
                amount,
                at: now,
            });
            effects.credits.push((verb, amount));
        }
    }
    post::write(db, &postings).await?;
    wallets::Entity::update_many()
        .col_expr(wallets::Column::Held, Expr::col(wallets::Column::Held).sub(amount.0))
        .col_expr(wallets::Column::Available, Expr::col(wallets::Column::Available).add(released.0))
        .filter(wallets::Column::WorkspaceId.eq(job.workspace_id))
        .exec(db)
        .await?;
    if let Some(key) = job.api_key_id.filter(|_| released > Credits::ZERO) {
        spending::give_back(db, key, job.created_at, released).await?;
    }
    if job.dispatched_at.is_some() {
        free_slot(db, job.workspace_id).await?;
    }
    Ok(effects)
}

/// Gives a dispatched job's slot back to its workspace.
pub(crate) async fn free_slot(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
) -> Result<(), DbErr> {
    workspaces::Entity::update_many()
        .col_expr(workspaces::Column::Dispatched, Expr::col(workspaces::Column::Dispatched).sub(1))
        .filter(workspaces::Column::Id.eq(workspace_id))
        .exec(db)
        .await?;
    Ok(())
}

/// Writes how an attempt ended, unless that is known already.
pub(crate) async fn finish_attempt(
    db: &impl ConnectionTrait,
    attempt_id: AttemptId,
    outcome: AttemptOutcome,
    now: Timestamp,
) -> Result<(), DbErr> {
    attempts::Entity::update_many()
        .set(attempts::ActiveModel {
            outcome: Set(outcome),
            finished_at: Set(Some(now)),
            ..Default::default()
        })
        .filter(attempts::Column::Id.eq(attempt_id))
        .exec(db)
        .await?;
    Ok(())
}
