//! Which pools are served, and by how many calls at a time: each worker process says so, again
//! and again, on the database's clock.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    Timestamp,
    db::{now_sql, sql},
    ids::ProcessId,
};

/// A process that was not heard of for this long does not count.
pub const LIVE: Duration = Duration::from_secs(30);

/// Says that the process serves `pool` with `capacity` calls at a time.
///
/// # Errors
/// When the database fails.
pub async fn announce(
    db: &impl ConnectionTrait,
    process_id: ProcessId,
    pool: &str,
    capacity: i32,
) -> Result<(), DbErr> {
    let text = format!(
        "INSERT INTO worker_pools (process_id, pool, capacity, seen_at) VALUES ($1, $2, $3, {now}) \
         ON CONFLICT (process_id, pool) DO UPDATE SET capacity = excluded.capacity, seen_at = excluded.seen_at",
        now = now_sql(db.get_database_backend()),
    );
    db.execute_raw(sql(db, text, [process_id.0.into(), pool.into(), capacity.into()])).await?;
    Ok(())
}

/// Says that the process serves nothing any more.
///
/// # Errors
/// When the database fails.
pub async fn retire(db: &impl ConnectionTrait, process_id: ProcessId) -> Result<(), DbErr> {
    let text = "DELETE FROM worker_pools WHERE process_id = $1";
    db.execute_raw(sql(db, text, [process_id.0.into()])).await?;
    Ok(())
}

/// How many calls at a time the pool's live processes make.
///
/// # Errors
/// When the database fails.
pub async fn live_capacity(db: &impl ConnectionTrait, pool: &str) -> Result<i64, DbErr> {
    let text = format!(
        "SELECT CAST(COALESCE(sum(capacity), 0) AS bigint) AS n FROM worker_pools \
         WHERE pool = $1 AND seen_at > {} - {}",
        now_sql(db.get_database_backend()),
        Timestamp(0).after(LIVE).0,
    );
    let row = db.query_one_raw(sql(db, text, [pool.into()])).await?;
    row.map_or(Ok(0), |row| row.try_get("", "n"))
}

/// How many of the pool's jobs are looked at from time to time.
///
/// # Errors
/// When the database fails.
pub async fn polled(db: &impl ConnectionTrait, pool: &str) -> Result<i64, DbErr> {
    let text = "SELECT count(*) AS n FROM jobs WHERE pool = $1 AND next_poll_at IS NOT NULL";
    count(db, text, pool).await
}

/// How many of the pool's jobs its provider has, or may have.
///
/// # Errors
/// When the database fails.
pub async fn at_provider(db: &impl ConnectionTrait, pool: &str) -> Result<i64, DbErr> {
    let text = "SELECT count(*) AS n FROM jobs WHERE pool = $1 \
                AND state IN ('submitting', 'uncertain', 'running')";
    count(db, text, pool).await
}

async fn count(db: &impl ConnectionTrait, text: &str, pool: &str) -> Result<i64, DbErr> {
    let row = db.query_one_raw(sql(db, text, [pool.into()])).await?;
    row.map_or(Ok(0), |row| row.try_get("", "n"))
}

/// Forgets processes that were not heard of for ten times [`LIVE`].
///
/// # Errors
/// When the database fails.
pub async fn forget_dead(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    let text = format!(
        "DELETE FROM worker_pools WHERE seen_at < {} - {}",
        now_sql(db.get_database_backend()),
        Timestamp(0).after(LIVE * 10).0,
    );
    db.execute_raw(sql(db, text, [])).await?;
    Ok(())
}

/// What a pool looks like now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PoolGauges {
    /// The pool.
    pub pool: String,
    /// Live capacity.
    pub capacity: i64,
    /// Dispatched, unclaimed.
    pub depth: i64,
    /// Not yet dispatched.
    pub waiting: i64,
    /// The age of the oldest queued job, in seconds.
    pub oldest_seconds: f64,
    /// Live jobs by state, without queued ones.
    pub in_flight: Vec<(String, i64)>,
}

/// Each part has an index of its own, so that finished jobs cost nothing however many are kept.
const LIVE_JOBS: &str = "
SELECT pool, state, 0 AS dispatched, count(*) AS n, min(created_at) AS oldest FROM jobs
WHERE state = 'queued' AND dispatched_at IS NULL GROUP BY pool, state
UNION ALL
SELECT pool, state, 1 AS dispatched, count(*) AS n, min(created_at) AS oldest FROM jobs
WHERE state = 'queued' AND dispatched_at IS NOT NULL GROUP BY pool, state
UNION ALL
SELECT pool, state, 1 AS dispatched, count(*) AS n, min(created_at) AS oldest FROM jobs
WHERE state IN ('submitting', 'uncertain', 'running', 'storing') GROUP BY pool, state";

/// The gauges of every pool that has live jobs or live workers.
///
/// # Errors
/// When the database fails.
pub async fn gauges(db: &impl ConnectionTrait, now: Timestamp) -> Result<Vec<PoolGauges>, DbErr> {
    let mut pools: std::collections::BTreeMap<String, PoolGauges> =
        std::collections::BTreeMap::new();
    let entry = |pools: &mut std::collections::BTreeMap<String, PoolGauges>, pool: String| {
        pools.entry(pool.clone()).or_insert_with(|| PoolGauges { pool, ..PoolGauges::default() });
    };
    let text = format!(
        "SELECT pool, CAST(sum(capacity) AS bigint) AS n FROM worker_pools WHERE seen_at > {} - {} GROUP BY pool",
        now_sql(db.get_database_backend()),
        Timestamp(0).after(LIVE).0,
    );
    for row in db.query_all_raw(sql(db, text, [])).await? {
        let pool: String = row.try_get("", "pool")?;
        entry(&mut pools, pool.clone());
        if let Some(gauges) = pools.get_mut(&pool) {
            gauges.capacity = row.try_get("", "n")?;
        }
    }
    for row in db.query_all_raw(sql(db, LIVE_JOBS, [])).await? {
        let pool: String = row.try_get("", "pool")?;
        entry(&mut pools, pool.clone());
        let Some(gauges) = pools.get_mut(&pool) else { continue };
        let state: String = row.try_get("", "state")?;
        let count: i64 = row.try_get("", "n")?;
        if state != "queued" {
            match gauges.in_flight.iter_mut().find(|(name, _)| *name == state) {
                Some((_, sum)) => *sum += count,
                None => gauges.in_flight.push((state, count)),
            }
            continue;
        }
        let dispatched: i32 = row.try_get("", "dispatched")?;
        if dispatched == 0 {
            gauges.waiting = count
        } else {
            gauges.depth = count
        }
        let oldest: Timestamp = row.try_get("", "oldest")?;
        gauges.oldest_seconds = gauges.oldest_seconds.max(now.since(oldest).as_secs_f64());
    }
    Ok(pools.into_values().collect())
}
