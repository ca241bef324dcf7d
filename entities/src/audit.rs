//! What happened to accounts: sign-ins, keys, exports, what operators did.
//!
//! Stored: `audit_events`, which is only ever added to: the database refuses every other change, but for
//! emptying the events of an erased account and deleting what is older than `audit_horizon`. An event holds who, what, when, the
//! address and the type of browser; `detail` holds ids, counts and names of methods, never words
//! that somebody wrote. Events are written in the transaction of what they tell about, so that
//! neither is without the other.

use std::net::IpAddr;

use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};
use sea_orm::{QueryOrder, QuerySelect};
use serde_json::Value;

use crate::{
    Db, Timestamp, db,
    ids::{AuditEventId, UserId},
    tables::audit_events,
};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is its name")]
pub enum Action {
    SignUp,
    EmailVerified,
    SignIn,
    SignInFailed,
    SignOut,
    PasswordChanged,
    PasswordReset,
    ResetAsked,
    SessionRevoked,
    GoogleLinked,
    /// What a stranger may have set up before the owner of the address came was removed.
    UnverifiedCleared,
    KeyMade,
    KeyRevoked,
    AccountChanged,
    EmailChanged,
    ExportAsked,
    ExportFetched,
    AccountDeleted,
    UserMade,
    CreditsGranted,
    RoleChanged,
    /// An operator looked at an account.
    OperatorRead,
    /// A provider or a route gets no new calls.
    ProviderOff,
    ProviderOn,
}

impl Action {
    /// Its name, in the table and in public.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::EmailVerified => "email_verified",
            Self::SignIn => "sign_in",
            Self::SignInFailed => "sign_in_failed",
            Self::SignOut => "sign_out",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::ResetAsked => "reset_asked",
            Self::SessionRevoked => "session_revoked",
            Self::GoogleLinked => "google_linked",
            Self::UnverifiedCleared => "unverified_cleared",
            Self::KeyMade => "key_made",
            Self::KeyRevoked => "key_revoked",
            Self::AccountChanged => "account_changed",
            Self::EmailChanged => "email_changed",
            Self::ExportAsked => "export_asked",
            Self::ExportFetched => "export_fetched",
            Self::AccountDeleted => "account_deleted",
            Self::UserMade => "user_made",
            Self::CreditsGranted => "credits_granted",
            Self::RoleChanged => "role_changed",
            Self::OperatorRead => "operator_read",
            Self::ProviderOff => "provider_off",
            Self::ProviderOn => "provider_on",
        }
    }
}

/// From where somebody acts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client's address; `None` at the command line.
    pub address: Option<IpAddr>,
    /// The type of browser, such as `Firefox on Linux`.
    pub browser: Option<String>,
}

/// Who acts, from where and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Acting {
    /// The person; `None` at the command line, which knows none.
    pub actor: Option<UserId>,
    /// From where.
    pub origin: Origin,
    /// When.
    pub at: Timestamp,
}

impl Acting {
    /// Whoever may run commands on this machine.
    #[must_use]
    pub fn at_the_command_line(at: Timestamp) -> Self {
        Self { actor: None, origin: Origin::default(), at }
    }

    /// The event of what they do to `user`.
    #[must_use]
    pub fn event(&self, user: UserId, action: Action, detail: Value) -> Event {
        Event::own(user, action, &self.origin, self.at).by(self.actor).with(detail)
    }

    /// The event of what they do to the platform itself.
    #[must_use]
    pub fn of_nobody(&self, action: Action, detail: Value) -> Event {
        Event {
            user_id: None,
            actor_id: self.actor,
            action,
            origin: self.origin.clone(),
            detail,
            at: self.at,
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Whose account; `None` if it is nobody's, such as a failed sign-in with an unknown address.
    pub user_id: Option<UserId>,
    /// Who did it, if that is known.
    pub actor_id: Option<UserId>,
    /// What.
    pub action: Action,
    /// From where.
    pub origin: Origin,
    /// More about it, without personal words.
    pub detail: Value,
    /// When.
    pub at: Timestamp,
}

impl Event {
    /// Somebody did something with their own account.
    #[must_use]
    pub fn own(user_id: UserId, action: Action, origin: &Origin, at: Timestamp) -> Self {
        Self {
            user_id: Some(user_id),
            actor_id: Some(user_id),
            action,
            origin: origin.clone(),
            detail: Value::Object(serde_json::Map::new()),
            at,
        }
    }

    /// With this detail.
    #[must_use]
    pub fn with(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }

    /// Done by somebody else, or by nobody who is known.
    #[must_use]
    pub fn by(mut self, actor_id: Option<UserId>) -> Self {
        self.actor_id = actor_id;
        self
    }
}

/// Writes an event, in the transaction of what it tells about.
///
/// # Errors
/// When the database fails.
pub async fn record(db: &impl ConnectionTrait, event: Event) -> Result<AuditEventId, DbErr> {
    let id = AuditEventId::generate();
    let row = audit_events::ActiveModel {
        id: Set(id),
        at: Set(event.at),
        user_id: Set(event.user_id),
        actor_id: Set(event.actor_id),
        action: Set(event.action.name().to_owned()),
        address: Set(event.origin.address.map(|address| address.to_string())),
        browser: Set(event.origin.browser),
        detail: Set(event.detail),
    };
    audit_events::Entity::insert(row).exec_without_returning(db).await?;
    Ok(id)
}

/// Whether the same was done from the same address since then.
///
/// # Errors
/// When the database fails.
pub async fn is_known(db: &Db, event: &Event, since: Timestamp) -> Result<bool, DbErr> {
    let address = event.origin.address.map(|address| address.to_string());
    let same = audit_events::Entity::find()
        .filter(audit_events::Column::UserId.eq(event.user_id))
        .filter(audit_events::Column::At.gte(since))
        .filter(audit_events::Column::Action.eq(event.action.name()))
        .filter(audit_events::Column::Address.eq(address))
        .all(db.read())
        .await?;
    Ok(same.iter().any(|known| known.detail == event.detail))
}

/// What happened to the person's account, newest first; one more than `limit` if there is more.
///
/// # Errors
/// When the database fails.
pub async fn list(
    db: &Db,
    user_id: UserId,
    after: Option<AuditEventId>,
    limit: u64,
) -> Result<Vec<audit_events::Model>, DbErr> {
    let mut query = audit_events::Entity::find().filter(audit_events::Column::UserId.eq(user_id));
    if let Some(after) = after {
        query = query.filter(audit_events::Column::Id.lt(after));
    }
    query
        .order_by_desc(audit_events::Column::Id)
        .limit(limit.saturating_add(1))
        .all(db.read())
        .await
}

/// Deletes up to `most` events that are older than `before`; how many it were. The horizon moves there
/// first, for the database lets nothing go that is younger.
///
/// # Errors
/// When the database fails.
pub async fn delete_old(
    db: &impl ConnectionTrait,
    before: Timestamp,
    most: u64,
) -> Result<u64, DbErr> {
    let text = "UPDATE audit_horizon SET kept_from = $1 WHERE kept_from < $1 \
                AND EXISTS (SELECT 1 FROM audit_events WHERE at < $1)";
    db.execute_raw(db::sql(db, text, [before.0.into()])).await?;
    let text = "DELETE FROM audit_events WHERE id IN \
                (SELECT id FROM audit_events WHERE at < $1 ORDER BY at LIMIT $2)";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let done = db.execute_raw(db::sql(db, text, [before.0.into(), most.into()])).await?;
    Ok(done.rows_affected())
}
