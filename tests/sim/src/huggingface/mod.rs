//! Hugging Face: the hub that knows who serves a model, the router, and the providers behind it
//! (hf-inference, fal-ai, together, replicate, wavespeed), each with its own API and its own
//! errors. Media lie where no token must be shown.
//!
//! It answers as the contract says: returned addresses are those of the providers themselves, so
//! that whoever follows them takes the token where it does not belong; fal.ai's path is doubled and
//! needs `_subdomain=queue`; a completed call's result can still be an error. Anything that is
//! known to go wrong there can be made to go wrong here by a rule; see [`fault`].

mod admin;
pub mod fault;
mod hub;
mod router;
mod run;

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use self::{fault::Fault, run::Run};
use crate::{
    admin::reporter,
    faults::Rules,
    record::{Entry, Record},
    serve::{self, Door, Server},
};

pub use hub::Shape;

/// The token that it lets in.
pub const TOKEN: &str = "hf_simtoken";

/// How long a call takes, unless a rule says otherwise.
const RUN: Duration = Duration::from_millis(150);

/// Hugging Face. Cheap to clone.
#[derive(Clone)]
pub struct HuggingFace(Arc<Inner>);

struct Inner {
    base: String,
    rules: Rules<Fault>,
    record: Record,
    runs: Mutex<HashMap<String, Arc<Run>>>,
    shape: Mutex<Shape>,
    hub_reads: AtomicUsize,
    /// How often a token was shown to a file server.
    leaks: AtomicUsize,
    /// Calls wait until they are let go.
    held: AtomicBool,
    /// No credits are left.
    locked: AtomicBool,
    /// Reads the files of inputs.
    client: reqwest::Client,
}

/// Starts it on a port (0: any).
///
/// # Errors
/// When the port is taken.
pub async fn start(port: u16) -> io::Result<(HuggingFace, Server)> {
    start_behind(Door::plain(port).await?)
}

/// Starts it behind a door.
///
/// # Errors
/// When no client that reads files can be made.
pub fn start_behind(door: Door) -> io::Result<(HuggingFace, Server)> {
    let hf = HuggingFace(Arc::new(Inner {
        base: door.base().to_owned(),
        rules: Rules::default(),
        record: Record::default(),
        runs: Mutex::default(),
        shape: Mutex::new(Shape::List),
        hub_reads: AtomicUsize::new(0),
        leaks: AtomicUsize::new(0),
        held: AtomicBool::new(false),
        locked: AtomicBool::new(false),
        client: reporter()?,
    }));
    let server = serve::serve(door, router::router(hf.clone()));
    Ok((hf, server))
}

impl HuggingFace {
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

    /// Every call that was accepted, in order.
    #[must_use]
    pub fn accepted(&self) -> Vec<Entry> {
        self.0.record.entries()
    }

    /// How the hub answers.
    pub fn shape(&self, shape: Shape) {
        *self.0.shape.lock().unwrap_or_else(PoisonError::into_inner) = shape;
    }

    /// How often the hub was asked.
    #[must_use]
    pub fn hub_reads(&self) -> usize {
        self.0.hub_reads.load(Ordering::SeqCst)
    }

    /// How often a token was shown to a file server.
    #[must_use]
    pub fn leaks(&self) -> usize {
        self.0.leaks.load(Ordering::SeqCst)
    }

    /// Calls that are accepted from now on wait until [`Self::let_finish`], or no longer do.
    pub fn hold(&self, hold: bool) {
        self.0.held.store(hold, Ordering::SeqCst);
    }

    /// Takes the credits away, or gives them back.
    pub fn lock(&self, lock: bool) {
        self.0.locked.store(lock, Ordering::SeqCst);
    }

    /// Ends every call that can end, and returns when they have ended.
    pub async fn let_finish(&self) {
        let all: Vec<Arc<Run>> = self.runs().values().cloned().collect();
        for run in &all {
            run.release();
        }
        for run in all {
            run.ended().await;
        }
    }

    /// Every result is gone.
    pub fn expire(&self) {
        for run in self.runs().values() {
            run.expire();
        }
    }

    fn is_held(&self) -> bool {
        self.0.held.load(Ordering::SeqCst)
    }

    fn is_locked(&self) -> bool {
        self.0.locked.load(Ordering::SeqCst)
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<String, Arc<Run>>> {
        self.0.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Option<Arc<Run>> {
        self.runs().get(id).cloned()
    }
}
