//! The usage log's days. On Postgres each day is a partition of its own, made ahead by the
//! scheduler, and on demand by whoever writes the first row of a day; rows of a day that has none
//! are kept in `usage_log_rest`. SQLite has one table.

use chrono::{DateTime, NaiveDate, Utc};
use sea_orm::{ConnectionTrait, DatabaseBackend, DbErr};

use crate::{Db, Timestamp, db::sql};

const MICROS: i64 = 86_400_000_000;

/// What a partition's name begins with; the date follows.
const PREFIX: &str = "usage_log_";

/// The partition of days without one.
pub(super) const REST: &str = "usage_log_rest";

/// One making of partitions at a time in the whole cluster: any number that no other lock has.
const LOCK: i64 = 0x7474_7573_6167_6501;

/// A day in UTC, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Day(pub(super) i64);

impl Day {
    pub(super) fn of(at: Timestamp) -> Self {
        Self(at.0.div_euclid(MICROS))
    }

    pub(super) fn start(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(MICROS))
    }

    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    pub(super) fn date(self) -> NaiveDate {
        DateTime::<Utc>::from(self.start()).date_naive()
    }

    /// The day's partition.
    fn table(self) -> String {
        format!("{PREFIX}{}", self.date().format("%Y%m%d"))
    }

    fn of_table(name: &str) -> Option<Self> {
        let date = NaiveDate::parse_from_str(name.strip_prefix(PREFIX)?, "%Y%m%d").ok()?;
        Some(Self::of(date.and_hms_opt(0, 0, 0)?.and_utc().into()))
    }
}

/// Makes the partitions of the day that the time is in and of the `ahead` days after it.
///
/// # Errors
/// When the database fails, or a day has rows among the rest already.
pub async fn make_days(db: &Db, from: Timestamp, ahead: u16) -> Result<(), DbErr> {
    if db.backend() != DatabaseBackend::Postgres {
        return Ok(());
    }
    let mut day = Day::of(from);
    let there = partitions(db).await?;
    for _ in 0..=ahead {
        if !there.iter().any(|(there, _)| *there == day) {
            make_day(db, day).await?;
        }
        day = day.next();
    }
    Ok(())
}

/// Makes one day's partition unless it is there.
pub(super) async fn make_day(db: &Db, day: Day) -> Result<(), DbErr> {
    let (table, from, to) = (day.table(), day.start().0, day.next().start().0);
    let tx = db.begin().await?;
    // Nobody waits behind this for long: the rest can take the rows.
    tx.execute_unprepared("SET LOCAL lock_timeout = '2s'").await?;
    tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({LOCK})")).await?;
    let text = format!(
        "CREATE TABLE IF NOT EXISTS {table} PARTITION OF usage_log FOR VALUES FROM ({from}) TO ({to})"
    );
    tx.execute_unprepared(&text).await?;
    tx.commit().await
}

/// The days that have a partition, with its name.
async fn partitions(db: &Db) -> Result<Vec<(Day, String)>, DbErr> {
    let text = "SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
        WHERE i.inhparent = 'usage_log'::regclass";
    let rows = db.read().query_all_raw(sql(db.read(), text, [])).await?;
    let names: Vec<String> =
        rows.iter().map(|row| row.try_get("", "name")).collect::<Result<_, _>>()?;
    Ok(names.into_iter().filter_map(|name| Some((Day::of_table(&name)?, name))).collect())
}

/// Drops the partitions of the days before `end`; how many rows they had.
pub(super) async fn drop_days(db: &Db, end: Day) -> Result<u64, DbErr> {
    let mut rows = 0;
    for (day, table) in partitions(db).await? {
        if day >= end {
            continue;
        }
        let count = format!("SELECT count(*) AS n FROM {table}");
        let row = db.read().query_one_raw(sql(db.read(), count, [])).await?;
        let count: i64 = row.map_or(Ok(0), |row| row.try_get("", "n"))?;
        let tx = db.begin().await?;
        // Dropping locks the whole log for a moment: it must not queue up behind a long read.
        tx.execute_unprepared("SET LOCAL lock_timeout = '2s'").await?;
        tx.execute_unprepared(&format!("DROP TABLE {table}")).await?;
        tx.commit().await?;
        rows += u64::try_from(count).unwrap_or(0);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_a_table_of_its_name() {
        let at = serde_json::from_value::<Timestamp>("2026-11-26T23:59:59Z".into()).unwrap();
        let day = Day::of(at);
        assert_eq!(day.table(), "usage_log_20261126");
        assert_eq!(Day::of_table("usage_log_20261126"), Some(day));
        assert_eq!(Day::of_table(REST), None);
        assert!(day.start() <= at && at < day.next().start());
    }
}
