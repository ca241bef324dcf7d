//! What users read of their jobs. Every query takes the workspace's id.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use super::{
    JobState, PublicStatus,
    pace::{Pace, Start},
};
use crate::{
    Db, Timestamp,
    db::sql,
    ids::{JobId, WorkspaceId},
    pools,
    tables::{attempts, holds, jobs, outputs},
};

/// A job with all that its user sees of it.
#[derive(Debug, Clone)]
pub struct JobView {
    /// The job.
    pub job: jobs::Model,
    /// Its credits.
    pub hold: holds::Model,
    /// Its calls, first to last.
    pub attempts: Vec<attempts::Model>,
    /// Its files, in order, without deleted ones.
    pub outputs: Vec<outputs::Model>,
    /// Its place, while it is queued.
    pub queue: Option<QueuePlace>,
}

impl JobView {
    /// Whether its parts are of different moments: the job ended, or its content was erased, while
    /// they were read one after the other. Then they are read again, from one snapshot; always to
    /// read from one would cost every reader three more round trips.
    fn is_torn(&self) -> bool {
        let closed = self.hold.closed_at.is_some();
        torn(self.job.state, self.job.erased_at.is_some(), closed, !self.outputs.is_empty())
    }
}

fn torn(state: JobState, erased: bool, hold_closed: bool, has_files: bool) -> bool {
    hold_closed != state.is_terminal() || has_files != (state == JobState::Succeeded && !erased)
}

/// A queued job's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePlace {
    /// How many jobs of its pool go before it, plus 1.
    pub position: u64,
    /// When it may start, judged by the pool's last starts; unknown while nobody works there.
    pub eta_seconds: Option<u64>,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Only these.
    pub status: Option<PublicStatus>,
    /// Only of this model.
    pub model: Option<String>,
    /// Only those older than this one.
    pub after: Option<JobId>,
    /// At most this many.
    pub limit: u64,
}

/// The workspace's job, not deleted.
pub(crate) async fn find(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    job_id: JobId,
) -> Result<Option<jobs::Model>, DbErr> {
    jobs::Entity::find_by_id(job_id)
        .filter(jobs::Column::WorkspaceId.eq(workspace_id))
        .filter(jobs::Column::DeletedAt.is_null())
        .one(db)
        .await
}

/// The workspace's job.
///
/// # Errors
/// When the database fails.
pub async fn get(
    db: &Db,
    workspace_id: WorkspaceId,
    job_id: JobId,
) -> Result<Option<JobView>, DbErr> {
    let view = get_from(db.read(), workspace_id, job_id).await?;
    if !view.iter().any(JobView::is_torn) {
        return Ok(view);
    }
    let snapshot = db.begin_snapshot().await?;
    let view = get_from(&snapshot, workspace_id, job_id).await?;
    snapshot.commit().await?;
    Ok(view)
}

async fn get_from(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    job_id: JobId,
) -> Result<Option<JobView>, DbErr> {
    let Some(job) = find(db, workspace_id, job_id).await? else { return Ok(None) };
    Ok(complete(db, vec![job]).await?.into_iter().next())
}

/// The workspace's jobs, newest first; one more than `limit` if there are more.
///
/// # Errors
/// When the database fails.
pub async fn list(
    db: &Db,
    workspace_id: WorkspaceId,
    filter: &ListFilter,
) -> Result<Vec<JobView>, DbErr> {
    let views = list_from(db.read(), workspace_id, filter).await?;
    if !views.iter().any(JobView::is_torn) {
        return Ok(views);
    }
    let snapshot = db.begin_snapshot().await?;
    let views = list_from(&snapshot, workspace_id, filter).await?;
    snapshot.commit().await?;
    Ok(views)
}

async fn list_from(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    filter: &ListFilter,
) -> Result<Vec<JobView>, DbErr> {
    let mut query = jobs::Entity::find()
        .filter(jobs::Column::WorkspaceId.eq(workspace_id))
        .filter(jobs::Column::DeletedAt.is_null())
        .order_by_desc(jobs::Column::Id)
        .limit(filter.limit.saturating_add(1));
    if let Some(status) = filter.status {
        query = query.filter(jobs::Column::State.is_in(status.states()));
    }
    if let Some(model) = &filter.model {
        query = query.filter(jobs::Column::Model.eq(model.as_str()));
    }
    if let Some(after) = filter.after {
        query = query.filter(jobs::Column::Id.lt(after));
    }
    complete(db, query.all(db).await?).await
}

/// The versions of these jobs, for those who wait for a change.
///
/// # Errors
/// When the database fails.
pub async fn versions(db: &Db, ids: &[JobId]) -> Result<Vec<(JobId, i64)>, DbErr> {
    let mut found = Vec::with_capacity(ids.len());
    for some in ids.chunks(1_000) {
        let rows: Vec<(JobId, i64)> = jobs::Entity::find()
            .select_only()
            .columns([jobs::Column::Id, jobs::Column::Version])
            .filter(jobs::Column::Id.is_in(some.iter().copied()))
            .into_tuple()
            .all(db.read())
            .await?;
        found.extend(rows);
    }
    Ok(found)
}

/// Whether the files of a job are, or may become, its user's: it lives, or it has outputs that were
/// not deleted.
///
/// # Errors
/// When the database fails.
pub async fn keeps_files(db: &impl ConnectionTrait, job_id: JobId) -> Result<bool, DbErr> {
    let Some(job) = jobs::Entity::find_by_id(job_id).one(db).await? else { return Ok(false) };
    if !job.state.is_terminal() {
        return Ok(true);
    }
    let output = outputs::Entity::find()
        .filter(outputs::Column::JobId.eq(job_id))
        .filter(outputs::Column::DeletedAt.is_null())
        .one(db)
        .await?;
    Ok(output.is_some())
}

async fn complete(
    db: &impl ConnectionTrait,
    jobs: Vec<jobs::Model>,
) -> Result<Vec<JobView>, DbErr> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let mut holds: HashMap<JobId, holds::Model> = holds::Entity::find()
        .filter(holds::Column::JobId.is_in(ids.iter().copied()))
        .all(db)
        .await?
        .into_iter()
        .map(|hold| (hold.job_id, hold))
        .collect();
    let mut attempts: HashMap<JobId, Vec<attempts::Model>> = HashMap::new();
    for attempt in attempts::Entity::find()
        .filter(attempts::Column::JobId.is_in(ids.iter().copied()))
        .order_by_asc(attempts::Column::Number)
        .all(db)
        .await?
    {
        attempts.entry(attempt.job_id).or_default().push(attempt);
    }
    let mut outputs: HashMap<JobId, Vec<outputs::Model>> = HashMap::new();
    for output in outputs::Entity::find()
        .filter(outputs::Column::JobId.is_in(ids.iter().copied()))
        .filter(outputs::Column::DeletedAt.is_null())
        .order_by_asc(outputs::Column::Position)
        .all(db)
        .await?
    {
        outputs.entry(output.job_id).or_default().push(output);
    }
    let mut views = Vec::with_capacity(jobs.len());
    let mut paces: HashMap<String, Option<Pace>> = HashMap::new();
    for job in jobs {
        if job.state == JobState::Queued && !paces.contains_key(&job.pool) {
            paces.insert(job.pool.clone(), pace(db, &job.pool).await?);
        }
        let pace = paces.get(&job.pool).copied().flatten();
        let missing = || DbErr::Custom(format!("{} has no hold", job.id));
        views.push(JobView {
            hold: holds.remove(&job.id).ok_or_else(missing)?,
            attempts: attempts.remove(&job.id).unwrap_or_default(),
            outputs: outputs.remove(&job.id).unwrap_or_default(),
            queue: place(db, &job, pace).await?,
            job,
        });
    }
    Ok(views)
}

/// Where the count of those ahead stops: beyond it a place says little.
const MOST_AHEAD: i64 = 1_000;

/// Its place, from its pool's other jobs: dispatched ones go first, then its workspace's waiting ones
/// by age, and between them those of other workspaces, whose turns come as often. Where the count
/// stops, nothing is foretold.
async fn place(
    db: &impl ConnectionTrait,
    job: &jobs::Model,
    pace: Option<Pace>,
) -> Result<Option<QueuePlace>, DbErr> {
    if job.state != JobState::Queued {
        return Ok(None);
    }
    // Two counts, each along an index of its own: with one condition for both, every waiting job of
    // the pool would be read.
    let dispatched = "SELECT 1 FROM jobs WHERE pool = $1 AND state = 'queued' \
                      AND dispatched_at IS NOT NULL";
    let older = "SELECT 1 FROM jobs WHERE pool = $1 AND workspace_id = $4 AND state = 'queued' \
                 AND dispatched_at IS NULL AND ready_at <= $2 AND (ready_at < $2 OR id < $3)";
    let first = "(dispatched_at < $2 OR (dispatched_at = $2 AND id < $3))";
    let count = |of: &str| format!("(SELECT count(*) FROM ({of} LIMIT {MOST_AHEAD}) AS ahead)");
    let text = if job.dispatched_at.is_some() {
        format!(
            "SELECT {} AS n, CAST(0 AS bigint) AS own",
            count(&format!("{dispatched} AND {first}"))
        )
    } else {
        format!("SELECT {} AS n, {} AS own", count(dispatched), count(older))
    };
    let since = job.dispatched_at.unwrap_or(job.ready_at);
    let mut values = vec![job.pool.as_str().into(), since.0.into(), job.id.0.into()];
    if job.dispatched_at.is_none() {
        values.push(job.workspace_id.0.into());
    }
    let row = db.query_one_raw(sql(db, text, values)).await?;
    let (first, own): (i64, i64) = match row {
        Some(row) => (row.try_get("", "n")?, row.try_get("", "own")?),
        None => (0, 0),
    };
    let mut ahead = first + own;
    if job.dispatched_at.is_none() && ahead < MOST_AHEAD {
        ahead += others_turns(db, job, own + 1).await?;
    }
    let position = u64::try_from(ahead.min(MOST_AHEAD)).unwrap_or(0).saturating_add(1);
    let pace = pace.filter(|_| ahead < MOST_AHEAD);
    Ok(Some(QueuePlace { position, eta_seconds: pace.map(|pace| pace.eta_seconds(position)) }))
}

/// How many waiting jobs of other workspaces have their turns before the job's workspace has had so
/// many. It steps from workspace to workspace through the index, no further than the count goes.
async fn others_turns(
    db: &impl ConnectionTrait,
    job: &jobs::Model,
    turns: i64,
) -> Result<i64, DbErr> {
    let most = (MOST_AHEAD / turns + 1).max(20);
    let waiting = "FROM jobs WHERE pool = $1 AND state = 'queued' AND dispatched_at IS NULL";
    let text = format!(
        "WITH RECURSIVE w (id) AS (\
           SELECT * FROM (SELECT workspace_id {waiting} ORDER BY workspace_id LIMIT 1) AS first \
           UNION ALL \
           SELECT (SELECT workspace_id {waiting} AND workspace_id > w.id ORDER BY workspace_id LIMIT 1) \
           FROM w WHERE w.id IS NOT NULL) \
         SELECT CAST(COALESCE(sum((SELECT count(*) FROM (\
           SELECT 1 {waiting} AND workspace_id = another.id LIMIT {turns}) AS theirs)), 0) AS bigint) AS n \
         FROM (SELECT id FROM w WHERE id IS NOT NULL AND id <> $2 LIMIT {most}) AS another",
    );
    let values = [job.pool.as_str().into(), job.workspace_id.0.into()];
    let row = db.query_one_raw(sql(db, text, values)).await?;
    row.map_or(Ok(0), |row| row.try_get("", "n"))
}

/// The pace of a pool's last 50 starts. `None`: nobody works there, or nobody ever did.
async fn pace(db: &impl ConnectionTrait, pool: &str) -> Result<Option<Pace>, DbErr> {
    if pools::live_capacity(db, pool).await? == 0 {
        return Ok(None);
    }
    let starts: Vec<(Timestamp, Option<Timestamp>)> = jobs::Entity::find()
        .select_only()
        .columns([jobs::Column::ReadyAt, jobs::Column::StartedAt])
        .filter(jobs::Column::Pool.eq(pool))
        .filter(jobs::Column::StartedAt.is_not_null())
        .order_by_desc(jobs::Column::StartedAt)
        .limit(50)
        .into_tuple()
        .all(db)
        .await?;
    let starts = starts.into_iter().filter_map(|(ready, started)| {
        // Who was handed back is ready again after it had started.
        let started = started?;
        Some(Start { ready: ready.min(started), started })
    });
    Ok(Pace::of(starts.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_different_moments_do_not_fit() {
        use JobState::{Canceled, Failed, Queued, Running, Succeeded};
        for (state, erased, closed, files) in [
            (Queued, false, false, false),
            (Running, false, false, false),
            (Succeeded, false, true, true),
            (Succeeded, true, true, false),
            (Failed, false, true, false),
            (Canceled, true, true, false),
        ] {
            assert!(!torn(state, erased, closed, files), "{state:?} {erased} {closed} {files}");
        }
        // It succeeded after it was read, or was erased before its files were.
        for (state, erased, closed, files) in [
            (Running, false, true, true),
            (Running, false, false, true),
            (Queued, false, true, false),
            (Succeeded, false, true, false),
            (Succeeded, true, true, true),
        ] {
            assert!(torn(state, erased, closed, files), "{state:?} {erased} {closed} {files}");
        }
    }
}
