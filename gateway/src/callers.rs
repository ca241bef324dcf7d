//! Who a key acts for, remembered for a second, so that a busy client does not ask the database at
//! every request.
//!
//! A key that is revoked is forgotten when that is announced; a lost announcement costs one second.
//! A submit does not rely on this: its own transaction looks whether the key is still in force.

use std::time::Duration;

use config::{announce::Announcement, context::Context};
use entities::{
    accounts::{self, Caller, Credential, KeyInForce, KeySecret},
    ids::ApiKeyId,
};
use futures::StreamExt as _;
use moka::future::Cache;
use tokio_util::sync::CancellationToken;

use crate::{platform, problem::Problem};

/// How long an answer is remembered. Only callers are remembered, never refusals.
const REMEMBERED: Duration = Duration::from_secs(1);

/// How long a revoked key is remembered: longer than any look at the database that could have
/// found it in force.
const REVOKED: Duration = Duration::from_secs(120);

/// The most keys that are remembered.
const MOST: u64 = 100_000;

/// Remembers who keys act for, by their hashes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Callers {
    known: Cache<Vec<u8>, KeyInForce>,
    /// Keys of which we heard that they are revoked, for longer than a look at the database takes:
    /// one that began before must not be remembered after.
    revoked: Cache<ApiKeyId, ()>,
}

impl Callers {
    /// Starts the task that listens for revoked keys; it ends with the token.
    pub(crate) fn start(context: &Context, draining: CancellationToken) -> Self {
        let known = Cache::builder().max_capacity(MOST).time_to_live(REMEMBERED).build();
        let revoked = Cache::builder().max_capacity(MOST).time_to_live(REVOKED).build();
        let callers = Self { known, revoked };
        let (listening, mut announced) = (callers.clone(), platform::announcements(context));
        tokio::spawn(async move {
            let listen = async {
                while let Some(announcement) = announced.next().await {
                    match announcement {
                        Announcement::KeyRevoked { id } => listening.forget(id).await,
                        Announcement::Resync => listening.known.invalidate_all(),
                        Announcement::Job { .. }
                        | Announcement::Waiting { .. }
                        | Announcement::Callback { .. } => {}
                    }
                }
            };
            draining.run_until_cancelled(listen).await;
        });
        callers
    }

    /// Who the key acts for; `None` if it is malformed, unknown, revoked or expired.
    pub(crate) async fn find(
        &self,
        context: &Context,
        secret: &str,
    ) -> Result<Option<Caller>, Problem> {
        let Some(secret) = KeySecret::parse(secret) else { return Ok(None) };
        let hash = secret.hash();
        let now = context.clock.now();
        let key = match self.known.get(&hash).await {
            Some(key) => key,
            None => {
                let found = accounts::authenticate(&context.db, &secret, now).await;
                let Some(key) = found.map_err(Problem::database)? else { return Ok(None) };
                self.known.insert(hash, key).await;
                key
            }
        };
        let revoked = match key.caller.credential {
            Credential::Key(id) => self.revoked.contains_key(&id),
            Credential::Session(_) => false,
        };
        Ok((key.at(now) && !revoked).then_some(key.caller))
    }

    /// Believes nothing any more that is remembered of a revoked key.
    pub(crate) async fn forget(&self, key: ApiKeyId) {
        self.revoked.insert(key, ()).await;
    }
}
