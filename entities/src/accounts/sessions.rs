//! Signed-in browsers.
//!
//! Stored: `sessions`, with the SHA-256 of the cookie: 256 random bits need nothing slower. A
//! session that ends is deleted, and every request looks it up, so it ends everywhere at once.

use std::{fmt, time::Duration};

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, ExprTrait, QueryFilter,
    QueryOrder, QuerySelect, sea_query::Expr,
};
use sha2::{Digest as _, Sha256};

use crate::{
    Db, Timestamp,
    audit::Origin,
    ids::{SessionId, UserId, WorkspaceId},
    tables::{sessions, users},
};

/// The most sessions of one person; the oldest give way.
const MOST: u64 = 100;

/// The secret in a session's cookie. Never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSecret(String);

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(…)")
    }
}

impl SessionSecret {
    /// A secret from random bytes.
    #[must_use]
    pub fn from_random(random: [u8; 32]) -> Self {
        Self(hex::encode(random))
    }

    /// The text, if it has the form of a secret.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        fits.then(|| Self(text.to_owned()))
    }

    /// The secret itself, for the cookie.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.0.as_bytes()).to_vec()
    }
}

/// How long sessions last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTerms {
    /// Without being used.
    pub idle: Duration,
    /// Whatever happens.
    pub absolute: Duration,
}

/// How somebody signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// With their password.
    Password,
    /// By Google.
    Google,
    /// By a link that came by mail.
    Mail,
}

impl Method {
    /// Its name in the table and in public.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Google => "google",
            Self::Mail => "mail",
        }
    }
}

/// Begins a session, in the transaction of the sign-in.
///
/// # Errors
/// When the database fails.
pub async fn start_session(
    db: &impl ConnectionTrait,
    (user_id, workspace_id): (UserId, WorkspaceId),
    method: Method,
    secret: &SessionSecret,
    origin: &Origin,
    terms: SessionTerms,
    now: Timestamp,
) -> Result<SessionId, DbErr> {
    let old: Vec<SessionId> = sessions::Entity::find()
        .filter(sessions::Column::UserId.eq(user_id))
        .order_by_desc(sessions::Column::Id)
        .offset(MOST - 1)
        .limit(MOST)
        .all(db)
        .await?
        .into_iter()
        .map(|session| session.id)
        .collect();
    if !old.is_empty() {
        sessions::Entity::delete_many().filter(sessions::Column::Id.is_in(old)).exec(db).await?;
    }
    let id = SessionId::generate();
    let session = sessions::ActiveModel {
        id: Set(id),
        user_id: Set(user_id),
        workspace_id: Set(workspace_id),
        hash: Set(secret.hash()),
        method: Set(method.name().to_owned()),
        address: Set(origin.address.map(|address| address.to_string())),
        browser: Set(origin.browser.clone()),
        created_at: Set(now),
        last_seen_at: Set(now),
        expires_at: Set(now.after(terms.absolute)),
    };
    sessions::Entity::insert(session).exec_without_returning(db).await?;
    Ok(id)
}

/// The session of a cookie; `None` if it is unknown, has ended, or its person was erased.
///
/// # Errors
/// When the database fails.
pub async fn find_session(
    db: &Db,
    secret: &SessionSecret,
    terms: SessionTerms,
    now: Timestamp,
) -> Result<Option<sessions::Model>, DbErr> {
    let found =
        live(terms, now).filter(sessions::Column::Hash.eq(secret.hash())).one(db.read()).await?;
    let Some(session) = found else { return Ok(None) };
    let user = users::Entity::find_by_id(session.user_id).one(db.read()).await?;
    Ok(user.filter(|user| user.erased_at.is_none()).map(|_| session))
}

/// The session with this id, if it has not ended.
///
/// # Errors
/// When the database fails.
pub async fn session(db: &Db, id: SessionId) -> Result<Option<sessions::Model>, DbErr> {
    sessions::Entity::find_by_id(id).one(db.read()).await
}

/// Ends the session of a cookie, whosever it is; the session that was ended.
///
/// # Errors
/// When the database fails.
pub async fn end_presented_session(
    db: &impl ConnectionTrait,
    secret: &SessionSecret,
) -> Result<Option<sessions::Model>, DbErr> {
    let ended = sessions::Entity::delete_many()
        .filter(sessions::Column::Hash.eq(secret.hash()))
        .exec_with_returning(db)
        .await?;
    Ok(ended.into_iter().next())
}

fn live(terms: SessionTerms, now: Timestamp) -> sea_orm::Select<sessions::Entity> {
    sessions::Entity::find()
        .filter(sessions::Column::ExpiresAt.gt(now))
        .filter(sessions::Column::LastSeenAt.gt(now.before(terms.idle)))
}

/// Notes that a session is used.
///
/// # Errors
/// When the database fails.
pub async fn touch_session(
    db: &impl ConnectionTrait,
    id: SessionId,
    now: Timestamp,
) -> Result<(), DbErr> {
    sessions::Entity::update_many()
        .col_expr(sessions::Column::LastSeenAt, Expr::value(now.0))
        .filter(sessions::Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
}

/// The person's live sessions, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list_sessions(
    db: &Db,
    user_id: UserId,
    terms: SessionTerms,
    now: Timestamp,
) -> Result<Vec<sessions::Model>, DbErr> {
    live(terms, now)
        .filter(sessions::Column::UserId.eq(user_id))
        .order_by_desc(sessions::Column::Id)
        .all(db.read())
        .await
}

/// Ends one of the person's sessions; whether there was one.
///
/// # Errors
/// When the database fails.
pub async fn end_session(
    db: &impl ConnectionTrait,
    user_id: UserId,
    id: SessionId,
) -> Result<bool, DbErr> {
    let done = sessions::Entity::delete_many()
        .filter(sessions::Column::Id.eq(id))
        .filter(sessions::Column::UserId.eq(user_id))
        .exec(db)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Ends all of the person's sessions, but for one; how many it were.
///
/// # Errors
/// When the database fails.
pub async fn end_sessions(
    db: &impl ConnectionTrait,
    user_id: UserId,
    but: Option<SessionId>,
) -> Result<u64, DbErr> {
    let mut ending = sessions::Entity::delete_many().filter(sessions::Column::UserId.eq(user_id));
    if let Some(but) = but {
        ending = ending.filter(sessions::Column::Id.ne(but));
    }
    Ok(ending.exec(db).await?.rows_affected)
}

/// Deletes sessions that have ended by themselves.
///
/// # Errors
/// When the database fails.
pub async fn delete_old_sessions(
    db: &impl ConnectionTrait,
    terms: SessionTerms,
    now: Timestamp,
) -> Result<u64, DbErr> {
    let over = sessions::Column::ExpiresAt
        .lte(now)
        .or(sessions::Column::LastSeenAt.lte(now.before(terms.idle)));
    let done = sessions::Entity::delete_many().filter(over).exec(db).await?;
    Ok(done.rows_affected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_reads_back_and_shows_nothing() {
        let secret = SessionSecret::from_random([9; 32]);
        assert_eq!(SessionSecret::parse(secret.expose()), Some(secret.clone()));
        assert_eq!(format!("{secret:?}"), "SessionSecret(…)");
        for bad in ["", "09", &"g".repeat(64), &"0".repeat(65)] {
            assert_eq!(SessionSecret::parse(bad), None, "{bad}");
        }
    }
}
