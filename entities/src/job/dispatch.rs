//! Handing out slots: waiting jobs become dispatched, fairly, and are then pushed.
//!
//! One transaction: the workspaces that have waiting jobs are locked (passing over those that
//! someone else is dispatching), [`pick`] says which jobs go, and each gets a slot of its
//! workspace. A pool never has more unclaimed jobs than [`policy::pool_room`]. On Postgres the
//! number of statements does not grow with the number of workspaces.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    num::NonZeroUsize,
    time::Duration,
};

use sea_orm::{ConnectionTrait, DatabaseBackend, DatabaseTransaction, DbErr, Value};

use super::{
    order::{Candidate, pick},
    policy,
};
use crate::{
    Effects, JobHint, Timestamp,
    db::{one_of, skip_locked, sql},
    ids::{JobId, WorkspaceId},
    pools,
};

/// How often a round asks for its turn, and how many times in all.
const TRY_EVERY: Duration = Duration::from_millis(10);
const TRIES: u32 = 50;

/// How many workspaces one round looks at.
const WORKSPACES: usize = 200;

/// Dispatches what there is room for in `pool`; the first turn goes to the workspace after `last`.
/// `most`: no more jobs than this may be handed out or at the provider; without it there is no
/// such limit.
///
/// # Errors
/// When the database fails.
pub async fn dispatch(
    tx: &DatabaseTransaction,
    pool: &str,
    most: Option<NonZeroUsize>,
    last: Option<WorkspaceId>,
    now: Timestamp,
) -> Result<(Effects, Option<WorkspaceId>), DbErr> {
    let alone = one_at_a_time(tx, pool).await?;
    // A limit that is kept is worth a round that is left to the sweep.
    let room = if alone || most.is_none() { room(tx, pool, most).await? } else { 0 };
    if room == 0 {
        return Ok((Effects::default(), last));
    }
    let free: Vec<(WorkspaceId, usize)> = lock_workspaces(tx, pool, last, now).await?;
    let waiting = oldest(tx, pool, &free, room, now).await?;
    let candidates = free.into_iter().zip(waiting);
    let candidates =
        candidates.map(|((workspace_id, free), waiting)| Candidate { workspace_id, free, waiting });
    let picked = pick(candidates.collect(), room, last);
    if picked.is_empty() {
        return Ok((Effects::default(), last));
    }
    let marked = mark(tx, &picked, now).await?;
    take_slots(tx, &marked).await?;
    let pushes = marked.iter().map(|(_, hint)| (pool.to_owned(), *hint)).collect();
    let last = picked.last().map(|(workspace_id, _)| *workspace_id).or(last);
    Ok((Effects { pushes, ..Effects::default() }, last))
}

/// The pools in which a job is ready and waiting. It steps from pool to pool, and in it from
/// workspace to workspace, through the index, however many jobs each has.
///
/// # Errors
/// When the database fails.
pub async fn pools_with_waiting_jobs(
    db: &impl ConnectionTrait,
    now: Timestamp,
) -> Result<Vec<String>, DbErr> {
    let waiting = "FROM jobs WHERE state = 'queued' AND dispatched_at IS NULL";
    let text = format!(
        "WITH RECURSIVE w (pool, id) AS (\
           SELECT * FROM (SELECT pool, workspace_id {waiting} ORDER BY pool, workspace_id LIMIT 1) \
           AS first \
           UNION ALL \
           SELECT next.pool, next.workspace_id FROM w, jobs AS next WHERE next.id = (\
             SELECT id {waiting} AND (pool, workspace_id) > (w.pool, w.id) \
             ORDER BY pool, workspace_id LIMIT 1)) \
         SELECT DISTINCT pool FROM w WHERE (\
           SELECT 1 {waiting} AND pool = w.pool AND workspace_id = w.id AND ready_at <= $1 \
           LIMIT 1) = 1",
    );
    let rows = db.query_all_raw(sql(db, text, [now.0.into()])).await?;
    rows.iter().map(|row| row.try_get("", "pool")).collect()
}

/// Two rounds at once would both count the same room. SQLite has one writer anyway. Whoever holds
/// the others up for long is passed over: too many hints do less harm than none. Whether this round
/// is alone.
async fn one_at_a_time(tx: &DatabaseTransaction, pool: &str) -> Result<bool, DbErr> {
    if tx.get_database_backend() != DatabaseBackend::Postgres {
        return Ok(true);
    }
    let text = "SELECT pg_try_advisory_xact_lock(hashtextextended('dispatch ' || $1, 0)) AS mine";
    for _ in 0..TRIES {
        let row = tx.query_one_raw(sql(tx, text, [pool.into()])).await?;
        if row.map_or(Ok(false), |row| row.try_get("", "mine"))? {
            return Ok(true);
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
    Ok(false)
}

async fn room(
    tx: &DatabaseTransaction,
    pool: &str,
    most: Option<NonZeroUsize>,
) -> Result<usize, DbErr> {
    let capacity = pools::live_capacity(tx, pool).await?;
    let text = "SELECT count(*) AS n FROM jobs WHERE pool = $1 AND state = 'queued' \
                AND dispatched_at IS NOT NULL";
    let row = tx.query_one_raw(sql(tx, text, [pool.into()])).await?;
    let unclaimed: i64 = row.map_or(Ok(0), |row| row.try_get("", "n"))?;
    let mut room = policy::pool_room(capacity) - unclaimed;
    if let Some(most) = most {
        let most = i64::try_from(most.get()).unwrap_or(i64::MAX);
        room = room.min(most - unclaimed - pools::at_provider(tx, pool).await?);
    }
    Ok(usize::try_from(room).unwrap_or(0))
}

/// Workspaces with ready jobs and free slots, locked, each with its number of free slots. The
/// recursion steps from one workspace to the next through the index, however many jobs each has;
/// for the same reason a subquery with a limit asks for a ready job: EXISTS would be planned as a
/// join with all waiting jobs.
async fn lock_workspaces(
    tx: &DatabaseTransaction,
    pool: &str,
    last: Option<WorkspaceId>,
    now: Timestamp,
) -> Result<Vec<(WorkspaceId, usize)>, DbErr> {
    let waiting = "FROM jobs WHERE pool = $1 AND state = 'queued' AND dispatched_at IS NULL";
    let ids = format!(
        "WITH RECURSIVE w (id) AS (\
           SELECT * FROM (SELECT workspace_id {waiting} ORDER BY workspace_id LIMIT 1) AS first \
           UNION ALL \
           SELECT (SELECT workspace_id {waiting} AND workspace_id > w.id ORDER BY workspace_id LIMIT 1) \
           FROM w WHERE w.id IS NOT NULL) \
         SELECT s.id AS id FROM w JOIN workspaces s ON s.id = w.id \
         WHERE s.dispatched < s.dispatch_limit AND (\
           SELECT 1 {waiting} AND workspace_id = s.id AND ready_at <= $2 LIMIT 1) = 1",
    );
    let rows = tx.query_all_raw(sql(tx, ids, [pool.into(), now.0.into()])).await?;
    let mut ids: Vec<WorkspaceId> =
        rows.iter().map(|row| row.try_get("", "id")).collect::<Result<_, _>>()?;
    ids.sort();
    let start = last.map_or(0, |last| ids.partition_point(|id| *id <= last));
    let turn = start.min(ids.len());
    ids.rotate_left(turn);
    ids.truncate(WORKSPACES);
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let backend = tx.get_database_backend();
    let (these, values) = one_of(backend, "id", 1, ids.into_iter().map(|id| id.0));
    let text = format!(
        "SELECT id, dispatch_limit - dispatched AS free FROM workspaces WHERE {these} \
         AND dispatched < dispatch_limit ORDER BY id{}",
        skip_locked(backend),
    );
    let rows = tx.query_all_raw(sql(tx, text, values)).await?;
    rows.iter()
        .map(|row| {
            let free: i32 = row.try_get("", "free")?;
            Ok((row.try_get("", "id")?, usize::try_from(free).unwrap_or(0)))
        })
        .collect()
}

/// The oldest ready jobs of each workspace, as many as it has free slots and there is room for.
async fn oldest(
    tx: &DatabaseTransaction,
    pool: &str,
    free: &[(WorkspaceId, usize)],
    room: usize,
    now: Timestamp,
) -> Result<Vec<VecDeque<JobId>>, DbErr> {
    let limits = free.iter().map(|(_, free)| *free.min(&room));
    if tx.get_database_backend() != DatabaseBackend::Postgres {
        let mut waiting = Vec::with_capacity(free.len());
        for ((workspace_id, _), limit) in free.iter().zip(limits) {
            let text = format!(
                "SELECT id FROM jobs WHERE pool = $1 AND workspace_id = $2 AND state = 'queued' \
                 AND dispatched_at IS NULL AND ready_at <= $3 ORDER BY ready_at, id LIMIT {limit}",
            );
            let values = [pool.into(), workspace_id.0.into(), now.0.into()];
            let rows = tx.query_all_raw(sql(tx, text, values)).await?;
            waiting.push(rows.iter().map(|row| row.try_get("", "id")).collect::<Result<_, _>>()?);
        }
        return Ok(waiting);
    }
    // In the order of the index alone, or each workspace's jobs would all be read and sorted.
    let text = "SELECT job.id, workspace.id AS workspace_id \
        FROM unnest($1, $2) WITH ORDINALITY AS workspace (id, free, turn) CROSS JOIN LATERAL (\
          SELECT id, ready_at FROM jobs WHERE pool = $3 AND workspace_id = workspace.id \
          AND state = 'queued' AND dispatched_at IS NULL AND ready_at <= $4 \
          ORDER BY ready_at LIMIT workspace.free) AS job \
        ORDER BY workspace.turn, job.ready_at, job.id";
    let values = [
        free.iter().map(|(id, _)| id.0).collect::<Vec<_>>().into(),
        limits.map(|limit| i64::try_from(limit).unwrap_or(0)).collect::<Vec<_>>().into(),
        pool.into(),
        now.0.into(),
    ];
    let mut of: HashMap<WorkspaceId, VecDeque<JobId>> = HashMap::new();
    for row in tx.query_all_raw(sql(tx, text, values)).await? {
        of.entry(row.try_get("", "workspace_id")?).or_default().push_back(row.try_get("", "id")?);
    }
    Ok(free.iter().map(|(id, _)| of.remove(id).unwrap_or_default()).collect())
}

/// Dispatches the picked jobs, as far as they still wait; passes over those that someone else has
/// locked. The answer is in the order of their turns.
async fn mark(
    tx: &DatabaseTransaction,
    picked: &[(WorkspaceId, JobId)],
    now: Timestamp,
) -> Result<Vec<(WorkspaceId, JobHint)>, DbErr> {
    let backend = tx.get_database_backend();
    let (these, values) = one_of(backend, "id", 2, picked.iter().map(|(_, job)| job.0));
    let text = if backend == DatabaseBackend::Postgres {
        // LATERAL with a limit is planned as one look into the index for each job.
        MARK_EACH.to_owned()
    } else {
        format!(
            "UPDATE jobs SET dispatched_at = $1, pushed_at = $1, pushes = 1, epoch = epoch + 1 \
             WHERE {these} AND state = 'queued' AND dispatched_at IS NULL RETURNING id, epoch"
        )
    };
    let values = std::iter::once(now.0.into()).chain(values);
    let rows = tx.query_all_raw(sql(tx, text, values)).await?;
    let epochs: HashMap<JobId, i64> = rows
        .iter()
        .map(|row| Ok((row.try_get("", "id")?, row.try_get("", "epoch")?)))
        .collect::<Result<_, DbErr>>()?;
    // The database answers in any order; workers get them in the order of their turns.
    let hints = picked.iter().filter_map(|(workspace_id, job)| {
        Some((*workspace_id, JobHint { job_id: *job, epoch: *epochs.get(job)? }))
    });
    Ok(hints.collect())
}

const MARK_EACH: &str = "
WITH mine AS MATERIALIZED (
    SELECT job.id FROM unnest($2) AS picked (id) CROSS JOIN LATERAL (
        SELECT id FROM jobs WHERE jobs.id = picked.id AND state || '' = 'queued'
        AND dispatched_at IS NULL LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
    ) AS job
)
UPDATE jobs SET dispatched_at = $1, pushed_at = $1, pushes = 1, epoch = epoch + 1
FROM mine WHERE jobs.id = mine.id AND state || '' = 'queued' AND dispatched_at IS NULL
RETURNING jobs.id, epoch";

/// Takes a slot of its workspace, which is locked, for each job.
async fn take_slots(
    tx: &DatabaseTransaction,
    marked: &[(WorkspaceId, JobHint)],
) -> Result<(), DbErr> {
    let mut slots: BTreeMap<WorkspaceId, i32> = BTreeMap::new();
    for (workspace_id, _) in marked {
        *slots.entry(*workspace_id).or_default() += 1;
    }
    if tx.get_database_backend() == DatabaseBackend::Postgres {
        let text = "UPDATE workspaces SET dispatched = dispatched + taken.count \
            FROM unnest($1, $2) AS taken (id, count) WHERE workspaces.id = taken.id";
        let values: [Value; 2] = [
            slots.keys().map(|id| id.0).collect::<Vec<_>>().into(),
            slots.values().copied().collect::<Vec<_>>().into(),
        ];
        tx.execute_raw(sql(tx, text, values)).await?;
        return Ok(());
    }
    for (workspace_id, count) in slots {
        let text = "UPDATE workspaces SET dispatched = dispatched + $1 WHERE id = $2";
        tx.execute_raw(sql(tx, text, [count.into(), workspace_id.0.into()])).await?;
    }
    Ok(())
}
