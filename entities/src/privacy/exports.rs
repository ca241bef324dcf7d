//! Asking for a copy of one's data, and who builds it.
//!
//! An export is built by whoever claims it, under a lease on the database's clock that is renewed
//! while files are copied. A builder that dies loses the lease, and another begins anew; one that
//! wakes up late finds a higher epoch and changes nothing. What can fail is the database.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, DeriveActiveEnum, EntityTrait, EnumIter,
    QueryFilter, QueryOrder, QuerySelect, sea_query::OnConflict,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Db, Timestamp,
    audit::{self, Action, Event, Origin},
    db::{now_sql, skip_locked, sql},
    ids::{ExportId, UserId, WorkspaceId},
    tables::exports,
};

/// How often an export is begun before it counts as failed.
const TRIES: i32 = 5;

/// Where an export stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum ExportState {
    /// Nobody has begun it.
    Queued,
    /// Somebody builds it, or did when they died.
    Building,
    /// Its file can be fetched.
    Ready,
    /// It could not be built.
    Failed,
}

/// Asks for an export. One that is on its way already is the answer: the flag says whether it is new.
///
/// # Errors
/// When the database fails.
pub async fn request_export(
    db: &impl ConnectionTrait,
    user_id: UserId,
    workspace_id: WorkspaceId,
    now: Timestamp,
    kept: Duration,
) -> Result<(exports::Model, bool), DbErr> {
    let id = ExportId::generate();
    let new = exports::ActiveModel {
        id: Set(id),
        user_id: Set(user_id),
        workspace_id: Set(workspace_id),
        state: Set(ExportState::Queued),
        epoch: Set(0),
        tries: Set(0),
        lease_until: Set(None),
        key: Set(None),
        bytes: Set(None),
        created_at: Set(now),
        ready_at: Set(None),
        expires_at: Set(now.after(kept)),
    };
    exports::Entity::insert(new)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(db)
        .await?;
    let live = exports::Entity::find()
        .filter(exports::Column::UserId.eq(user_id))
        .filter(exports::Column::State.is_in([ExportState::Queued, ExportState::Building]))
        .one(db)
        .await?;
    match live {
        Some(live) => {
            let is_new = live.id == id;
            Ok((live, is_new))
        }
        // Ours was built in this moment, or the other's was.
        None => match export(db, user_id, id).await? {
            Some(export) => Ok((export, true)),
            None => Err(DbErr::RecordNotUpdated),
        },
    }
}

/// The person's exports, newest first; one more than `limit` if there are more.
///
/// # Errors
/// When the database fails.
pub async fn exports(
    db: &impl ConnectionTrait,
    user_id: UserId,
    after: Option<ExportId>,
    limit: u64,
) -> Result<Vec<exports::Model>, DbErr> {
    let mut query = exports::Entity::find()
        .filter(exports::Column::UserId.eq(user_id))
        .order_by_desc(exports::Column::Id)
        .limit(limit.saturating_add(1));
    if let Some(after) = after {
        query = query.filter(exports::Column::Id.lt(after));
    }
    query.all(db).await
}

/// One of the person's exports.
///
/// # Errors
/// When the database fails.
pub async fn export(
    db: &impl ConnectionTrait,
    user_id: UserId,
    id: ExportId,
) -> Result<Option<exports::Model>, DbErr> {
    exports::Entity::find_by_id(id).filter(exports::Column::UserId.eq(user_id)).one(db).await
}

/// Notes in the owner's audit log that somebody who holds the link fetches the file. A part of it that
/// does not begin a download (`is_new`) is noted only if none was begun from the same address within
/// `life`. `false`: there is no such export.
///
/// # Errors
/// When the database fails.
pub async fn note_fetch(
    db: &Db,
    id: ExportId,
    origin: &Origin,
    is_new: bool,
    now: Timestamp,
    life: Duration,
) -> Result<bool, DbErr> {
    let Some(export) = exports::Entity::find_by_id(id).one(db.read()).await? else {
        return Ok(false);
    };
    let detail = json!({"export": id});
    let event = Event::own(export.user_id, Action::ExportFetched, origin, now).by(None);
    let event = event.with(detail);
    if is_new || !audit::is_known(db, &event, now.before(life)).await? {
        audit::record(db.write(), event).await?;
    }
    Ok(true)
}

/// Takes the oldest export that nobody builds, for `lease`. One that was begun too often is failed.
///
/// # Errors
/// When the database fails.
pub async fn claim_export(db: &Db, lease: Duration) -> Result<Option<exports::Model>, DbErr> {
    // Most looks find nothing, and must not disturb those who write.
    let waiting = exports::Entity::find()
        .filter(exports::Column::State.is_in([ExportState::Queued, ExportState::Building]))
        .limit(1)
        .all(db.read())
        .await?;
    if waiting.is_empty() {
        return Ok(None);
    }
    let db = db.write();
    let backend = db.get_database_backend();
    let now = now_sql(backend);
    let free = format!("(state = 'queued' OR (state = 'building' AND lease_until < {now}))");
    let given_up = format!(
        "UPDATE exports SET state = 'failed', lease_until = NULL, epoch = epoch + 1 \
         WHERE {free} AND tries >= $1"
    );
    db.execute_raw(sql(db, given_up, [TRIES.into()])).await?;
    let text = format!(
        "UPDATE exports SET state = 'building', epoch = epoch + 1, tries = tries + 1, \
           lease_until = {now} + $1 \
         WHERE id = (SELECT id FROM exports WHERE {free} ORDER BY created_at LIMIT 1{lock}) \
         RETURNING id",
        lock = skip_locked(backend),
    );
    let span = Timestamp(0).after(lease).0;
    let Some(row) = db.query_one_raw(sql(db, text, [span.into()])).await? else { return Ok(None) };
    let id: ExportId = row.try_get("", "id")?;
    exports::Entity::find_by_id(id).one(db).await
}

/// Renews the builder's lease. `false`: it is somebody else's, or gone.
///
/// # Errors
/// When the database fails.
pub async fn renew_export(
    db: &impl ConnectionTrait,
    export: &exports::Model,
    lease: Duration,
) -> Result<bool, DbErr> {
    let text = format!(
        "UPDATE exports SET lease_until = {} + $1 WHERE id = $2 AND epoch = $3 AND state = 'building'",
        now_sql(db.get_database_backend())
    );
    let values = [Timestamp(0).after(lease).0.into(), export.id.0.into(), export.epoch.into()];
    Ok(db.execute_raw(sql(db, text, values)).await?.rows_affected() == 1)
}

/// Its file is whole. `false`: it is somebody else's, or gone; the file is nobody's.
///
/// # Errors
/// When the database fails.
pub async fn export_ready(
    db: &impl ConnectionTrait,
    export: &exports::Model,
    key: &str,
    bytes: u64,
    now: Timestamp,
    kept: Duration,
) -> Result<bool, DbErr> {
    let done = exports::Entity::update_many()
        .set(exports::ActiveModel {
            state: Set(ExportState::Ready),
            lease_until: Set(None),
            key: Set(Some(key.to_owned())),
            bytes: Set(Some(i64::try_from(bytes).unwrap_or(i64::MAX))),
            ready_at: Set(Some(now)),
            expires_at: Set(now.after(kept)),
            ..Default::default()
        })
        .filter(exports::Column::Id.eq(export.id))
        .filter(exports::Column::Epoch.eq(export.epoch))
        .filter(exports::Column::State.eq(ExportState::Building))
        .exec(db)
        .await?;
    Ok(done.rows_affected == 1)
}

/// It could not be built now: free again after `wait`.
///
/// # Errors
/// When the database fails.
pub async fn export_again(
    db: &impl ConnectionTrait,
    export: &exports::Model,
    wait: Duration,
) -> Result<bool, DbErr> {
    renew_export(db, export, wait).await
}

/// Up to `limit` exports whose time is over, with the keys of their files.
///
/// # Errors
/// When the database fails.
pub async fn expired_exports(
    db: &impl ConnectionTrait,
    limit: u64,
    now: Timestamp,
) -> Result<Vec<exports::Model>, DbErr> {
    exports::Entity::find()
        .filter(exports::Column::ExpiresAt.lte(now))
        .order_by_asc(exports::Column::ExpiresAt)
        .limit(limit)
        .all(db)
        .await
}

/// Deletes the rows of exports whose files are gone; a builder that still works on one finds out.
///
/// # Errors
/// When the database fails.
pub async fn forget_exports(db: &impl ConnectionTrait, ids: &[ExportId]) -> Result<u64, DbErr> {
    let gone = exports::Entity::delete_many()
        .filter(exports::Column::Id.is_in(ids.iter().copied()))
        .exec(db)
        .await?;
    Ok(gone.rows_affected)
}
