//! API keys: `tt_live_`, 160 random bits in 32 characters, and a checksum of 7 that tells a typo
//! from a wrong key without asking the database. Only the SHA-256 of a key is stored: with that
//! many random bits nothing slower is needed.

use std::fmt;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, DeriveActiveEnum, EntityTrait, EnumIter,
    QueryFilter, sea_query::Expr,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::caller::{Caller, Credential, Scopes};
use crate::{
    Credits, Db, Effects, Timestamp,
    ids::{ApiKeyId, UserId, WorkspaceId},
    tables::api_keys,
};

const PREFIX: &str = "tt_live_";
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const RANDOM_CHARS: usize = 32;
const CHECK_CHARS: usize = 7;

/// How long a spending limit counts before it begins again, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum SpendPeriod {
    /// A day.
    Day,
    /// A calendar month.
    Month,
}

/// The most that a key may hold or spend in one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpendingLimit {
    /// How much.
    pub credits: Credits,
    /// In which time.
    pub per: SpendPeriod,
}

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Whose it is.
    pub user_id: UserId,
    /// What it acts for.
    pub workspace_id: WorkspaceId,
    /// A name for people.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it stops working, if it does by itself.
    pub expires_at: Option<Timestamp>,
    /// What it may spend, if that is limited.
    pub spending_limit: Option<SpendingLimit>,
}

/// A key that works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyInForce {
    /// Who it acts for.
    pub caller: Caller,
    /// When it stops working, if it does by itself.
    pub expires_at: Option<Timestamp>,
}

impl KeyInForce {
    /// Whether it works at this time.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// The secret of a key. Shown once; never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret(String);

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(…)")
    }
}

impl KeySecret {
    /// A secret from 32 random bytes, of which 5 bits each are used.
    #[must_use]
    pub fn from_random(random: [u8; RANDOM_CHARS]) -> Self {
        let mut text = String::from(PREFIX);
        text.extend(random.map(|byte| char::from(ALPHABET[usize::from(byte % 32)])));
        text.push_str(&checksum(&text));
        Self(text)
    }

    /// The text, if it has the form of a key and its checksum fits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != PREFIX.len() + RANDOM_CHARS + CHECK_CHARS || !text.is_ascii() {
            return None;
        }
        let (body, check) = text.split_at(PREFIX.len() + RANDOM_CHARS);
        let fits = body.starts_with(PREFIX) && checksum(body) == check;
        fits.then(|| Self(text.to_owned()))
    }

    /// The secret itself, to be shown to its owner.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.0.as_bytes()).to_vec()
    }

    fn hint(&self) -> String {
        self.0[self.0.len() - 4..].to_owned()
    }
}

/// CRC-32 in base 32.
fn checksum(text: &str) -> String {
    let crc = crc32fast::hash(text.as_bytes());
    (0..CHECK_CHARS)
        .map(|n| char::from(ALPHABET[usize::try_from((crc >> (5 * n)) & 31).unwrap_or(0)]))
        .collect()
}

/// Stores a new key.
///
/// # Errors
/// When the database fails.
pub async fn create_key(
    db: &impl ConnectionTrait,
    new: NewKey,
    secret: &KeySecret,
    now: Timestamp,
) -> Result<api_keys::Model, DbErr> {
    let key = api_keys::ActiveModel {
        id: Set(ApiKeyId::generate()),
        workspace_id: Set(new.workspace_id),
        user_id: Set(new.user_id),
        name: Set(new.name),
        hint: Set(secret.hint()),
        hash: Set(secret.hash()),
        created_at: Set(now),
        last_used_at: Set(None),
        revoked_at: Set(None),
        scopes: Set(new.scopes),
        expires_at: Set(new.expires_at),
        spend_limit: Set(new.spending_limit.map(|limit| limit.credits)),
        spend_period: Set(new.spending_limit.map(|limit| limit.per)),
    };
    api_keys::Entity::insert(key).exec_with_returning(db).await
}

/// The key of this secret; `None` if it is unknown, revoked or expired.
///
/// # Errors
/// When the database fails.
pub async fn authenticate(
    db: &Db,
    secret: &KeySecret,
    now: Timestamp,
) -> Result<Option<KeyInForce>, DbErr> {
    let key = api_keys::Entity::find()
        .filter(api_keys::Column::Hash.eq(secret.hash()))
        .filter(api_keys::Column::RevokedAt.is_null())
        .one(db.read())
        .await?;
    let key = key.map(|key| KeyInForce {
        caller: Caller {
            credential: Credential::Key(key.id),
            user_id: key.user_id,
            workspace_id: key.workspace_id,
            scopes: key.scopes,
        },
        expires_at: key.expires_at,
    });
    Ok(key.filter(|key| key.at(now)))
}

/// Notes when keys were last used; called now and then with what has gathered since.
///
/// # Errors
/// When the database fails.
pub async fn note_use(
    db: &impl ConnectionTrait,
    keys: &[ApiKeyId],
    now: Timestamp,
) -> Result<(), DbErr> {
    if keys.is_empty() {
        return Ok(());
    }
    api_keys::Entity::update_many()
        .col_expr(api_keys::Column::LastUsedAt, Expr::value(now.0))
        .filter(api_keys::Column::Id.is_in(keys.iter().copied()))
        .exec(db)
        .await?;
    Ok(())
}

/// Revokes the workspace's key. `None`: it has no such key, or not any more.
///
/// # Errors
/// When the database fails.
pub async fn revoke_key(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    key_id: ApiKeyId,
    now: Timestamp,
) -> Result<Option<Effects>, DbErr> {
    let revoked = api_keys::Entity::update_many()
        .col_expr(api_keys::Column::RevokedAt, Expr::value(now.0))
        .filter(api_keys::Column::Id.eq(key_id))
        .filter(api_keys::Column::WorkspaceId.eq(workspace_id))
        .filter(api_keys::Column::RevokedAt.is_null())
        .exec(db)
        .await?;
    let effects = Effects { revoked: vec![key_id], ..Effects::default() };
    Ok((revoked.rows_affected == 1).then_some(effects))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_a_typo_does_not() {
        let secret = KeySecret::from_random(std::array::from_fn(|n| u8::try_from(n * 7).unwrap()));
        assert!(secret.expose().starts_with("tt_live_"));
        assert_eq!(KeySecret::parse(secret.expose()), Some(secret.clone()));
        for place in PREFIX.len()..secret.expose().len() {
            let mut typo = secret.expose().to_owned().into_bytes();
            typo[place] = if typo[place] == b'0' { b'1' } else { b'0' };
            assert_eq!(KeySecret::parse(std::str::from_utf8(&typo).unwrap()), None, "{place}");
        }
        for text in ["", "tt_live_", "Bearer", "tt_live_ünïcödé", &secret.expose().to_uppercase()]
        {
            assert_eq!(KeySecret::parse(text), None);
        }
        assert_eq!(format!("{secret:?}"), "KeySecret(…)");
    }
}
