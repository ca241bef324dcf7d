//! Pushing again what was pushed but not claimed: the hint may have been lost.

use sea_orm::{ConnectionTrait, DbErr};

use super::policy;
use crate::{
    Effects, JobHint, Timestamp,
    db::{skip_locked, sql},
};

/// The most hints pushed again at once.
const LIMIT: usize = 1_000;

/// Pushes the hints of dispatched, unclaimed jobs again: 5 s after the last push, doubling to 60.
///
/// # Errors
/// When the database fails.
pub async fn sweep(db: &impl ConnectionTrait, now: Timestamp) -> Result<Effects, DbErr> {
    let due: Vec<String> = (1..=5)
        .map(|pushes| {
            let before = now.before(policy::push_again_after(pushes)).0;
            let these =
                if pushes < 5 { format!("pushes = {pushes}") } else { "pushes >= 5".into() };
            format!("({these} AND pushed_at <= {before})")
        })
        .collect();
    push(db, &due.join(" OR "), "pushes + 1", now).await
}

/// Pushes the hints of dispatched, unclaimed jobs again that were last pushed before `lost`, when
/// hints may have been lost all at once. No more than 1,000 at a time.
///
/// # Errors
/// When the database fails.
pub async fn push_again(
    db: &impl ConnectionTrait,
    lost: Timestamp,
    now: Timestamp,
) -> Result<Effects, DbErr> {
    push(db, &format!("pushed_at < {}", lost.0), "1", now).await
}

async fn push(
    db: &impl ConnectionTrait,
    due: &str,
    pushes: &str,
    now: Timestamp,
) -> Result<Effects, DbErr> {
    let text = format!(
        "UPDATE jobs SET pushed_at = $1, pushes = {pushes} WHERE id IN (\
           SELECT id FROM jobs WHERE state = 'queued' AND dispatched_at IS NOT NULL AND ({due}) \
           ORDER BY pushed_at LIMIT {LIMIT}{lock}) \
         AND state = 'queued' AND dispatched_at IS NOT NULL RETURNING pool, id, epoch, dispatched_at",
        // What somebody is changing needs no push, and waiting for it could be waiting for each other.
        lock = skip_locked(db.get_database_backend()),
    );
    let rows = db.query_all_raw(sql(db, text, [now.0.into()])).await?;
    let mut pushes = rows
        .iter()
        .map(|row| {
            let hint = JobHint { job_id: row.try_get("", "id")?, epoch: row.try_get("", "epoch")? };
            let since: Timestamp = row.try_get("", "dispatched_at")?;
            Ok((since, (row.try_get("", "pool")?, hint)))
        })
        .collect::<Result<Vec<(Timestamp, (String, JobHint))>, DbErr>>()?;
    // The database answers in any order; who was dispatched first goes first.
    pushes.sort_by_key(|(since, (_, hint))| (*since, hint.job_id));
    let pushes = pushes.into_iter().map(|(_, push)| push).collect();
    Ok(Effects { pushes, ..Effects::default() })
}
