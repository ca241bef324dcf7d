//! What a link in a mail is good for: once, for a while, and for nothing else.

use std::time::Duration;

use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};

use crate::{
    Timestamp,
    ids::{MailTokenId, UserId},
    tables::mail_tokens,
};

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A new password.
    Reset,
    /// A new address, which it proves.
    ChangeEmail,
}

impl Purpose {
    /// Its name in the table and in the link's tag.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::ChangeEmail => "change_email",
        }
    }

    /// How long a link works.
    #[must_use]
    pub fn lasts(self) -> Duration {
        match self {
            Self::Reset => Duration::from_secs(3_600),
            Self::ChangeEmail => Duration::from_secs(86_400),
        }
    }
}

/// What kind of link a mail holds: its secret is bound to this, so that none works as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// A sign-up.
    SignUp,
    /// A token of this purpose.
    Token(Purpose),
}

impl LinkKind {
    /// Its name in the link's tag.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::Token(purpose) => purpose.name(),
        }
    }
}

/// Makes a token for the person, and takes earlier ones of the same purpose back. `email` is where
/// it will be sent.
///
/// # Errors
/// When the database fails.
pub async fn issue(
    db: &impl ConnectionTrait,
    user_id: UserId,
    purpose: Purpose,
    email: &str,
    now: Timestamp,
) -> Result<MailTokenId, DbErr> {
    mail_tokens::Entity::delete_many()
        .filter(mail_tokens::Column::UserId.eq(user_id))
        .filter(mail_tokens::Column::Purpose.eq(purpose.name()))
        .exec(db)
        .await?;
    let id = MailTokenId::generate();
    let token = mail_tokens::ActiveModel {
        id: Set(id),
        user_id: Set(user_id),
        purpose: Set(purpose.name().to_owned()),
        email: Set(email.to_owned()),
        created_at: Set(now),
        expires_at: Set(now.after(purpose.lasts())),
    };
    mail_tokens::Entity::insert(token).exec_without_returning(db).await?;
    Ok(id)
}

/// Uses a token up, in the transaction of what it is good for. `None`: it was used, taken back,
/// has expired, or is for something else.
///
/// # Errors
/// When the database fails.
pub async fn take(
    db: &impl ConnectionTrait,
    id: MailTokenId,
    purpose: Purpose,
    now: Timestamp,
) -> Result<Option<mail_tokens::Model>, DbErr> {
    let taken = mail_tokens::Entity::delete_many()
        .filter(mail_tokens::Column::Id.eq(id))
        .filter(mail_tokens::Column::Purpose.eq(purpose.name()))
        .filter(mail_tokens::Column::ExpiresAt.gt(now))
        .exec_with_returning(db)
        .await?;
    Ok(taken.into_iter().next())
}

/// Takes all of the person's tokens back.
///
/// # Errors
/// When the database fails.
pub async fn take_all(db: &impl ConnectionTrait, user_id: UserId) -> Result<(), DbErr> {
    mail_tokens::Entity::delete_many()
        .filter(mail_tokens::Column::UserId.eq(user_id))
        .exec(db)
        .await?;
    Ok(())
}

/// Deletes tokens that have expired; how many it were.
///
/// # Errors
/// When the database fails.
pub async fn delete_old(db: &impl ConnectionTrait, now: Timestamp) -> Result<u64, DbErr> {
    let done = mail_tokens::Entity::delete_many()
        .filter(mail_tokens::Column::ExpiresAt.lte(now))
        .exec(db)
        .await?;
    Ok(done.rows_affected)
}
