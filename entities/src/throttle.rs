//! How soon something may be tried again: GCRA, one number for each key, in one statement, so that
//! all gateways together keep a limit.
//!
//! Stored: `throttles`. A key is a keyed hash of who tries what; nobody can read it back. A row
//! that limits nothing any more is deleted.

use std::time::Duration;

use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};

use crate::{Timestamp, db, tables::throttles};

/// So many at once, and one more after each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// One more after so long.
    pub every: Duration,
}

/// Counts a try. `Some`: it is one too many, was not counted, and may come again after this time.
///
/// # Errors
/// When the database fails.
pub async fn take(
    db: &impl ConnectionTrait,
    key: &[u8],
    rate: Rate,
    now: Timestamp,
) -> Result<Option<Duration>, DbErr> {
    let room = rate.every * rate.burst.saturating_sub(1);
    let (next, latest) = (now.after(rate.every), now.after(room));
    let every = next.0.saturating_sub(now.0);
    let text = "INSERT INTO throttles (key, free_at) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE \
                SET free_at = CASE WHEN throttles.free_at > $3 THEN throttles.free_at ELSE $3 END + $4 \
                WHERE throttles.free_at <= $5";
    let values = [key.to_vec().into(), next.0.into(), now.0.into(), every.into(), latest.0.into()];
    if db.execute_raw(db::sql(db, text, values)).await?.rows_affected() > 0 {
        return Ok(None);
    }
    let row = throttles::Entity::find_by_id(key.to_vec()).one(db).await?;
    let wait = row.map_or(Duration::ZERO, |row| row.free_at.since(latest));
    Ok(Some(wait.max(Duration::from_secs(1))))
}

/// Forgets what was counted for a key.
///
/// # Errors
/// When the database fails.
pub async fn forget(db: &impl ConnectionTrait, key: &[u8]) -> Result<(), DbErr> {
    throttles::Entity::delete_by_id(key.to_vec()).exec(db).await?;
    Ok(())
}

/// Deletes what limits nothing any more.
///
/// # Errors
/// When the database fails.
pub async fn delete_old(db: &impl ConnectionTrait, now: Timestamp) -> Result<u64, DbErr> {
    let done = throttles::Entity::delete_many()
        .filter(throttles::Column::FreeAt.lte(now))
        .exec(db)
        .await?;
    Ok(done.rows_affected)
}
