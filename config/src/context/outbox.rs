//! What happens after a commit. All of it may be lost: the sweep pushes again, waiters look again.

use entities::{Db, Effects, JobHint};
use tokio::sync::mpsc;

use super::dispatcher::Dispatcher;
use crate::{
    announce::{Announcement, Announcer},
    clock::Clock,
    queue::Queue,
    settings::Pools,
    telemetry::Metrics,
};

/// Does what effects ask for, in order, in the background. Cheap to clone.
#[derive(Clone)]
pub(super) struct Outbox {
    // Unbounded on purpose: what comes in was committed before, so the database sets the pace.
    messages: mpsc::UnboundedSender<Effects>,
    metrics: Metrics,
    dispatcher: Dispatcher,
}

impl Outbox {
    pub(super) fn start(
        db: Db,
        queue: Queue,
        announcer: Announcer,
        metrics: Metrics,
        clock: Clock,
        most_in_flight: Pools,
    ) -> Self {
        let (messages, inbox) = mpsc::unbounded_channel();
        let dispatcher = Dispatcher::start(db, clock, most_in_flight, messages.downgrade());
        tokio::spawn(run(inbox, queue, announcer));
        Self { messages, metrics, dispatcher }
    }

    pub(super) fn perform(&self, effects: Effects) {
        for end in &effects.finished {
            self.metrics.job_finished(&end.model, end.status.name());
        }
        for (verb, amount) in &effects.credits {
            self.metrics.credits(verb.name(), amount.0);
        }
        self.dispatcher.wake(&effects.dispatch, !effects.only_adds());
        let silent = effects.changed.is_empty()
            && effects.pushes.is_empty()
            && effects.callbacks.is_empty()
            && effects.revoked.is_empty();
        if silent {
            return;
        }
        // The task is gone only when the process ends; the sweep of the next one takes over.
        drop(self.messages.send(effects));
    }
}

async fn run(mut inbox: mpsc::UnboundedReceiver<Effects>, queue: Queue, announcer: Announcer) {
    while let Some(mut effects) = inbox.recv().await {
        // Whatever has gathered goes out together.
        while let Ok(more) = inbox.try_recv() {
            effects.merge(more);
        }
        push(&queue, &effects.pushes).await;
        let jobs = effects
            .changed
            .iter()
            .map(|(id, version)| Announcement::Job { id: *id, version: *version });
        let keys = effects.revoked.iter().map(|id| Announcement::KeyRevoked { id: *id });
        let reports = effects
            .callbacks
            .iter()
            .map(|provider| Announcement::Callback { provider: provider.clone() });
        let messages: Vec<Announcement> = jobs.chain(reports).chain(keys).collect();
        if !messages.is_empty() {
            announcer.announce(&messages).await;
        }
    }
}

async fn push(queue: &Queue, pushes: &[(String, JobHint)]) {
    let mut pools: Vec<&str> = pushes.iter().map(|(pool, _)| pool.as_str()).collect();
    pools.sort_unstable();
    pools.dedup();
    for pool in pools {
        let hints: Vec<JobHint> =
            pushes.iter().filter(|(name, _)| name == pool).map(|(_, hint)| *hint).collect();
        if let Err(error) = queue.push(pool, &hints).await {
            tracing::warn!(pool, hints = hints.len(), %error, "hints were not pushed; the sweep will push them again");
        }
    }
}
