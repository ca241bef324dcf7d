//! When each API key was last used, without a write per request: uses are gathered in memory and
//! written together every few seconds and when the process stops.
//!
//! Stored: `api_keys.last_used_at`. A crash loses the last few seconds of it, nothing else.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use config::context::Context;
use entities::{accounts, ids::ApiKeyId};

/// How often uses are written.
const EVERY: Duration = Duration::from_secs(10);

/// Keys used since the last write. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastUse {
    used: Arc<Mutex<HashSet<ApiKeyId>>>,
}

impl LastUse {
    /// Starts the task that writes; it ends, after a last write, when the process closes.
    pub(crate) fn start(context: &Context) -> Self {
        let uses = Self::default();
        let (writing, context) = (uses.clone(), context.clone());
        let closing = context.shutdown.wait();
        context.shutdown.clone().spawn(async move {
            tokio::pin!(closing);
            loop {
                let last = tokio::select! {
                    () = &mut closing => true,
                    () = tokio::time::sleep(EVERY) => false,
                };
                writing.write(&context).await;
                if last {
                    return;
                }
            }
        });
        uses
    }

    /// Remembers that a key was used just now.
    pub(crate) fn note(&self, key: ApiKeyId) {
        // No panic can happen while it is held.
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    async fn write(&self, context: &Context) {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let keys: Vec<ApiKeyId> = used.into_iter().collect();
        let noted = accounts::note_use(context.db.write(), &keys, context.clock.now()).await;
        if let Err(error) = noted {
            tracing::warn!(%error, keys = keys.len(), "when keys were last used was not written");
        }
    }
}
