//! What apalis sees of a queue: a backend that yields deliveries and never fails.
//!
//! An `Err` from a backend would end the worker and drop its running tasks, so the error type is
//! [`Infallible`]; sources deal with their faults themselves.

use std::{
    convert::Infallible,
    future::Future,
    sync::Arc,
    task::{Context, Poll},
};

use apalis::prelude::{Backend, Task, WorkerContext};
use apalis_core::{
    backend::{BackendConfig, finalize::Ephemeral},
    layers::Identity,
};
use entities::JobHint;
use tokio_util::task::AbortOnDropHandle;

use super::{
    memory::MemoryPool,
    streams::{RedisSource, Ticket},
};

/// One hint in the hands of a worker.
pub(super) struct Delivery {
    hint: JobHint,
    /// What Redis must be told; the embedded queue has forgotten the hint already.
    ticket: Option<Ticket>,
}

impl Delivery {
    /// The hint was handled and must not come again.
    fn done(self) {
        if let Some(ticket) = self.ticket {
            ticket.done();
        }
    }
}

/// Where a worker's hints come from.
pub(super) enum Source {
    Memory(Arc<MemoryPool>),
    Redis(RedisSource),
}

/// The apalis backend over a [`Source`].
pub(super) struct HintBackend {
    source: Source,
}

impl HintBackend {
    pub(super) fn new(source: Source) -> Self {
        Self { source }
    }
}

impl Backend for HintBackend {
    type Task = Task<Delivery>;
    type Error = Infallible;

    fn poll_ready(
        &mut self,
        _cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        match &mut self.source {
            Source::Memory(_) => {}
            Source::Redis(source) => source.start(worker),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _worker: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        let delivery = match &mut self.source {
            Source::Memory(pool) => pool.poll_take(cx).map(|hint| Delivery { hint, ticket: None }),
            Source::Redis(source) => {
                source.poll_take(cx).map(|(hint, ticket)| Delivery { hint, ticket: Some(ticket) })
            }
        };
        delivery.map(|delivery| Some(Ok(Task::new(delivery))))
    }

    fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        _worker: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        match &mut self.source {
            Source::Memory(_) => Poll::Ready(Ok(())),
            Source::Redis(source) => source.poll_close(cx).map(Ok),
        }
    }
}

impl BackendConfig for HintBackend {
    type Args = Delivery;
    type Id = String;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _worker: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

/// Calls `handler` in a task of its own, so that a monitor's workers share all cores and a panic
/// stays inside. A delivery that is dropped before its end was not handled.
pub(super) async fn run<F, Fut>(pool: Arc<str>, delivery: Delivery, handler: F)
where
    F: Fn(JobHint) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let hint = delivery.hint;
    let task = AbortOnDropHandle::new(tokio::spawn(async move { handler(hint).await }));
    match task.await {
        Ok(()) => delivery.done(),
        Err(error) if error.is_panic() => {
            tracing::error!(%pool, job = %hint.job_id, epoch = hint.epoch, %error, "a task panicked");
            delivery.done();
        }
        Err(_stopped_with_the_runtime) => {}
    }
}
