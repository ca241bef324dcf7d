//! Signing up: first a row that waits, then, when the address is proven, an account.
//!
//! Nothing exists that somebody could prepare for the owner of an address: who signs up with
//! another one's address waits for a proof that never comes.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait,
    QueryFilter,
};

use super::people::{AccountError, NewUser, PersonalWorkspace, canonical, create_user};
use crate::{
    Credits, Timestamp,
    audit::{self, Action, Event, Origin},
    ids::SignUpId,
    ledger::{self, GrantError},
    mail::{self, Template},
    privacy,
    tables::{sign_ups, users},
};

/// How long the link of a sign-up works.
pub const SIGN_UP_LASTS: std::time::Duration = std::time::Duration::from_secs(86_400);

/// Somebody who wants an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSignUp {
    /// In any case.
    pub email: String,
    /// A name for people.
    pub name: Option<String>,
    /// Argon2id, in PHC form.
    pub password_hash: String,
}

/// What every new account gets.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// How many of its jobs may be dispatched at once.
    pub dispatch_limit: i32,
    /// What it is granted, once for each address.
    pub free_credits: Credits,
    /// What an address is remembered by once it had its grant; see [`privacy::first_grant`].
    pub marks: &'a (dyn Fn(&str) -> Vec<[u8; 32]> + Sync),
}

/// Writes down that somebody wants an account, and the mail that asks for the proof. The same
/// statements for every address, whether it has an account or not.
///
/// # Errors
/// See [`AccountError`].
pub async fn ask_sign_up(
    tx: &DatabaseTransaction,
    new: NewSignUp,
    origin: &Origin,
    now: Timestamp,
) -> Result<SignUpId, AccountError> {
    let email = canonical(&new.email)?;
    let id = SignUpId::generate();
    let row = sign_ups::ActiveModel {
        id: Set(id),
        email: Set(email.clone()),
        name: Set(new.name),
        password_hash: Set(new.password_hash),
        address: Set(origin.address.map(|address| address.to_string())),
        browser: Set(origin.browser.clone()),
        created_at: Set(now),
        expires_at: Set(now.after(SIGN_UP_LASTS)),
    };
    sign_ups::Entity::insert(row).exec_without_returning(tx).await?;
    mail::enqueue(tx, None, Template::SignUp, &email, Some(id.0), now).await?;
    Ok(id)
}

/// Makes the account of a sign-up whose address is proven. `None`: the link was used, has expired,
/// or the address has an account by now.
///
/// # Errors
/// See [`AccountError`]; the transaction must then be rolled back.
pub async fn verify_sign_up(
    tx: &DatabaseTransaction,
    id: SignUpId,
    terms: Terms<'_>,
    origin: &Origin,
    now: Timestamp,
) -> Result<Option<PersonalWorkspace>, AccountError> {
    let taken = sign_ups::Entity::delete_many()
        .filter(sign_ups::Column::Id.eq(id))
        .filter(sign_ups::Column::ExpiresAt.gt(now))
        .exec_with_returning(tx)
        .await?;
    let Some(sign_up) = taken.into_iter().next() else { return Ok(None) };
    let known = users::Entity::find()
        .filter(users::Column::Email.eq(sign_up.email.as_str()))
        .one(tx)
        .await?;
    if known.is_some() {
        return Ok(None);
    }
    let new = NewUser {
        email: sign_up.email.clone(),
        name: sign_up.name,
        verified: true,
        password_hash: Some(sign_up.password_hash),
        dispatch_limit: terms.dispatch_limit,
    };
    let made = open_account(tx, new, terms, now).await?;
    let asked = Origin {
        address: sign_up.address.and_then(|address| address.parse().ok()),
        browser: sign_up.browser,
    };
    audit::record(tx, Event::own(made.user.id, Action::SignUp, &asked, now)).await?;
    audit::record(tx, Event::own(made.user.id, Action::EmailVerified, origin, now)).await?;
    Ok(Some(made))
}

/// Makes an account whose address is proven, with its first grant. Other sign-ups with the address
/// are forgotten.
pub(super) async fn open_account(
    tx: &DatabaseTransaction,
    new: NewUser,
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<PersonalWorkspace, AccountError> {
    let made = create_user(tx, &new, now).await?;
    forget_sign_ups(tx, &made.user.email).await?;
    first_grant(tx, &made, terms, now).await?;
    Ok(made)
}

/// Grants a new account its free credits. The one place where it is decided whether an address may
/// have them.
async fn first_grant(
    tx: &DatabaseTransaction,
    made: &PersonalWorkspace,
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<(), AccountError> {
    let amount = terms.free_credits;
    // Who deleted their account and comes again finds nothing, and gets nothing twice.
    if amount <= Credits::ZERO
        || !privacy::first_grant(tx, &(terms.marks)(&made.user.email), now).await?
    {
        return Ok(());
    }
    match ledger::grant(tx, made.workspace.id, amount, "free credits", now).await {
        Ok(_) => Ok(()),
        Err(GrantError::Db(error)) => Err(error.into()),
        Err(error) => Err(DbErr::Custom(error.to_string()).into()),
    }
}

/// Forgets the address's sign-ups.
///
/// # Errors
/// When the database fails.
pub async fn forget_sign_ups(db: &impl ConnectionTrait, email: &str) -> Result<(), DbErr> {
    sign_ups::Entity::delete_many().filter(sign_ups::Column::Email.eq(email)).exec(db).await?;
    Ok(())
}

/// Deletes sign-ups whose time is over; how many it were.
///
/// # Errors
/// When the database fails.
pub async fn delete_old_sign_ups(db: &impl ConnectionTrait, now: Timestamp) -> Result<u64, DbErr> {
    let done = sign_ups::Entity::delete_many()
        .filter(sign_ups::Column::ExpiresAt.lte(now))
        .exec(db)
        .await?;
    Ok(done.rows_affected)
}
