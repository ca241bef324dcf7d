//! kie.ai's market API: create a task, look at it, media, callbacks, and the bill.
//!
//! It answers as the contract says: errors come with HTTP 200 or with their own status, `resultJson`
//! is a text of JSON, more than 20 new tasks within 10 seconds are refused and not queued, so are
//! more than 10 looks a second, and a client that does not say who it is meets the gateway in
//! front. Anything that is known to go wrong there can be made to go wrong here by a rule; see
//! [`fault`]. It lets in one key.

mod admin;
mod callback;
pub mod fault;
mod http;
mod run;
mod task;
mod upload;

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use self::{fault::Fault, task::Task, upload::Upload};
pub use callback::{TRIES, signed};

use crate::{
    admin::reporter,
    faults::Rules,
    record::{Entry, Record},
    serve::{self, Door, Server},
};

/// The key that it lets in.
pub const KEY: &str = "kie-sim-key";
/// The key that callbacks are signed with, where they are.
pub const WEBHOOK_KEY: &str = "kie-sim-webhook-key";

/// How long a task takes, unless a rule says otherwise.
const RUN: Duration = Duration::from_millis(150);
/// New tasks within ten seconds.
const BURST: usize = 20;
/// Looks within a second.
const LOOKS: usize = 10;

/// kie.ai. Cheap to clone.
#[derive(Clone)]
pub struct Kie(Arc<Inner>);

struct Inner {
    base: String,
    rules: Rules<Fault>,
    record: Record,
    tasks: Mutex<HashMap<String, Arc<Task>>>,
    created: Mutex<VecDeque<Instant>>,
    looks: Mutex<VecDeque<Instant>>,
    /// When each call that was to create a task came, whatever came of it.
    creates: Mutex<Vec<Instant>>,
    /// How often a limit was broken.
    refused: AtomicUsize,
    /// Tasks wait until they are let go.
    held: AtomicBool,
    /// The account has no credits.
    locked: AtomicBool,
    /// What stands in front lets nobody in.
    blocked: AtomicBool,
    /// Callbacks carry a signature.
    signed: AtomicBool,
    /// Files that were put here for inputs, by their place.
    uploads: Mutex<HashMap<String, Upload>>,
    client: reqwest::Client,
}

/// Starts it on a port (0: any).
///
/// # Errors
/// When the port is taken.
pub async fn start(port: u16) -> io::Result<(Kie, Server)> {
    start_behind(Door::plain(port).await?)
}

/// Starts it behind a door.
///
/// # Errors
/// When no client for callbacks can be made.
pub fn start_behind(door: Door) -> io::Result<(Kie, Server)> {
    let kie = Kie(Arc::new(Inner {
        base: door.base().to_owned(),
        rules: Rules::default(),
        record: Record::default(),
        tasks: Mutex::default(),
        created: Mutex::default(),
        looks: Mutex::default(),
        creates: Mutex::default(),
        refused: AtomicUsize::new(0),
        held: AtomicBool::new(false),
        locked: AtomicBool::new(false),
        blocked: AtomicBool::new(false),
        signed: AtomicBool::new(false),
        uploads: Mutex::default(),
        client: reporter()?,
    }));
    let server = serve::serve(door, http::router(kie.clone()));
    Ok((kie, server))
}

impl Kie {
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

    /// Every task that was accepted, in order.
    #[must_use]
    pub fn accepted(&self) -> Vec<Entry> {
        self.0.record.entries()
    }

    /// When each call that was to create a task came, accepted or not.
    #[must_use]
    pub fn creates(&self) -> Vec<Instant> {
        self.0.creates.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many calls broke one of its limits.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.0.refused.load(Ordering::SeqCst)
    }

    /// Tasks that are accepted from now on wait until [`Self::let_finish`], or no longer do.
    pub fn hold(&self, hold: bool) {
        self.0.held.store(hold, Ordering::SeqCst);
    }

    /// Takes the account's credits away, or gives them back.
    pub fn lock(&self, lock: bool) {
        self.0.locked.store(lock, Ordering::SeqCst);
    }

    /// How many files were put here for inputs.
    #[must_use]
    pub fn uploaded(&self) -> usize {
        self.uploads().len()
    }

    /// What stands in front of it takes every client for one that does not say who it is, or no
    /// longer does.
    pub fn block(&self, block: bool) {
        self.0.blocked.store(block, Ordering::SeqCst);
    }

    /// Signs callbacks with [`WEBHOOK_KEY`], or does not.
    pub fn sign(&self, sign: bool) {
        self.0.signed.store(sign, Ordering::SeqCst);
    }

    /// Ends every task that can end, and returns when they have ended.
    pub async fn let_finish(&self) {
        let all: Vec<Arc<Task>> = self.tasks().values().cloned().collect();
        for task in &all {
            task.release();
        }
        for task in all {
            task.has_ended().await;
        }
    }

    /// Every result is gone.
    pub fn expire(&self) {
        for task in self.tasks().values() {
            task.expire();
        }
    }

    /// A task's callback as it would be sent now: headers by name, and the body.
    #[must_use]
    pub fn callback_of(&self, id: &str) -> Option<(Vec<(String, String)>, String)> {
        let task = self.find(id)?;
        Some(callback::made(self, &task, None))
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<String, Arc<Task>>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn uploads(&self) -> MutexGuard<'_, HashMap<String, Upload>> {
        self.0.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Option<Arc<Task>> {
        self.tasks().get(id).cloned()
    }

    /// Whether a new task is one too many.
    fn too_many_tasks(&self) -> bool {
        self.too_many(&self.0.created, BURST, Duration::from_secs(10))
    }

    /// Whether a look is one too many.
    fn too_many_looks(&self) -> bool {
        self.too_many(&self.0.looks, LOOKS, Duration::from_secs(1))
    }

    fn too_many(&self, times: &Mutex<VecDeque<Instant>>, most: usize, per: Duration) -> bool {
        let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while times.front().is_some_and(|first| now.duration_since(*first) >= per) {
            times.pop_front();
        }
        if times.len() >= most {
            self.0.refused.fetch_add(1, Ordering::SeqCst);
            return true;
        }
        times.push_back(now);
        false
    }
}

#[expect(clippy::disallowed_methods, reason = "an outside service has a clock of its own")]
fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
