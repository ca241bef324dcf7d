//! People as another service knows them.
//!
//! Stored: `identities`. Who somebody is says the service's own unchanging id alone; an address
//! only helps to find an account at the first sign-in, and only when the service has checked it.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter,
};

use super::{
    people::{AccountError, NewUser, PersonalWorkspace, canonical, personal_workspace},
    recovery::prove,
    sign_up::{Terms, open_account},
};
use crate::{
    Effects, Timestamp,
    audit::{self, Action, Event, Origin},
    ids::{IdentityId, UserId},
    mail::{self, Template},
    tables::{identities, users},
};

/// What a service says about somebody, its signature checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Which service.
    pub provider: String,
    /// Its unchanging id for them.
    pub subject: String,
    /// Their address.
    pub email: Option<String>,
    /// Whether the service has checked that the address is theirs.
    pub email_verified: bool,
    /// A name for people.
    pub name: Option<String>,
}

/// Who somebody with an identity is here.
#[derive(Debug, Clone, PartialEq)]
pub enum Federated {
    /// Somebody with an account; perhaps joined to it just now.
    Account(Box<(PersonalWorkspace, Effects)>),
    /// Nobody yet.
    New,
    /// Nobody yet, and the service has not checked the address.
    Unproven,
}

/// Finds the account of an identity. An account with the same address is joined to it if the
/// service has checked the address; one whose address nobody had proven here is emptied first.
///
/// # Errors
/// See [`AccountError`].
pub async fn find_federated(
    tx: &DatabaseTransaction,
    claims: &Claims,
    origin: &Origin,
    now: Timestamp,
) -> Result<Federated, AccountError> {
    let known = identities::Entity::find()
        .filter(identities::Column::Provider.eq(claims.provider.as_str()))
        .filter(identities::Column::Subject.eq(claims.subject.as_str()))
        .one(tx)
        .await?;
    if let Some(identity) = known
        && let Some(account) = personal_workspace(tx, identity.user_id).await?
    {
        return Ok(Federated::Account(Box::new((account, Effects::default()))));
    }
    let Some(email) = claims.email.as_deref().filter(|_| claims.email_verified) else {
        return Ok(Federated::Unproven);
    };
    let email = canonical(email)?;
    let user = users::Entity::find()
        .filter(users::Column::Email.eq(email.as_str()))
        .filter(users::Column::ErasedAt.is_null())
        .one(tx)
        .await?;
    let Some(mut user) = user else { return Ok(Federated::New) };
    let effects = prove(tx, &mut user, origin, now).await?;
    join(tx, user.id, claims, now).await?;
    audit::record(tx, Event::own(user.id, Action::GoogleLinked, origin, now)).await?;
    mail::enqueue(tx, Some(user.id), Template::GoogleLinked, &email, None, now).await?;
    let account = personal_workspace(tx, user.id).await?;
    let account = account.ok_or_else(|| DbErr::RecordNotFound(user.id.to_string()))?;
    Ok(Federated::Account(Box::new((account, effects))))
}

/// Makes the account of somebody new.
///
/// # Errors
/// See [`AccountError`].
pub async fn sign_up_federated(
    tx: &DatabaseTransaction,
    claims: &Claims,
    terms: Terms<'_>,
    origin: &Origin,
    now: Timestamp,
) -> Result<PersonalWorkspace, AccountError> {
    let email = claims.email.clone().filter(|_| claims.email_verified).unwrap_or_default();
    let new = NewUser {
        email,
        name: claims.name.clone(),
        verified: true,
        password_hash: None,
        dispatch_limit: terms.dispatch_limit,
    };
    let made = open_account(tx, new, terms, now).await?;
    join(tx, made.user.id, claims, now).await?;
    audit::record(tx, Event::own(made.user.id, Action::SignUp, origin, now)).await?;
    audit::record(tx, Event::own(made.user.id, Action::GoogleLinked, origin, now)).await?;
    Ok(made)
}

async fn join(
    tx: &DatabaseTransaction,
    user_id: UserId,
    claims: &Claims,
    now: Timestamp,
) -> Result<(), DbErr> {
    let row = identities::ActiveModel {
        id: Set(IdentityId::generate()),
        provider: Set(claims.provider.clone()),
        subject: Set(claims.subject.clone()),
        user_id: Set(user_id),
        email: Set(claims.email.clone()),
        created_at: Set(now),
    };
    identities::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}
