//! A worker's side of the queue on Redis: it starts the reader and the keeper when apalis first
//! polls, and ends them when apalis closes or drops it.

use std::{
    pin::Pin,
    sync::{Arc, atomic::AtomicI64},
    task::{Context, Poll},
    time::Duration,
};

use apalis::prelude::WorkerContext;
use entities::JobHint;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    RedisQueue,
    entry::Keys,
    hands::{Hands, Ticket},
    keeper, reader,
};
use crate::queue::link::Link;

/// What the reader and the keeper of one worker share.
pub(super) struct Worker {
    pub(super) link: Link,
    pub(super) keys: Keys,
    pub(super) pool: String,
    /// The name in the consumer group; never used twice, so that a dead worker's name is dead.
    pub(super) consumer: String,
    pub(super) window: Duration,
    pub(super) hands: Arc<Hands>,
    pub(super) slots: Arc<Semaphore>,
    /// Nothing new is started.
    pub(super) stop: CancellationToken,
    /// The reader's connection as Redis knows it, to interrupt a blocking read.
    pub(super) client_id: AtomicI64,
}

enum State {
    Created { worker: Arc<Worker>, finished: mpsc::UnboundedReceiver<super::entry::EntryId> },
    Running { worker: Arc<Worker>, keeper: AbortOnDropHandle<()>, closing: CancellationToken },
    Closed,
}

/// The deliveries of one worker.
pub(in crate::queue) struct RedisSource {
    state: State,
}

impl RedisSource {
    pub(in crate::queue) fn new(queue: &RedisQueue, pool: &str, concurrency: usize) -> Self {
        let (sender, finished) = mpsc::unbounded_channel();
        let worker = Arc::new(Worker {
            link: queue.link.clone(),
            keys: Keys::new(&queue.prefix, pool),
            pool: pool.to_owned(),
            consumer: uuid::Uuid::new_v4().simple().to_string(),
            window: queue.claim_window,
            hands: Arc::new(Hands::new(sender)),
            slots: Arc::new(Semaphore::new(concurrency)),
            stop: CancellationToken::new(),
            client_id: AtomicI64::new(0),
        });
        Self { state: State::Created { worker, finished } }
    }

    /// Starts to read, once. apalis builds a worker before its monitor runs, so not before this.
    pub(in crate::queue) fn start(&mut self, context: &WorkerContext) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Created { worker, finished } => {
                let closing = CancellationToken::new();
                let reader = AbortOnDropHandle::new(tokio::spawn(reader::run(Arc::clone(&worker))));
                let keeper = AbortOnDropHandle::new(tokio::spawn(keeper::run(
                    Arc::clone(&worker),
                    finished,
                    reader,
                    context.clone(),
                    closing.clone(),
                )));
                self.state = State::Running { worker, keeper, closing };
            }
            other => self.state = other,
        }
    }

    pub(in crate::queue) fn poll_take(&mut self, cx: &Context<'_>) -> Poll<(JobHint, Ticket)> {
        match &self.state {
            State::Running { worker, .. } => worker.hands.poll_start(cx),
            State::Created { .. } | State::Closed => Poll::Pending,
        }
    }

    /// Gives back what was not started and removes what was finished.
    pub(in crate::queue) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let State::Running { keeper, closing, .. } = &mut self.state {
            closing.cancel();
            if Pin::new(keeper).poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        self.state = State::Closed;
        Poll::Ready(())
    }
}
