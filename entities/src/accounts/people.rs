//! Making a person with a personal workspace and an empty wallet, and finding them by address.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait,
    QueryFilter, SqlErr,
};

use crate::{
    Credits, Db, Timestamp,
    ids::{UserId, WorkspaceId},
    tables::{users, wallets, workspaces},
};

/// A person to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// In any case; stored in lower case.
    pub email: String,
    /// A name for people.
    pub name: Option<String>,
    /// Whether somebody has vouched for the address: an operator, or a service that checked it.
    pub verified: bool,
    /// Argon2id, in PHC form.
    pub password_hash: Option<String>,
    /// How many of the workspace's jobs may be dispatched at once.
    pub dispatch_limit: i32,
}

impl NewUser {
    /// Somebody whom an operator makes, and so vouches for.
    #[must_use]
    pub fn vouched_for(
        email: impl Into<String>,
        name: Option<String>,
        dispatch_limit: i32,
    ) -> Self {
        Self { email: email.into(), name, verified: true, password_hash: None, dispatch_limit }
    }
}

/// Why an account could not be made or found.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Not an address.
    #[error("{0:?} is not an email address")]
    BadEmail(String),
    /// Somebody has it.
    #[error("there is a user with the address {0} already")]
    EmailTaken(String),
    /// Nobody has it.
    #[error("there is no user with the address {0}")]
    NoUser(String),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbErr),
}

/// A person and the workspace that is theirs alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalWorkspace {
    /// The person.
    pub user: users::Model,
    /// Their workspace.
    pub workspace: workspaces::Model,
}

/// The one spelling of an address under which it is stored.
///
/// # Errors
/// When it is none.
pub fn canonical(email: &str) -> Result<String, AccountError> {
    let text = email.trim().to_lowercase();
    let shape = text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.len() > 2 && !domain.contains('@') && !domain.starts_with('.')
    });
    let strange = |c: char| c.is_whitespace() || c.is_control() || "<>()[]\",;:\\".contains(c);
    let clean = text.len() <= 254 && !text.chars().any(strange);
    if shape && clean { Ok(text) } else { Err(AccountError::BadEmail(email.to_owned())) }
}

/// Makes the person, a personal workspace and its empty wallet, in the caller's transaction.
///
/// # Errors
/// See [`AccountError`].
pub async fn create_user(
    tx: &DatabaseTransaction,
    new: &NewUser,
    now: Timestamp,
) -> Result<PersonalWorkspace, AccountError> {
    let email = canonical(&new.email)?;
    let user = users::ActiveModel {
        id: Set(UserId::generate()),
        email: Set(email.clone()),
        name: Set(new.name.clone()),
        created_at: Set(now),
        email_verified_at: Set(new.verified.then_some(now)),
        password_hash: Set(new.password_hash.clone()),
        role: Set(users::Role::User),
        erased_at: Set(None),
    };
    let user = users::Entity::insert(user).exec_with_returning(tx).await.map_err(|error| {
        match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => AccountError::EmailTaken(email),
            _ => AccountError::Db(error),
        }
    })?;
    let workspace = workspaces::ActiveModel {
        id: Set(WorkspaceId::generate()),
        owner_id: Set(user.id),
        name: Set("personal".to_owned()),
        dispatch_limit: Set(new.dispatch_limit),
        dispatched: Set(0),
        created_at: Set(now),
    };
    let workspace = workspaces::Entity::insert(workspace).exec_with_returning(tx).await?;
    let wallet = wallets::ActiveModel {
        workspace_id: Set(workspace.id),
        available: Set(Credits::ZERO),
        held: Set(Credits::ZERO),
    };
    wallets::Entity::insert(wallet).exec_without_returning(tx).await?;
    Ok(PersonalWorkspace { user, workspace })
}

/// The person with this address, and their personal workspace.
///
/// # Errors
/// See [`AccountError`].
pub async fn find_workspace(db: &Db, email: &str) -> Result<PersonalWorkspace, AccountError> {
    let email = canonical(email)?;
    let user = users::Entity::find()
        .filter(users::Column::Email.eq(email.as_str()))
        .one(db.read())
        .await?
        .ok_or(AccountError::NoUser(email))?;
    let workspace = workspaces::Entity::find()
        .filter(workspaces::Column::OwnerId.eq(user.id))
        .one(db.read())
        .await?
        .ok_or_else(|| DbErr::Custom(format!("{} has no workspace", user.id)))?;
    Ok(PersonalWorkspace { user, workspace })
}

/// A person who was not erased, and their personal workspace.
///
/// # Errors
/// When the database fails.
pub async fn personal_workspace(
    db: &impl ConnectionTrait,
    user_id: UserId,
) -> Result<Option<PersonalWorkspace>, DbErr> {
    let user = users::Entity::find_by_id(user_id).one(db).await?;
    let Some(user) = user.filter(|user| user.erased_at.is_none()) else { return Ok(None) };
    let workspace =
        workspaces::Entity::find().filter(workspaces::Column::OwnerId.eq(user_id)).one(db).await?;
    Ok(workspace.map(|workspace| PersonalWorkspace { user, workspace }))
}

/// The person with this address (in its one spelling) and their workspace, by the same statements
/// whether there is one or not.
///
/// # Errors
/// When the database fails.
pub async fn find_by_email(db: &Db, email: &str) -> Result<Option<PersonalWorkspace>, DbErr> {
    let user = users::Entity::find()
        .filter(users::Column::Email.eq(email))
        .filter(users::Column::ErasedAt.is_null())
        .one(db.read())
        .await?;
    let owner = user.as_ref().map_or(UserId(uuid::Uuid::nil()), |user| user.id);
    let workspace = workspaces::Entity::find()
        .filter(workspaces::Column::OwnerId.eq(owner))
        .one(db.read())
        .await?;
    Ok(user.zip(workspace).map(|(user, workspace)| PersonalWorkspace { user, workspace }))
}

/// The workspace's balances.
///
/// # Errors
/// When the database fails.
pub async fn wallet(db: &Db, workspace_id: WorkspaceId) -> Result<wallets::Model, DbErr> {
    wallets::Entity::find_by_id(workspace_id)
        .one(db.read())
        .await?
        .ok_or_else(|| DbErr::Custom(format!("{workspace_id} has no wallet")))
}
