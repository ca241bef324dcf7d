//! A person's data, read in pages, so that an account of any size fits into little memory. Every
//! query takes the person's or the workspace's id.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use crate::{
    Timestamp,
    db::sql,
    ids::{ApiKeyId, EntryId, JobId, UploadId, UserId, WorkspaceId},
    tables::{
        api_keys, attempts, entry_notes, holds, identities, jobs, ledger_entries, outputs,
        sessions, uploads, users, wallets, workspaces,
    },
};

/// Who a person is, with what they have few of.
#[derive(Debug, Clone)]
pub struct AccountData {
    /// The person.
    pub user: users::Model,
    /// Their personal workspace.
    pub workspace: workspaces::Model,
    /// Its balances.
    pub wallet: wallets::Model,
    /// Their keys, without secrets.
    pub keys: Vec<api_keys::Model>,
}

/// A job with all that is known of it.
#[derive(Debug, Clone)]
pub struct JobData {
    /// The job.
    pub job: jobs::Model,
    /// Its credits.
    pub hold: Option<holds::Model>,
    /// Its calls, first to last.
    pub attempts: Vec<attempts::Model>,
    /// Its files, in order, deleted ones too.
    pub outputs: Vec<outputs::Model>,
}

/// The person; `None` if there is none, or none any more.
///
/// # Errors
/// When the database fails.
pub async fn account(
    db: &impl ConnectionTrait,
    user_id: UserId,
) -> Result<Option<AccountData>, DbErr> {
    let Some(user) = users::Entity::find_by_id(user_id).one(db).await? else { return Ok(None) };
    let workspace = workspaces::Entity::find()
        .filter(workspaces::Column::OwnerId.eq(user_id))
        .one(db)
        .await?
        .ok_or_else(|| DbErr::Custom(format!("{user_id} has no workspace")))?;
    let wallet = wallets::Entity::find_by_id(workspace.id)
        .one(db)
        .await?
        .ok_or_else(|| DbErr::Custom(format!("{} has no wallet", workspace.id)))?;
    let keys = api_keys::Entity::find()
        .filter(api_keys::Column::UserId.eq(user_id))
        .order_by_asc(api_keys::Column::Id)
        .all(db)
        .await?;
    Ok(Some(AccountData { user, workspace, wallet, keys }))
}

/// How a person signs in, and where they are signed in.
#[derive(Debug, Clone)]
pub struct WaysIn {
    /// Other services that know them.
    pub identities: Vec<identities::Model>,
    /// Their sessions.
    pub sessions: Vec<sessions::Model>,
}

/// How the person signs in.
///
/// # Errors
/// When the database fails.
pub async fn ways_in(db: &impl ConnectionTrait, user_id: UserId) -> Result<WaysIn, DbErr> {
    let known = identities::Entity::find().filter(identities::Column::UserId.eq(user_id));
    let open = sessions::Entity::find().filter(sessions::Column::UserId.eq(user_id));
    Ok(WaysIn {
        identities: known.order_by_asc(identities::Column::Id).all(db).await?,
        sessions: open.order_by_asc(sessions::Column::Id).all(db).await?,
    })
}

/// How much there is of what a person has many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Keys that work.
    pub api_keys: u64,
    /// Open sessions.
    pub sessions: u64,
    /// Jobs that were not deleted.
    pub jobs: u64,
    /// Files of jobs.
    pub files: u64,
    /// Their size.
    pub file_bytes: i64,
    /// Uploads.
    pub uploads: u64,
    /// Entries of the ledger.
    pub ledger_entries: u64,
    /// Exports.
    pub exports: u64,
}

/// Counts.
///
/// # Errors
/// When the database fails.
pub async fn counts(
    db: &impl ConnectionTrait,
    user_id: UserId,
    workspace_id: WorkspaceId,
) -> Result<Counts, DbErr> {
    let text = "SELECT \
        (SELECT count(*) FROM api_keys WHERE user_id = $1 AND revoked_at IS NULL) AS api_keys, \
        (SELECT count(*) FROM sessions WHERE user_id = $1) AS sessions, \
        (SELECT count(*) FROM jobs WHERE workspace_id = $2 AND deleted_at IS NULL) AS jobs, \
        (SELECT count(*) FROM outputs WHERE workspace_id = $2 AND deleted_at IS NULL) AS files, \
        (SELECT CAST(coalesce(sum(bytes), 0) AS bigint) FROM outputs \
         WHERE workspace_id = $2 AND deleted_at IS NULL) AS file_bytes, \
        (SELECT count(*) FROM uploads WHERE workspace_id = $2 AND stored_at IS NOT NULL \
         AND deleted_at IS NULL) AS uploads, \
        (SELECT count(*) FROM ledger_entries WHERE workspace_id = $2) AS ledger_entries, \
        (SELECT count(*) FROM exports WHERE user_id = $1) AS exports";
    let values = [user_id.0.into(), workspace_id.0.into()];
    let row = db.query_one_raw(sql(db, text, values)).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("counts".into()))?;
    let number =
        |name: &str| row.try_get::<i64>("", name).map(|number| u64::try_from(number).unwrap_or(0));
    Ok(Counts {
        api_keys: number("api_keys")?,
        sessions: number("sessions")?,
        jobs: number("jobs")?,
        files: number("files")?,
        file_bytes: row.try_get("", "file_bytes")?,
        uploads: number("uploads")?,
        ledger_entries: number("ledger_entries")?,
        exports: number("exports")?,
    })
}

/// Jobs of the workspace after `after`, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn jobs_page(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    after: Option<JobId>,
    limit: u64,
) -> Result<Vec<JobData>, DbErr> {
    let mut query = jobs::Entity::find()
        .filter(jobs::Column::WorkspaceId.eq(workspace_id))
        .order_by_asc(jobs::Column::Id)
        .limit(limit);
    if let Some(after) = after {
        query = query.filter(jobs::Column::Id.gt(after));
    }
    let page = query.all(db).await?;
    let ids: Vec<JobId> = page.iter().map(|job| job.id).collect();
    let holds = holds::Entity::find()
        .filter(holds::Column::JobId.is_in(ids.iter().copied()))
        .all(db)
        .await?;
    let mut holds: HashMap<JobId, holds::Model> =
        holds.into_iter().map(|hold| (hold.job_id, hold)).collect();
    let mut calls: HashMap<JobId, Vec<attempts::Model>> = HashMap::new();
    let rows = attempts::Entity::find()
        .filter(attempts::Column::JobId.is_in(ids.iter().copied()))
        .order_by_asc(attempts::Column::Number)
        .all(db)
        .await?;
    for call in rows {
        calls.entry(call.job_id).or_default().push(call);
    }
    let mut files: HashMap<JobId, Vec<outputs::Model>> = HashMap::new();
    let rows = outputs::Entity::find()
        .filter(outputs::Column::JobId.is_in(ids))
        .order_by_asc(outputs::Column::Position)
        .all(db)
        .await?;
    for file in rows {
        files.entry(file.job_id).or_default().push(file);
    }
    let complete = |job: jobs::Model| JobData {
        hold: holds.remove(&job.id),
        attempts: calls.remove(&job.id).unwrap_or_default(),
        outputs: files.remove(&job.id).unwrap_or_default(),
        job,
    };
    Ok(page.into_iter().map(complete).collect())
}

/// Entries of the workspace's ledger after `after`, oldest first, each with its words.
///
/// # Errors
/// When the database fails.
pub async fn ledger_page(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    after: Option<EntryId>,
    limit: u64,
) -> Result<Vec<(ledger_entries::Model, Option<String>)>, DbErr> {
    let mut query = ledger_entries::Entity::find()
        .filter(ledger_entries::Column::WorkspaceId.eq(workspace_id))
        .order_by_asc(ledger_entries::Column::Id)
        .limit(limit);
    if let Some(after) = after {
        query = query.filter(ledger_entries::Column::Id.gt(after));
    }
    let entries = query.all(db).await?;
    let notes = entry_notes::Entity::find()
        .filter(entry_notes::Column::EntryId.is_in(entries.iter().map(|entry| entry.id)))
        .all(db)
        .await?;
    let mut notes: HashMap<EntryId, String> =
        notes.into_iter().map(|note| (note.entry_id, note.note)).collect();
    let with_note = |entry: ledger_entries::Model| {
        let note = notes.remove(&entry.id);
        (entry, note)
    };
    Ok(entries.into_iter().map(with_note).collect())
}

/// A row of the usage log.
#[derive(Debug, Clone, serde::Serialize)]
pub struct UsageLine {
    /// When.
    pub at: Timestamp,
    /// The request's method.
    pub method: String,
    /// The route's pattern.
    pub route: String,
    /// The answer's status.
    pub status: i32,
    /// The type of browser.
    pub browser: String,
    /// The client's address.
    pub address: String,
    /// The key.
    pub api_key: Option<ApiKeyId>,
    /// The model.
    pub model: Option<String>,
}

/// The workspace's rows of the usage log after `after`, oldest first. Rows of one moment are never
/// parted: they have no other order.
///
/// # Errors
/// When the database fails.
pub async fn usage_page(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    after: Option<Timestamp>,
    limit: u64,
) -> Result<Vec<UsageLine>, DbErr> {
    let text = "SELECT at, method, route, status, browser, address, key_id, model FROM usage_log \
                WHERE workspace_id = $1 AND at > $2 AND at <= (SELECT max(at) FROM \
                  (SELECT at FROM usage_log WHERE workspace_id = $1 AND at > $2 \
                   ORDER BY at LIMIT $3) AS next) ORDER BY at";
    let after = after.map_or(i64::MIN, |after| after.0);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = [workspace_id.0.into(), after.into(), limit.into()];
    let rows = db.query_all_raw(sql(db, text, values)).await?;
    rows.iter()
        .map(|row| {
            Ok(UsageLine {
                at: row.try_get("", "at")?,
                method: row.try_get("", "method")?,
                route: row.try_get("", "route")?,
                status: row.try_get("", "status")?,
                browser: row.try_get("", "browser")?,
                address: row.try_get("", "address")?,
                api_key: row.try_get("", "key_id")?,
                model: row.try_get("", "model")?,
            })
        })
        .collect()
}

/// Uploads of the workspace after `after`, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn uploads_page(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    after: Option<UploadId>,
    limit: u64,
) -> Result<Vec<uploads::Model>, DbErr> {
    let mut query = uploads::Entity::find()
        .filter(uploads::Column::WorkspaceId.eq(workspace_id))
        .filter(uploads::Column::StoredAt.is_not_null())
        .filter(uploads::Column::DeletedAt.is_null())
        .order_by_asc(uploads::Column::Id)
        .limit(limit);
    if let Some(after) = after {
        query = query.filter(uploads::Column::Id.gt(after));
    }
    query.all(db).await
}
