//! What operators do for people who write: a correction, a copy of their data. The end of an account
//! needs secrets and begins in `config::erasure`.

use std::time::Duration;

use sea_orm::{DbErr, EntityTrait};
use serde_json::json;

use crate::{
    Db,
    accounts::{self, AccountError},
    audit::{self, Acting, Action},
    ids::ExportId,
    privacy::{self, ChangeError},
    tables::{exports, users},
};

/// What is to be different; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Correction {
    /// The name, or that there is none.
    pub name: Option<Option<String>>,
    /// The address, which the operator vouches for.
    pub email: Option<String>,
}

/// Why nothing was corrected.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// Nothing is to be different.
    #[error("nothing is to be changed: give a name or an email address")]
    Nothing,
    /// Nobody has the address.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// It cannot be what it is to be.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl From<DbErr> for UpdateError {
    fn from(error: DbErr) -> Self {
        Self::Account(error.into())
    }
}

/// Corrects the name or the address of the person with this address: all of it or nothing. The old
/// address is told of the new one.
///
/// # Errors
/// See [`UpdateError`].
pub async fn update_user(
    db: &Db,
    email: &str,
    correction: Correction,
    by: &Acting,
) -> Result<users::Model, UpdateError> {
    let Correction { name, email: new_email } = correction;
    if name.is_none() && new_email.is_none() {
        return Err(UpdateError::Nothing);
    }
    let id = accounts::find_workspace(db, email).await?.user.id;
    let tx = db.begin().await?;
    if let Some(name) = name {
        privacy::rename(&tx, id, name, by).await?;
    }
    if let Some(new_email) = new_email {
        privacy::set_email(&tx, id, &new_email, by).await?;
    }
    let user = users::Entity::find_by_id(id).one(&tx).await?;
    let user = user.filter(|user| user.erased_at.is_none()).ok_or(ChangeError::NoAccount)?;
    tx.commit().await?;
    Ok(user)
}

/// Asks for a copy of everything about the person with this address; a worker builds it, and it is
/// there for `kept`. One that is on its way already is the answer: that is noted, too, since the
/// operator can read it then.
///
/// # Errors
/// See [`AccountError`].
pub async fn export_user(
    db: &Db,
    email: &str,
    kept: Duration,
    by: &Acting,
) -> Result<exports::Model, AccountError> {
    let owner = accounts::find_workspace(db, email).await?;
    let (user, workspace) = (owner.user.id, owner.workspace.id);
    let tx = db.begin().await?;
    let (export, _) = privacy::request_export(&tx, user, workspace, by.at, kept).await?;
    let event = by.event(user, Action::ExportAsked, json!({"export": export.id}));
    audit::record(&tx, event).await?;
    tx.commit().await?;
    Ok(export)
}

/// An export, whoever asked for it. That somebody looked is noted once there is a file, which is what
/// a look opens.
///
/// # Errors
/// When the database fails.
pub async fn export(db: &Db, id: ExportId, by: &Acting) -> Result<Option<exports::Model>, DbErr> {
    let Some(export) = exports::Entity::find_by_id(id).one(db.read()).await? else {
        return Ok(None);
    };
    if export.key.is_some() {
        let event = by.event(export.user_id, Action::OperatorRead, json!({"export": id}));
        audit::record(db.write(), event).await?;
    }
    Ok(Some(export))
}
