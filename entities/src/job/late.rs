//! A provider's answer that came after the lease was lost. It is true all the same, and perhaps
//! nobody else will ever hear it.

use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};

use super::{Acceptance, JobRef, JobState, bound, rescue::newest_attempt};
use crate::{
    Effects, Timestamp,
    ids::JobId,
    tables::{attempts, jobs},
};

/// How often a late answer tries again when the job changes under its hands.
const TRIES: usize = 20;

/// The provider's answer came after the lease was lost. A job that became uncertain meanwhile runs
/// after all; on one that has ended, only the attempt remembers that the provider took it. `None`:
/// nothing changed that a user can see.
///
/// # Errors
/// When the database fails.
pub async fn accepted_late(
    db: &impl ConnectionTrait,
    job_id: JobId,
    acceptance: &Acceptance,
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    for _ in 0..TRIES {
        let Some(job) = jobs::Entity::find_by_id(job_id).one(db).await? else { return Ok(None) };
        let newest = newest_attempt(db, job_id).await?;
        if job.state != JobState::Uncertain || newest != Some(acceptance.attempt_id) {
            if job.state.is_terminal() {
                note_acceptance(db, acceptance, now).await?;
            }
            return Ok(None);
        }
        let effects = bound(db, &JobRef::from(&job), acceptance, now).await?;
        if effects.is_some() {
            return Ok(effects);
        }
    }
    Err(DbErr::Custom(format!("{job_id} kept changing while its provider's answer was noted")))
}

async fn note_acceptance(
    db: &impl ConnectionTrait,
    acceptance: &Acceptance,
    now: Timestamp,
) -> Result<(), DbErr> {
    attempts::Entity::update_many()
        .set(attempts::ActiveModel {
            request_id: Set(Some(acceptance.request_id.clone())),
            accepted_at: Set(Some(now)),
            ..Default::default()
        })
        .filter(attempts::Column::Id.eq(acceptance.attempt_id))
        .filter(attempts::Column::RequestId.is_null())
        .exec(db)
        .await?;
    Ok(())
}
