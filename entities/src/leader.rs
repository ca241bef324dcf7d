//! Who leads, by a lease in the database and on the database's clock.
//!
//! The epoch rises with every change of leader. A leader that was frozen finds at its next
//! renewal that the lease is gone; until then it can do no harm, because every task is a
//! conditional change that any number of schedulers may make at once.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    Timestamp,
    db::{now_sql, sql},
    ids::ProcessId,
};

/// Takes or renews the lease `name` for `span`. The answer is the epoch while `holder` leads.
///
/// # Errors
/// When the database fails.
pub async fn hold(
    db: &impl ConnectionTrait,
    name: &str,
    holder: ProcessId,
    span: Duration,
) -> Result<Option<i64>, DbErr> {
    let text = format!(
        "INSERT INTO leader_leases (name, holder, epoch, lease_until) VALUES ($1, $2, 1, {now} + $3) \
         ON CONFLICT (name) DO UPDATE SET \
           epoch = CASE WHEN leader_leases.holder = excluded.holder THEN leader_leases.epoch ELSE leader_leases.epoch + 1 END, \
           holder = excluded.holder, lease_until = excluded.lease_until \
         WHERE leader_leases.holder = excluded.holder OR leader_leases.lease_until < {now} \
         RETURNING epoch",
        now = now_sql(db.get_database_backend()),
    );
    let values = [name.into(), holder.0.into(), Timestamp(0).after(span).0.into()];
    let row = db.query_one_raw(sql(db, text, values)).await?;
    row.map(|row| row.try_get("", "epoch")).transpose()
}

/// Gives the lease back, so that another can lead at once.
///
/// # Errors
/// When the database fails.
pub async fn resign(db: &impl ConnectionTrait, name: &str, holder: ProcessId) -> Result<(), DbErr> {
    let text = "UPDATE leader_leases SET lease_until = 0 WHERE name = $1 AND holder = $2";
    db.execute_raw(sql(db, text, [name.into(), holder.0.into()])).await?;
    Ok(())
}
