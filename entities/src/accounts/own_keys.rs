//! A user's own keys: listing and making them.
//!
//! A key that makes another gives nothing that it does not have: no scope beyond its own, no life
//! longer than its own; and one whose spending is limited makes none at all, or its limit would be
//! none. What is made and revoked is in the audit log, in the same transaction.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, PaginatorTrait as _, QueryFilter,
    QueryOrder,
};

use super::{
    Caller, Credential, KeySecret, NewKey, Scopes, SpendingLimit, create_key, revoke_key, spending,
};
use crate::{
    Credits, Db, Effects, Timestamp,
    audit::{self, Action, Event, Origin},
    ids::{ApiKeyId, WorkspaceId},
    tables::api_keys,
};

/// The most keys of one workspace that are not revoked.
pub const MOST_KEYS: u64 = 100;

/// Why a key was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRefused {
    /// The key that asks does not work any more.
    Revoked,
    /// The key that asks lacks these scopes itself.
    Scopes(Scopes),
    /// The key that asks has a spending limit.
    MakerIsLimited,
    /// The key that asks ends earlier, at this time.
    OutlivesMaker(Timestamp),
    /// There are too many already.
    TooMany,
}

impl api_keys::Model {
    /// What it may spend, if that is limited.
    #[must_use]
    pub fn spending_limit(&self) -> Option<SpendingLimit> {
        let (credits, per) = (self.spend_limit?, self.spend_period?);
        Some(SpendingLimit { credits, per })
    }
}

/// Makes a key for the caller.
///
/// # Errors
/// When the database fails. A refusal is the inner error; nothing is written then.
pub async fn make_key(
    tx: &DatabaseTransaction,
    caller: &Caller,
    mut new: NewKey,
    secret: &KeySecret,
    origin: &Origin,
    now: Timestamp,
) -> Result<Result<api_keys::Model, KeyRefused>, DbErr> {
    let mut scopes = caller.scopes;
    if let Credential::Key(id) = caller.credential {
        let maker = api_keys::Entity::find_by_id(id)
            .filter(api_keys::Column::RevokedAt.is_null())
            .one(tx)
            .await?
            .filter(|maker| maker.expires_at.is_none_or(|end| now < end));
        let Some(maker) = maker else { return Ok(Err(KeyRefused::Revoked)) };
        if maker.spend_limit.is_some() {
            return Ok(Err(KeyRefused::MakerIsLimited));
        }
        if let Some(end) = maker.expires_at {
            if new.expires_at.is_some_and(|wanted| wanted > end) {
                return Ok(Err(KeyRefused::OutlivesMaker(end)));
            }
            new.expires_at.get_or_insert(end);
        }
        scopes = maker.scopes;
    }
    if !scopes.include(new.scopes) {
        let missing = new.scopes.iter().filter(|scope| !scopes.has(*scope)).collect();
        return Ok(Err(KeyRefused::Scopes(missing)));
    }
    let count = api_keys::Entity::find()
        .filter(api_keys::Column::WorkspaceId.eq(new.workspace_id))
        .filter(api_keys::Column::RevokedAt.is_null())
        .count(tx)
        .await?;
    if count >= MOST_KEYS {
        return Ok(Err(KeyRefused::TooMany));
    }
    let key = create_key(tx, new, secret, now).await?;
    note(tx, caller, Action::KeyMade, key.id, origin, now).await?;
    Ok(Ok(key))
}

/// Revokes a key of the caller's workspace. `None`: it has no such key, or not any more.
///
/// # Errors
/// When the database fails.
pub async fn revoke_own_key(
    tx: &DatabaseTransaction,
    caller: &Caller,
    key: ApiKeyId,
    origin: &Origin,
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    let Some(effects) = revoke_key(tx, caller.workspace_id, key, now).await? else {
        return Ok(None);
    };
    note(tx, caller, Action::KeyRevoked, key, origin, now).await?;
    Ok(Some(effects))
}

async fn note(
    tx: &DatabaseTransaction,
    caller: &Caller,
    action: Action,
    key: ApiKeyId,
    origin: &Origin,
    now: Timestamp,
) -> Result<(), DbErr> {
    let event =
        Event::own(caller.user_id, action, origin, now).with(serde_json::json!({"key": key}));
    audit::record(tx, event).await?;
    Ok(())
}

/// The workspace's keys that are not revoked, newest first, each with what it has spent in the
/// present period of its limit.
///
/// # Errors
/// When the database fails.
pub async fn keys(
    db: &Db,
    workspace_id: WorkspaceId,
    now: Timestamp,
) -> Result<Vec<(api_keys::Model, Credits)>, DbErr> {
    let keys = api_keys::Entity::find()
        .filter(api_keys::Column::WorkspaceId.eq(workspace_id))
        .filter(api_keys::Column::RevokedAt.is_null())
        .order_by_desc(api_keys::Column::Id)
        .all(db.read())
        .await?;
    let limited = keys.iter().filter_map(|key| Some((key.id, key.spending_limit()?.per.name(now))));
    let spent: HashMap<_, _> = spending::spent(db.read(), limited).await?;
    Ok(keys
        .into_iter()
        .map(|key| {
            let spent = spent.get(&key.id).copied().unwrap_or(Credits::ZERO);
            (key, spent)
        })
        .collect())
}
