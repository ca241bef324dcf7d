//! Changing what is stored about a person.
//!
//! A new address counts only once the link that was sent to it has been opened by the account itself:
//! whoever reads the mail without being signed in to the account (because the address was mistyped, or
//! the mail was stolen) could otherwise take the account over by "forgotten password". Whether an
//! address belongs to somebody else already is not told to whoever asks: its owner gets a mail instead.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait,
    QueryFilter, QueryOrder, SqlErr,
};

use serde_json::json;

use crate::{
    Timestamp, accounts,
    audit::{self, Acting, Action, Origin},
    ids::{MailTokenId, UserId},
    mail::{self, Purpose, Template},
    tables::{mail_tokens, users},
};

/// Why an account was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Not an address.
    #[error("this is not an email address")]
    BadEmail,
    /// Somebody has it.
    #[error("there is a user with this address already")]
    EmailTaken,
    /// There is no such account, or not any more.
    #[error("there is no such account")]
    NoAccount,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbErr),
}

/// Why a link did not give an account its new address.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// It was used, taken back by a later one, has expired, or somebody else has the address by now.
    #[error("this link does not work any more")]
    BadLink,
    /// It is for another account than that of who opens it; it goes on working.
    #[error("this link is for another account")]
    OtherAccount,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbErr),
}

/// Changes or removes the person's name.
///
/// # Errors
/// When the database fails.
pub async fn rename(
    tx: &DatabaseTransaction,
    user_id: UserId,
    name: Option<String>,
    by: &Acting,
) -> Result<(), DbErr> {
    let renamed = users::Entity::update_many()
        .set(users::ActiveModel { name: Set(name), ..Default::default() })
        .filter(users::Column::Id.eq(user_id))
        .filter(users::Column::ErasedAt.is_null())
        .exec(tx)
        .await?;
    if renamed.rows_affected == 1 {
        audit::record(tx, by.event(user_id, Action::AccountChanged, json!({}))).await?;
    }
    Ok(())
}

/// Sends a link to the new address; an earlier one stops working. An address that somebody has looks
/// the same to who asks: their link is made and never sent, and would open nothing.
///
/// # Errors
/// See [`ChangeError`].
pub async fn ask_new_email(
    tx: &DatabaseTransaction,
    user_id: UserId,
    email: &str,
    now: Timestamp,
) -> Result<(), ChangeError> {
    let email = accounts::canonical(email).map_err(|_| ChangeError::BadEmail)?;
    let user = find(tx, user_id).await?;
    forget_pending(tx, user_id).await?;
    if user.email == email {
        return Ok(());
    }
    let token = mail::issue(tx, user_id, Purpose::ChangeEmail, &email, now).await?;
    let owner = users::Entity::find().filter(users::Column::Email.eq(email.as_str()));
    if let Some(owner) = owner.one(tx).await? {
        let to = Some(owner.id);
        mail::enqueue(tx, to, Template::KnownAddress, &email, None, now).await?;
        return Ok(());
    }
    mail::enqueue(tx, Some(user_id), Template::ChangeEmail, &email, Some(token.0), now).await?;
    Ok(())
}

/// The address that the person asked for and has not confirmed yet.
///
/// # Errors
/// When the database fails.
pub async fn pending_email(
    db: &impl ConnectionTrait,
    user_id: UserId,
    now: Timestamp,
) -> Result<Option<String>, DbErr> {
    let pending = mail_tokens::Entity::find()
        .filter(mail_tokens::Column::UserId.eq(user_id))
        .filter(mail_tokens::Column::Purpose.eq(Purpose::ChangeEmail.name()))
        .filter(mail_tokens::Column::ExpiresAt.gt(now))
        .order_by_desc(mail_tokens::Column::Id)
        .one(db)
        .await?;
    Ok(pending.map(|token| token.email))
}

/// `user_id` has opened the link: the new address counts, and the old one is told.
///
/// # Errors
/// See [`ConfirmError`].
pub async fn confirm_email(
    tx: &DatabaseTransaction,
    user_id: UserId,
    token: MailTokenId,
    origin: &Origin,
    now: Timestamp,
) -> Result<(), ConfirmError> {
    let known = mail_tokens::Entity::find_by_id(token).one(tx).await?;
    if known.is_some_and(|known| known.user_id != user_id) {
        return Err(ConfirmError::OtherAccount);
    }
    let token = mail::take(tx, token, Purpose::ChangeEmail, now).await?;
    let token = token.ok_or(ConfirmError::BadLink)?;
    let taken = users::Entity::find().filter(users::Column::Email.eq(token.email.as_str()));
    if taken.one(tx).await?.is_some() {
        return Err(ConfirmError::BadLink);
    }
    let owner = Acting { actor: Some(user_id), origin: origin.clone(), at: now };
    match set_email(tx, user_id, &token.email, &owner).await {
        Ok(()) => Ok(()),
        Err(ChangeError::Db(error)) => Err(error.into()),
        Err(ChangeError::BadEmail | ChangeError::EmailTaken | ChangeError::NoAccount) => {
            Err(ConfirmError::BadLink)
        }
    }
}

/// Gives the person a new address that somebody has vouched for; the old one is told.
///
/// # Errors
/// See [`ChangeError`].
pub async fn set_email(
    tx: &DatabaseTransaction,
    user_id: UserId,
    email: &str,
    by: &Acting,
) -> Result<(), ChangeError> {
    let email = accounts::canonical(email).map_err(|_| ChangeError::BadEmail)?;
    let user = find(tx, user_id).await?;
    let changed = users::Entity::update_many()
        .set(users::ActiveModel {
            email: Set(email),
            email_verified_at: Set(Some(by.at)),
            ..Default::default()
        })
        .filter(users::Column::Id.eq(user_id))
        .exec(tx)
        .await;
    changed.map_err(|error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => ChangeError::EmailTaken,
        _ => ChangeError::Db(error),
    })?;
    forget_pending(tx, user_id).await?;
    mail::enqueue(tx, Some(user_id), Template::EmailChanged, &user.email, None, by.at).await?;
    audit::record(tx, by.event(user_id, Action::EmailChanged, json!({}))).await?;
    Ok(())
}

async fn find(tx: &DatabaseTransaction, user_id: UserId) -> Result<users::Model, ChangeError> {
    let user = users::Entity::find_by_id(user_id).filter(users::Column::ErasedAt.is_null());
    user.one(tx).await?.ok_or(ChangeError::NoAccount)
}

async fn forget_pending(tx: &DatabaseTransaction, user_id: UserId) -> Result<(), DbErr> {
    mail_tokens::Entity::delete_many()
        .filter(mail_tokens::Column::UserId.eq(user_id))
        .filter(mail_tokens::Column::Purpose.eq(Purpose::ChangeEmail.name()))
        .exec(tx)
        .await?;
    Ok(())
}
