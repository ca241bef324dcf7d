//! Who a key acts for, remembered for a second, so that a busy client does not ask the database at
//! every request.
//!
//! A key that is revoked is forgotten when that is announced; a lost announcement costs one second.
//! A submit does not rely on this: its own transaction looks whether the key is still in force.

use std::time::Duration;

use config::{announce::Announcement, context::Context};
use entities::{
    accounts::{self, Caller, KeyInForce, KeySecret},
    ids::ApiKeyId,
};
use futures::StreamExt as _;
use moka::future::Cache;
use tokio_util::sync::CancellationToken;

use crate::{platform, problem::Problem};

/// How long an answer is remembered. Only callers are remembered, never refusals.
const REMEMBERED: Duration = Duration::from_secs(1);

/// The most keys that are remembered.
const MOST: u64 = 100_000;

/// Remembers who keys act for, by their hashes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Callers {
    known: Cache<Vec<u8>, KeyInForce>,
}

impl Callers {
    /// Starts the task that listens for revoked keys; it ends with the token.
    pub(crate) fn start(context: &Context, draining: CancellationToken) -> Self {
        let known = Cache::builder()
            .max_capacity(MOST)
            .time_to_live(REMEMBERED)
            .support_invalidation_closures()
            .build();
        let callers = Self { known };
        let (listening, mut announced) = (callers.clone(), platform::announcements(context));
        tokio::spawn(async move {
            let listen = async {
                while let Some(announcement) = announced.next().await {
                    match announcement {
                        Announcement::KeyRevoked { id } => listening.forget(id),
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
        if let Some(key) = self.known.get(&hash).await {
            return Ok(key.at(now).then_some(key.caller));
        }
        let found = accounts::authenticate(&context.db, &secret, now).await;
        let Some(key) = found.map_err(Problem::database)? else { return Ok(None) };
        self.known.insert(hash, key).await;
        Ok(Some(key.caller))
    }

    fn forget(&self, key: ApiKeyId) {
        let forgotten = self
            .known
            .invalidate_entries_if(move |_, known| known.caller.credential.key() == Some(key));
        if let Err(error) = forgotten {
            tracing::warn!(%error, "a revoked key is remembered for another second");
        }
    }
}
