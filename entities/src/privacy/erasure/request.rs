//! The transaction that takes the person out of their own row and shuts every way in.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter,
    sea_query::Expr,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{AskedBy, ErasureState};
use crate::{
    Effects, Timestamp,
    ids::{ApiKeyId, ErasureId, UserId},
    mail::{self, Template},
    tables::{
        api_keys, erasures, identities, mail_tokens, mails, sessions, sign_ups, users, workspaces,
    },
};

/// Why an account cannot be erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// There is none, or none any more.
    #[error("there is no such account")]
    NoAccount,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbErr),
}

/// What comes with a request to erase an account.
pub struct Proof<'a> {
    /// Who asks.
    pub asked_by: AskedBy,
    /// What opens the receipt.
    pub token: String,
    /// The keyed hash of an address.
    pub mark: &'a (dyn Fn(&str) -> [u8; 32] + Sync),
}

/// What is stored of a receipt's token.
#[must_use]
pub fn token_hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// An erasure that has begun.
#[derive(Debug, Clone)]
pub struct Requested {
    /// Its receipt.
    pub erasure: erasures::Model,
    /// What is to be announced.
    pub effects: Effects,
}

/// Begins the end of an account, in the caller's transaction.
///
/// # Errors
/// See [`EraseError`]; nothing is changed then.
pub async fn request_erasure(
    tx: &DatabaseTransaction,
    user_id: UserId,
    proof: &Proof<'_>,
    now: Timestamp,
) -> Result<Requested, EraseError> {
    let user = users::Entity::find_by_id(user_id).one(tx).await?.ok_or(EraseError::NoAccount)?;
    let workspace = workspaces::Entity::find()
        .filter(workspaces::Column::OwnerId.eq(user_id))
        .one(tx)
        .await?
        .ok_or(EraseError::NoAccount)?;
    let mut marks = Vec::new();
    // What waits for an address that they only wanted to have may be for whoever has it.
    forget_address(tx, &user.email).await?;
    for email in addresses(tx, &user).await? {
        marks.extend((proof.mark)(&email));
    }
    let emptied = users::Entity::update_many()
        .set(nobody(now))
        .filter(users::Column::Id.eq(user_id))
        .filter(users::Column::ErasedAt.is_null())
        .exec(tx)
        .await?;
    if emptied.rows_affected != 1 {
        return Err(EraseError::NoAccount);
    }
    let erasure = erasures::ActiveModel {
        id: Set(ErasureId::generate()),
        user_id: Set(user_id),
        workspace_id: Set(workspace.id),
        token_hash: Set(token_hash(&proof.token)),
        address_mark: Set(Some(marks)),
        asked_by: Set(proof.asked_by),
        state: Set(ErasureState::Requested),
        requested_at: Set(now),
        ..Default::default()
    };
    let erasure = erasures::Entity::insert(erasure).exec_with_returning(tx).await?;
    let revoked = revoke_all(tx, user_id, now).await?;
    let effects = Effects { revoked, ..Effects::default() };
    let sessions = sign_out(tx, user_id).await?;
    let gone = Template::AccountDeleted;
    mail::enqueue(tx, Some(user_id), gone, &user.email, None, now).await?;
    erasures::Entity::update_many()
        .col_expr(erasures::Column::Sessions, Expr::value(i64::try_from(sessions).unwrap_or(0)))
        .filter(erasures::Column::Id.eq(erasure.id))
        .exec(tx)
        .await?;
    Ok(Requested { erasure, effects })
}

/// The person's address, and one that they wanted to have instead and that is nobody else's: they were
/// written to there.
async fn addresses(tx: &DatabaseTransaction, user: &users::Model) -> Result<Vec<String>, DbErr> {
    let mut all = vec![user.email.clone()];
    let links = mail_tokens::Entity::find().filter(mail_tokens::Column::UserId.eq(user.id));
    for link in links.all(tx).await? {
        let owner = users::Entity::find().filter(users::Column::Email.eq(link.email.as_str()));
        if !all.contains(&link.email) && owner.one(tx).await?.is_none() {
            all.push(link.email);
        }
    }
    Ok(all)
}

/// What waits for an address without belonging to an account.
async fn forget_address(tx: &DatabaseTransaction, email: &str) -> Result<(), DbErr> {
    sign_ups::Entity::delete_many().filter(sign_ups::Column::Email.eq(email)).exec(tx).await?;
    mails::Entity::delete_many().filter(mails::Column::Recipient.eq(email)).exec(tx).await?;
    Ok(())
}

/// Ends sessions and forgets every other way in; how many sessions it were.
async fn sign_out(tx: &DatabaseTransaction, user_id: UserId) -> Result<u64, DbErr> {
    mails::Entity::delete_many().filter(mails::Column::UserId.eq(user_id)).exec(tx).await?;
    let tokens = mail_tokens::Entity::delete_many();
    tokens.filter(mail_tokens::Column::UserId.eq(user_id)).exec(tx).await?;
    let known = identities::Entity::delete_many();
    known.filter(identities::Column::UserId.eq(user_id)).exec(tx).await?;
    let ended = sessions::Entity::delete_many().filter(sessions::Column::UserId.eq(user_id));
    Ok(ended.exec(tx).await?.rows_affected)
}

/// A row that is nobody. The placeholder is random: nothing leads back from it, and it is unique.
fn nobody(now: Timestamp) -> users::ActiveModel {
    users::ActiveModel {
        email: Set(format!("{}@erased.invalid", Uuid::new_v4().simple())),
        name: Set(None),
        password_hash: Set(None),
        email_verified_at: Set(None),
        role: Set(users::Role::User),
        erased_at: Set(Some(now)),
        ..Default::default()
    }
}

async fn revoke_all(
    tx: &DatabaseTransaction,
    user_id: UserId,
    now: Timestamp,
) -> Result<Vec<ApiKeyId>, DbErr> {
    let revoked = api_keys::Entity::update_many()
        .col_expr(api_keys::Column::RevokedAt, Expr::value(now.0))
        .filter(api_keys::Column::UserId.eq(user_id))
        .filter(api_keys::Column::RevokedAt.is_null())
        .exec_with_returning(tx)
        .await?;
    Ok(revoked.into_iter().map(|key| key.id).collect())
}
