//! Beginning the end of an account, for its owner and for operators alike.
//!
//! One transaction takes the person out, writes the receipt and notes who did it; the scheduler does
//! the rest. The receipt's token is made here and is stored as a hash only.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entities::{
    Db, Effects,
    accounts::{self, AccountError},
    audit::{self, Acting, Action},
    ids::UserId,
    privacy::{self, AskedBy, EraseError, Proof},
    tables::erasures,
};
use serde_json::json;

use crate::{random, secrets::MasterSecrets};

/// An erasure that has begun.
#[derive(Clone)]
pub struct Begun {
    /// Its receipt.
    pub erasure: erasures::Model,
    /// What opens the receipt; it is shown once.
    pub token: String,
    /// What is to be announced.
    pub effects: Effects,
}

impl Begun {
    /// The path of the receipt, with what opens it.
    #[must_use]
    pub fn place(&self) -> String {
        format!("/v1/erasures/{}?token={}", self.erasure.id, self.token)
    }
}

/// Begins the end of an account.
///
/// # Errors
/// See [`EraseError`]; nothing is changed then.
pub async fn begin(
    db: &Db,
    secrets: &MasterSecrets,
    user_id: UserId,
    asked_by: AskedBy,
    by: &Acting,
) -> Result<Begun, EraseError> {
    let token = URL_SAFE_NO_PAD.encode(random::secret());
    let proof =
        Proof { asked_by, token: token.clone(), mark: &|email| secrets.erased_address(email) };
    let tx = db.begin().await?;
    let begun = privacy::request_erasure(&tx, user_id, &proof, by.at).await?;
    audit::record(&tx, by.event(user_id, Action::AccountDeleted, json!({}))).await?;
    tx.commit().await?;
    Ok(Begun { erasure: begun.erasure, token, effects: begun.effects })
}

/// Begins the end of the account of the person with this address, whom an operator deletes.
///
/// # Errors
/// See [`AccountError`]; nothing is changed then.
pub async fn delete_user(
    db: &Db,
    secrets: &MasterSecrets,
    email: &str,
    by: &Acting,
) -> Result<Begun, AccountError> {
    let user = accounts::find_workspace(db, email).await?.user;
    begin(db, secrets, user.id, AskedBy::Operator, by).await.map_err(|error| match error {
        EraseError::NoAccount => AccountError::NoUser(user.email),
        EraseError::Db(error) => AccountError::Db(error),
    })
}
