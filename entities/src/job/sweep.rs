//! Pushing again what was pushed but not claimed: the hint may have been lost.

use sea_orm::{ConnectionTrait, DbErr};

use super::policy;
use crate::{Effects, JobHint, Timestamp, db::sql};

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
    let text = format!(
        "UPDATE jobs SET pushed_at = $1, pushes = pushes + 1 WHERE id IN (\
           SELECT id FROM jobs WHERE state = 'queued' AND dispatched_at IS NOT NULL AND ({}) \
           ORDER BY pushed_at LIMIT {LIMIT}) \
         AND state = 'queued' AND dispatched_at IS NOT NULL RETURNING pool, id, epoch",
        due.join(" OR "),
    );
    let rows = db.query_all_raw(sql(db, text, [now.0.into()])).await?;
    let pushes = rows
        .iter()
        .map(|row| {
            let hint = JobHint { job_id: row.try_get("", "id")?, epoch: row.try_get("", "epoch")? };
            Ok((row.try_get("", "pool")?, hint))
        })
        .collect::<Result<_, DbErr>>()?;
    Ok(Effects { pushes, ..Effects::default() })
}
