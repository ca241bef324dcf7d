//! The keeper of one worker: removes what was handled, renews what is in hand, tidies up at the end.
//!
//! Removals are collected while the last batch is on its way, and repeated until they succeed. On
//! stop, what was delivered but not started goes back to the stream; what runs may finish. If
//! Redis is away at the very end, what is left is claimed by others after the claim window.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use apalis::prelude::WorkerContext;
use entities::JobHint;
use redis::Value;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    entry::{self, Content, EntryId, GROUP},
    reader::{REAP, millis},
    source::Worker,
};
use crate::queue::QueueError;

/// How long Redis may take for one request.
const LIMIT: Duration = Duration::from_secs(5);
/// How long the last words may take altogether.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Between the last attempts to remove what could not be removed.
const RETRY: Duration = Duration::from_millis(200);
/// apalis tells a backend of a stop only when all tasks have ended, so the keeper looks itself.
const LOOK_FOR_STOP: Duration = Duration::from_millis(100);
/// Ids in one request.
const BATCH: usize = 1000;

struct Keeper {
    worker: Arc<Worker>,
    finished: UnboundedReceiver<EntryId>,
    unremoved: Vec<EntryId>,
    reader: Option<AbortOnDropHandle<()>>,
}

/// Serves one worker until `closing`, then says its last words.
pub(super) async fn run(
    worker: Arc<Worker>,
    finished: UnboundedReceiver<EntryId>,
    reader: AbortOnDropHandle<()>,
    context: WorkerContext,
    closing: CancellationToken,
) {
    let mut renewal = interval(worker.window / 3);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = interval(LOOK_FOR_STOP);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut keeper = Keeper { worker, finished, unremoved: Vec::new(), reader: Some(reader) };
    loop {
        tokio::select! {
            () = closing.cancelled() => break,
            _ = keeper.finished.recv_many(&mut keeper.unremoved, BATCH) => {}
            _ = renewal.tick() => keeper.renew().await,
            // What could not be removed is tried again then, too.
            _ = look.tick() => {
                if context.is_shutting_down() {
                    keeper.give_back().await;
                }
            }
        }
        keeper.remove_finished().await;
    }
    let deadline = Instant::now() + LAST_WORDS;
    if timeout_at(deadline, keeper.last_words()).await.is_err() {
        tracing::warn!(pool = %keeper.worker.pool, "Redis did not hear a worker's last words; its hints come again");
    }
}

impl Keeper {
    async fn remove_finished(&mut self) {
        while !self.unremoved.is_empty() {
            let batch = self.unremoved.len().min(BATCH);
            let ids = &self.unremoved[self.unremoved.len() - batch..];
            let mut pipeline = redis::pipe();
            pipeline.atomic();
            entry::remove(&mut pipeline, &self.worker.keys.stream, ids);
            if let Err(error) = self.worker.link.query::<Value>(&pipeline, LIMIT).await {
                tracing::debug!(%error, "finished hints are not removed yet");
                return;
            }
            self.worker.hands.forget(ids);
            self.unremoved.truncate(self.unremoved.len() - batch);
        }
    }

    /// Tells Redis that what we hold is alive, so that the window need not fit the longest task.
    async fn renew(&self) {
        let held = self.worker.hands.held();
        for ids in held.chunks(BATCH) {
            let mut pipeline = redis::pipe();
            let claim = pipeline.cmd("XCLAIM").arg(&self.worker.keys.stream).arg(GROUP);
            claim.arg(&self.worker.consumer).arg(0).arg(ids).arg("JUSTID");
            if let Err(error) = self.worker.link.query::<Value>(&pipeline, LIMIT).await {
                tracing::debug!(%error, "held hints were not renewed");
            }
        }
    }

    /// Stops the reader and gives back what was delivered but not started.
    async fn give_back(&mut self) {
        let Some(reader) = self.reader.take() else { return };
        self.worker.stop.cancel();
        let mut waiting = self.worker.hands.stop();
        self.interrupt(reader).await;
        waiting.extend(self.worker.hands.stop());
        let mut entries: Vec<(EntryId, JobHint)> =
            waiting.iter().map(|waiting| (waiting.id, waiting.hint)).collect();
        entries.extend(self.undelivered().await.unwrap_or_default());
        if entries.is_empty() {
            return;
        }
        let stream = &self.worker.keys.stream;
        let ids: Vec<EntryId> = entries.iter().map(|(id, _)| *id).collect();
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for (_, hint) in &entries {
            entry::add(&mut pipeline, stream, hint);
        }
        entry::remove(&mut pipeline, stream, &ids);
        if let Err(error) = self.worker.link.query::<Value>(&pipeline, LIMIT).await {
            tracing::warn!(%error, hints = ids.len(), "hints were not given back; they are claimed after the window");
        }
        self.worker.hands.forget(&ids);
    }

    /// Ends the reader: Redis is asked to end its blocking read, so that nothing is delivered to
    /// a connection that is about to close.
    async fn interrupt(&self, mut reader: AbortOnDropHandle<()>) {
        let deadline = Instant::now() + LIMIT / 2;
        while Instant::now() < deadline {
            let mut pipeline = redis::pipe();
            pipeline
                .cmd("CLIENT")
                .arg("UNBLOCK")
                .arg(self.worker.client_id.load(Ordering::Relaxed));
            let asked = self.worker.link.query::<Value>(&pipeline, LIMIT / 2).await;
            tokio::select! {
                _ = &mut reader => return,
                // It may have been between two reads.
                () = sleep(LOOK_FOR_STOP / 5) => {}
            }
            if matches!(asked, Err(QueueError::Away)) {
                return;
            }
        }
    }

    /// What Redis believes we have although it never arrived.
    async fn undelivered(&self) -> Option<Vec<(EntryId, JobHint)>> {
        let worker = &self.worker;
        let count = worker.hands.held().len() + BATCH;
        let mut pipeline = redis::pipe();
        pipeline.add_command(entry::read(&worker.keys.stream, &worker.consumer, count, None, "0"));
        let (reply,) = worker.link.query::<(Value,)>(&pipeline, LIMIT).await.ok()?;
        let entries = entry::read_reply(reply).ok()?;
        let lost = entries.into_iter().filter(|raw| !worker.hands.is_held(raw.id));
        let hints = lost.filter_map(|raw| match raw.content() {
            Content::Hint(hint) => Some((raw.id, hint)),
            Content::OtherVersion(_) | Content::Unreadable => None,
        });
        Some(hints.collect())
    }

    async fn last_words(&mut self) {
        self.give_back().await;
        while let Ok(id) = self.finished.try_recv() {
            self.unremoved.push(id);
        }
        loop {
            self.remove_finished().await;
            if self.unremoved.is_empty() {
                break;
            }
            sleep(RETRY).await;
        }
        let worker = &self.worker;
        let mut pipeline = redis::pipe();
        let script = pipeline.cmd("EVAL").arg(REAP).arg(1).arg(&worker.keys.stream).arg(GROUP);
        script.arg(&worker.consumer).arg(millis(worker.window * 4));
        if let Err(error) = worker.link.query::<Value>(&pipeline, LIMIT).await {
            tracing::debug!(%error, "the consumer was not removed");
        }
    }
}
