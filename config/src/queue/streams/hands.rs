//! What one worker has in its hands: entries it was given, running or not, not yet removed.
//!
//! An entry stays held until its removal reached Redis, so it is renewed all that time and not
//! taken twice. Held and waiting entries together never exceed the worker's concurrency.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use entities::JobHint;
use futures::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::entry::EntryId;

/// An entry that was delivered but not started.
pub(super) struct Waiting {
    pub(super) id: EntryId,
    pub(super) hint: JobHint,
    pub(super) slot: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Entries {
    held: HashSet<EntryId>,
    waiting: VecDeque<Waiting>,
    /// No entry is started any more.
    stopped: bool,
}

/// The hands of one worker.
pub(super) struct Hands {
    entries: Mutex<Entries>,
    waker: AtomicWaker,
    finished: mpsc::UnboundedSender<EntryId>,
}

impl Hands {
    /// Empty hands; finished entries are sent to `finished`.
    pub(super) fn new(finished: mpsc::UnboundedSender<EntryId>) -> Self {
        Self { entries: Mutex::default(), waker: AtomicWaker::new(), finished }
    }

    /// Takes what was delivered, except what is held already. Each takes one of `slots`.
    pub(super) fn take(
        &self,
        delivered: impl IntoIterator<Item = (EntryId, JobHint)>,
        slots: &mut OwnedSemaphorePermit,
    ) {
        let mut entries = self.lock();
        for (id, hint) in delivered {
            if entries.held.contains(&id) {
                continue;
            }
            // Without a slot it stays pending in Redis and comes back by a claim.
            let Some(slot) = slots.split(1) else { break };
            entries.held.insert(id);
            entries.waiting.push_back(Waiting { id, hint, slot });
        }
        drop(entries);
        self.waker.wake();
    }

    /// The next entry to start.
    pub(super) fn poll_start(self: &Arc<Self>, cx: &Context<'_>) -> Poll<(JobHint, Ticket)> {
        if let Some(started) = self.start() {
            return Poll::Ready(started);
        }
        self.waker.register(cx.waker());
        self.start().map_or(Poll::Pending, Poll::Ready)
    }

    fn start(self: &Arc<Self>) -> Option<(JobHint, Ticket)> {
        let mut entries = self.lock();
        if entries.stopped {
            return None;
        }
        let Waiting { id, hint, slot } = entries.waiting.pop_front()?;
        Some((hint, Ticket { hands: Arc::clone(self), id, done: false, _slot: slot }))
    }

    /// Starts nothing any more and returns what was not started; it stays held.
    pub(super) fn stop(&self) -> Vec<Waiting> {
        let mut entries = self.lock();
        entries.stopped = true;
        entries.waiting.drain(..).collect()
    }

    pub(super) fn is_held(&self, id: EntryId) -> bool {
        self.lock().held.contains(&id)
    }

    pub(super) fn held(&self) -> Vec<EntryId> {
        self.lock().held.iter().copied().collect()
    }

    pub(super) fn forget(&self, ids: &[EntryId]) {
        let mut entries = self.lock();
        for id in ids {
            entries.held.remove(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The claim of a running task on its entry and its slot. Dropped before it is done, it leaves
/// the entry to whoever claims it when the window has passed.
pub(in crate::queue) struct Ticket {
    hands: Arc<Hands>,
    id: EntryId,
    done: bool,
    _slot: OwnedSemaphorePermit,
}

impl Ticket {
    /// The entry was handled: it will be removed.
    pub(in crate::queue) fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // When the keeper is gone, nobody renews the entry either: the window takes over.
        if !self.done || self.hands.finished.send(self.id).is_err() {
            self.hands.forget(&[self.id]);
        }
    }
}
