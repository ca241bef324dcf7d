//! fal.ai's queue: submit, status, result, cancel, media, signed callbacks, and the bill.
//!
//! It answers as the contract says: 202 while a request waits or runs, 200 when it is `COMPLETED`,
//! which is also what a failed one is. Anything that is known to go wrong there can be made to go
//! wrong here by a rule; see [`fault`]. It lets in one key.

mod admin;
pub mod fault;
mod http;
mod request;
mod run;
mod webhook;

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use self::{fault::Fault, request::Request, webhook::Signer};
pub use webhook::TRIES;

use crate::{
    admin::reporter,
    faults::Rules,
    record::{Entry, Record},
    serve::{self, Door, Server},
};

/// The key that it lets in unless told otherwise.
pub const KEY: &str = "sim-id:sim-secret";
/// The account that its callbacks are signed for unless told otherwise.
pub const USER: &str = "user_sim";

/// How long a request waits and runs, unless a rule says otherwise.
const RUN: Duration = Duration::from_millis(150);

/// fal.ai. Cheap to clone.
#[derive(Clone)]
pub struct Fal(Arc<Inner>);

struct Inner {
    base: String,
    key: String,
    user_id: String,
    rules: Rules<Fault>,
    record: Record,
    requests: Mutex<HashMap<String, Arc<Request>>>,
    signer: Mutex<Signer>,
    key_reads: std::sync::atomic::AtomicUsize,
    /// How many requests wait.
    queued: std::sync::atomic::AtomicUsize,
    /// Requests wait until they are let go.
    held: AtomicBool,
    /// The account is locked: nothing is accepted.
    locked: AtomicBool,
    client: reqwest::Client,
}

/// Starts it on a free port.
///
/// # Errors
/// When there is none.
pub async fn start() -> io::Result<(Fal, Server)> {
    start_as(Door::plain(0).await?, KEY, USER)
}

/// Starts it behind a door, with this key and this account.
///
/// # Errors
/// When no key for signatures can be made.
pub fn start_as(door: Door, key: &str, user_id: &str) -> io::Result<(Fal, Server)> {
    let fal = Fal(Arc::new(Inner {
        base: door.base().to_owned(),
        key: key.to_owned(),
        user_id: user_id.to_owned(),
        rules: Rules::default(),
        record: Record::default(),
        requests: Mutex::default(),
        signer: Mutex::new(Signer::new()?),
        key_reads: Default::default(),
        queued: Default::default(),
        held: AtomicBool::new(false),
        locked: AtomicBool::new(false),
        client: reporter()?,
    }));
    let server = serve::serve(door, http::router(fal.clone()));
    Ok((fal, server))
}

impl Fal {
    /// Where it is.
    #[must_use]
    pub fn base(&self) -> String {
        self.0.base.clone()
    }

    /// What shall go wrong.
    #[must_use]
    pub fn rules(&self) -> &Rules<Fault> {
        &self.0.rules
    }

    /// Every request that was accepted, in order.
    #[must_use]
    pub fn accepted(&self) -> Vec<Entry> {
        self.0.record.entries()
    }

    /// Requests that are accepted from now on wait until [`Self::let_finish`], or no longer do.
    pub fn hold(&self, hold: bool) {
        self.0.held.store(hold, Ordering::SeqCst);
    }

    /// Locks the account, or unlocks it.
    pub fn lock(&self, lock: bool) {
        self.0.locked.store(lock, Ordering::SeqCst);
    }

    /// Ends every request that can end, and returns when they have ended.
    pub async fn let_finish(&self) {
        let all: Vec<Arc<Request>> = self.requests().values().cloned().collect();
        for request in &all {
            request.release();
        }
        for request in all {
            request.ended().await;
        }
    }

    /// Ends the requests with these words in their prompt, and returns when they have ended.
    pub async fn finish_one(&self, words: &str) {
        let all: Vec<Arc<Request>> = self.requests().values().cloned().collect();
        for request in all.iter().filter(|request| request.text.contains(words)) {
            request.release();
            request.ended().await;
        }
    }

    /// Every result is gone.
    pub fn expire(&self) {
        for request in self.requests().values() {
            request.expire();
        }
    }

    /// Signs with a new key from now on. `publish_old`: the old one is still published.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn rotate(&self, publish_old: bool) -> io::Result<()> {
        self.signer().rotate(publish_old)
    }

    /// How often the public keys were read.
    #[must_use]
    pub fn key_reads(&self) -> usize {
        self.0.key_reads.load(Ordering::SeqCst)
    }

    /// Delivers the callback of an accepted request again, as it would be signed now.
    ///
    /// # Errors
    /// When there is no such request, or it asked for none.
    pub async fn deliver_again(&self, id: &str) -> io::Result<u16> {
        let request = self.requests().get(id).cloned();
        let request = request.ok_or_else(|| io::Error::other("there is no such request"))?;
        webhook::deliver(self, &request, None).await
    }

    fn requests(&self) -> MutexGuard<'_, HashMap<String, Arc<Request>>> {
        self.0.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Option<Arc<Request>> {
        self.requests().get(id).cloned()
    }

    fn waiting(&self) -> usize {
        self.0.queued.load(Ordering::SeqCst)
    }

    fn signer(&self) -> MutexGuard<'_, Signer> {
        self.0.signer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
