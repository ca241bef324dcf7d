//! New passwords: by a link that came by mail, or by whoever knows the old one.

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter,
    QuerySelect,
    sea_query::{Expr, LockType},
};
use serde_json::json;

use super::{
    people::{AccountError, PersonalWorkspace, canonical, personal_workspace},
    sessions::end_sessions,
    sign_up::forget_sign_ups,
};
use crate::{
    Effects, Timestamp,
    audit::{self, Action, Event, Origin},
    ids::{MailTokenId, UserId},
    mail::{self, Purpose, Template},
    tables::{api_keys, identities, users},
};

/// Writes down that somebody with this address wants a new password. The same statements for every
/// address, whether it has an account or not.
///
/// # Errors
/// See [`AccountError`].
pub async fn ask_reset(
    db: &impl ConnectionTrait,
    email: &str,
    now: Timestamp,
) -> Result<(), AccountError> {
    let email = canonical(email)?;
    mail::enqueue(db, None, Template::Reset, &email, None, now).await?;
    Ok(())
}

/// Uses a reset link up: the new password counts, and nobody stays signed in. `None`: the link was
/// used, taken back by a later one, has expired, or the account has another address by now.
///
/// # Errors
/// When the database fails.
pub async fn reset_password(
    tx: &DatabaseTransaction,
    token: MailTokenId,
    new_hash: &str,
    origin: &Origin,
    now: Timestamp,
) -> Result<Option<(PersonalWorkspace, Effects)>, DbErr> {
    let Some(token) = mail::take(tx, token, Purpose::Reset, now).await? else { return Ok(None) };
    let found = personal_workspace(tx, token.user_id).await?;
    let Some(mut account) = found.filter(|account| account.user.email == token.email) else {
        return Ok(None);
    };
    let effects = prove(tx, &mut account.user, origin, now).await?;
    replace_password(tx, &account.user, new_hash, now).await?;
    audit::record(tx, Event::own(account.user.id, Action::PasswordReset, origin, now)).await?;
    Ok(Some((account, effects)))
}

/// Changes the password of somebody who has proven that it is them: nobody stays signed in.
///
/// # Errors
/// When the database fails.
pub async fn change_password(
    tx: &DatabaseTransaction,
    user: &users::Model,
    new_hash: &str,
    origin: &Origin,
    now: Timestamp,
) -> Result<(), DbErr> {
    replace_password(tx, user, new_hash, now).await?;
    audit::record(tx, Event::own(user.id, Action::PasswordChanged, origin, now)).await?;
    Ok(())
}

async fn replace_password(
    tx: &DatabaseTransaction,
    user: &users::Model,
    new_hash: &str,
    now: Timestamp,
) -> Result<(), DbErr> {
    set_password_hash(tx, user.id, new_hash).await?;
    end_sessions(tx, user.id, None).await?;
    mail::take_all(tx, user.id).await?;
    mail::enqueue(tx, Some(user.id), Template::PasswordChanged, &user.email, None, now).await?;
    Ok(())
}

/// Stores the same password's hash with today's parameters, unless the password was changed since
/// `old` was read. Whether it was stored.
///
/// # Errors
/// When the database fails.
pub async fn rehash(
    db: &impl ConnectionTrait,
    user_id: UserId,
    old: &str,
    new: &str,
) -> Result<bool, DbErr> {
    let stored = users::Entity::update_many()
        .col_expr(users::Column::PasswordHash, Expr::value(new))
        .filter(users::Column::Id.eq(user_id))
        .filter(users::Column::PasswordHash.eq(old))
        .filter(users::Column::ErasedAt.is_null())
        .exec(db)
        .await?;
    Ok(stored.rows_affected == 1)
}

/// Whether `hash` is still the person's, for the rest of the transaction: whoever proved to know that
/// password may be let in.
///
/// # Errors
/// When the database fails.
pub async fn still_has_password(
    tx: &DatabaseTransaction,
    user_id: UserId,
    hash: &str,
) -> Result<bool, DbErr> {
    let user = users::Entity::find_by_id(user_id)
        .filter(users::Column::PasswordHash.eq(hash))
        .filter(users::Column::ErasedAt.is_null())
        .lock(LockType::NoKeyUpdate)
        .one(tx)
        .await?;
    Ok(user.is_some())
}

/// Stores a hash.
async fn set_password_hash(
    db: &impl ConnectionTrait,
    user_id: UserId,
    hash: &str,
) -> Result<(), DbErr> {
    users::Entity::update_many()
        .col_expr(users::Column::PasswordHash, Expr::value(hash))
        .filter(users::Column::Id.eq(user_id))
        .filter(users::Column::ErasedAt.is_null())
        .exec(db)
        .await?;
    Ok(())
}

/// Somebody has proven that the account's address is theirs. If nobody had before, whatever was
/// set up until now may be a stranger's, and is removed: password, sessions, keys, identities,
/// links. Nobody can prepare an account for its owner to walk into.
pub(super) async fn prove(
    tx: &DatabaseTransaction,
    user: &mut users::Model,
    origin: &Origin,
    now: Timestamp,
) -> Result<Effects, DbErr> {
    if user.email_verified_at.is_some() {
        return Ok(Effects::default());
    }
    end_sessions(tx, user.id, None).await?;
    mail::take_all(tx, user.id).await?;
    forget_sign_ups(tx, &user.email).await?;
    identities::Entity::delete_many()
        .filter(identities::Column::UserId.eq(user.id))
        .exec(tx)
        .await?;
    let revoked = api_keys::Entity::update_many()
        .col_expr(api_keys::Column::RevokedAt, Expr::value(now.0))
        .filter(api_keys::Column::UserId.eq(user.id))
        .filter(api_keys::Column::RevokedAt.is_null())
        .exec_with_returning(tx)
        .await?;
    let row = users::ActiveModel {
        id: Set(user.id),
        password_hash: Set(None),
        email_verified_at: Set(Some(now)),
        ..Default::default()
    };
    *user = users::Entity::update(row).exec(tx).await?;
    let detail = json!({"keys": revoked.len()});
    let event = Event::own(user.id, Action::UnverifiedCleared, origin, now).with(detail);
    audit::record(tx, event).await?;
    let revoked = revoked.into_iter().map(|key| key.id).collect();
    Ok(Effects { revoked, ..Effects::default() })
}
