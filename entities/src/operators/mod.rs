//! What operators do to other people's accounts, over HTTP and at the command line alike.
//!
//! Each is one transaction that also writes who did what to whom (`audit_events`). Nothing is
//! stored here besides. What is refused is an account that is not there or is there already, and a
//! grant that is none; a transaction that was begun is then rolled back. `data` has what people ask
//! for about their data.

mod data;

use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, QueryFilter, SqlErr,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    Credits, Db,
    accounts::{self, AccountError, KeySecret, NewKey, NewUser, PersonalWorkspace, Scopes},
    audit::{self, Action},
    ids::{ApiKeyId, UserId, WorkspaceId},
    ledger::{self, GrantError},
    tables::{entry_notes, sessions, users, wallets},
};

pub use crate::audit::Acting;
pub use data::{Correction, UpdateError, export, export_user, update_user};

/// Credits to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// How much.
    pub amount: Credits,
    /// Why, in words for its owner.
    pub reason: String,
    /// A name of the caller's for it: a grant of the same name happens once, whoever asks.
    pub reference: Option<String>,
}

/// What came of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The wallet afterwards.
    pub wallet: wallets::Model,
    /// Whether it had been granted before.
    pub replayed: bool,
}

/// Why nothing was granted.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Nobody to grant it to.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// It cannot be granted.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The name is another grant's.
    #[error("this reference stands for a different grant already")]
    Taken,
}

impl From<DbErr> for OrderError {
    fn from(error: DbErr) -> Self {
        Self::Account(error.into())
    }
}

/// Makes a person with a personal workspace; grants nothing.
///
/// # Errors
/// See [`AccountError`].
pub async fn create_user(
    db: &Db,
    new: &NewUser,
    by: &Acting,
) -> Result<PersonalWorkspace, AccountError> {
    let tx = db.begin().await?;
    let made = accounts::create_user(&tx, new, by.at).await?;
    audit::record(&tx, by.event(made.user.id, Action::UserMade, json!({}))).await?;
    tx.commit().await?;
    Ok(made)
}

/// Makes a key with every scope for the person with this address.
///
/// # Errors
/// See [`AccountError`].
pub async fn create_key(
    db: &Db,
    email: &str,
    name: &str,
    secret: &KeySecret,
    by: &Acting,
) -> Result<ApiKeyId, AccountError> {
    let owner = accounts::find_workspace(db, email).await?;
    let user = owner.user.id;
    let new = NewKey {
        user_id: user,
        workspace_id: owner.workspace.id,
        name: name.to_owned(),
        scopes: Scopes::all(),
        expires_at: None,
        spending_limit: None,
    };
    let tx = db.begin().await?;
    let key = accounts::create_key(&tx, new, secret, by.at).await?;
    audit::record(&tx, by.event(user, Action::KeyMade, json!({"key": key.id}))).await?;
    tx.commit().await?;
    Ok(key.id)
}

/// Gives credits to the personal workspace of the person with this address.
///
/// # Errors
/// See [`OrderError`].
pub async fn grant(
    db: &Db,
    email: &str,
    grant: &Grant,
    by: &Acting,
) -> Result<Granted, OrderError> {
    let owner = accounts::find_workspace(db, email).await?;
    let workspace = owner.workspace.id;
    let reference = grant.reference.as_deref().map_or_else(Uuid::now_v7, reference);
    if let Some(granted) = known(db, workspace, grant, reference).await? {
        return Ok(granted);
    }
    match write(db, &owner, grant, reference, by).await {
        // The same grant was being written: what it became tells.
        Err(OrderError::Grant(GrantError::Db(error))) if is_conflict(&error) => {
            known(db, workspace, grant, reference).await?.ok_or_else(|| error.into())
        }
        written => written,
    }
}

async fn write(
    db: &Db,
    owner: &PersonalWorkspace,
    grant: &Grant,
    reference: Uuid,
    by: &Acting,
) -> Result<Granted, OrderError> {
    let tx = db.begin().await?;
    let (workspace, amount) = (owner.workspace.id, grant.amount);
    let wallet =
        ledger::grant_once(&tx, workspace, amount, &grant.reason, reference, by.at).await?;
    let detail = json!({"credits": amount.0, "reference": reference});
    audit::record(&tx, by.event(owner.user.id, Action::CreditsGranted, detail)).await?;
    tx.commit().await?;
    Ok(Granted { wallet, replayed: false })
}

/// The grant of this reference, if it was made.
async fn known(
    db: &Db,
    workspace: WorkspaceId,
    grant: &Grant,
    reference: Uuid,
) -> Result<Option<Granted>, OrderError> {
    if grant.reference.is_none() {
        return Ok(None);
    }
    let Some(entry) = ledger::find_grant(db.read(), reference).await? else { return Ok(None) };
    let note = entry_notes::Entity::find_by_id(entry.id).one(db.read()).await?;
    // Words are erased with the account that they are about.
    let same_words = note.is_none_or(|note| note.note == grant.reason);
    if entry.workspace_id != workspace || entry.amount != grant.amount || !same_words {
        return Err(OrderError::Taken);
    }
    let wallet = accounts::wallet(db, workspace).await?;
    Ok(Some(Granted { wallet, replayed: true }))
}

fn is_conflict(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

/// The ledger's reference for a name that a caller gave.
fn reference(name: &str) -> Uuid {
    let digest = Sha256::new().chain_update("grant\0").chain_update(name).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Makes the person with this address an operator, or no longer one. Their sessions end: what a
/// browser may do does not change behind its back.
///
/// # Errors
/// See [`AccountError`].
pub async fn set_role(
    db: &Db,
    email: &str,
    role: users::Role,
    by: &Acting,
) -> Result<users::Model, AccountError> {
    let mut user = accounts::find_workspace(db, email).await?.user;
    if user.role == role {
        return Ok(user);
    }
    let tx = db.begin().await?;
    let change = users::ActiveModel { id: Set(user.id), role: Set(role), ..Default::default() };
    change.update(&tx).await?;
    sessions::Entity::delete_many().filter(sessions::Column::UserId.eq(user.id)).exec(&tx).await?;
    audit::record(&tx, by.event(user.id, Action::RoleChanged, json!({"role": role}))).await?;
    tx.commit().await?;
    user.role = role;
    Ok(user)
}

/// The person with this address, with their wallet. That somebody looked is noted.
///
/// # Errors
/// See [`AccountError`].
pub async fn look_up(
    db: &Db,
    email: &str,
    by: &Acting,
) -> Result<(PersonalWorkspace, wallets::Model), AccountError> {
    let found = accounts::find_workspace(db, email).await?;
    let wallet = accounts::wallet(db, found.workspace.id).await?;
    audit::record(db.write(), by.event(found.user.id, Action::OperatorRead, json!({}))).await?;
    Ok((found, wallet))
}

/// Whether the person is an operator now.
///
/// # Errors
/// When the database fails.
pub async fn is_operator(db: &Db, user: UserId) -> Result<bool, DbErr> {
    let found = users::Entity::find_by_id(user).one(db.read()).await?;
    Ok(found.is_some_and(|user| user.role == users::Role::Operator && user.erased_at.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_always_the_same_reference() {
        assert_eq!(reference("ticket-7"), reference("ticket-7"));
        assert_ne!(reference("ticket-7"), reference("ticket-8"));
        assert_eq!(reference("").get_version_num(), 8);
    }
}
