//! One accepted task and where it stands.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::watch;

use crate::media::Media;

/// How a task ended.
#[derive(Debug, Clone)]
pub(super) enum End {
    Success(Vec<Media>),
    Fail { code: String, text: String },
}

pub(super) struct Task {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) input: Value,
    /// The request as it came.
    pub(super) param: String,
    /// What rules look at.
    pub(super) text: String,
    pub(super) callback: Option<String>,
    pub(super) created_ms: i64,
    pub(super) created_at: Instant,
    pub(super) time: Duration,
    pub(super) credits: f64,
    state: Mutex<State>,
    ended: watch::Sender<bool>,
    released: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    end: Option<End>,
    ended_ms: Option<i64>,
    expired: bool,
}

/// What a task is made of.
pub(super) struct New {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) input: Value,
    pub(super) param: String,
    pub(super) callback: Option<String>,
    pub(super) created_ms: i64,
    pub(super) time: Duration,
    pub(super) credits: f64,
    pub(super) held: bool,
}

impl Task {
    pub(super) fn new(new: New) -> Self {
        Self {
            text: new.input["prompt"].as_str().unwrap_or_default().to_owned(),
            id: new.id,
            model: new.model,
            input: new.input,
            param: new.param,
            callback: new.callback,
            created_ms: new.created_ms,
            created_at: Instant::now(),
            time: new.time,
            credits: new.credits,
            state: Mutex::default(),
            ended: watch::Sender::new(false),
            released: watch::Sender::new(!new.held),
        }
    }

    /// The word for how it stands.
    pub(super) fn word(&self) -> &'static str {
        let elapsed = self.created_at.elapsed();
        match self.end() {
            Some(End::Success(_)) => "success",
            Some(End::Fail { .. }) => "fail",
            None if elapsed < self.time / 4 => "waiting",
            None if elapsed < self.time / 2 => "queuing",
            None => "generating",
        }
    }

    pub(super) fn end(&self) -> Option<End> {
        self.state().end.clone()
    }

    pub(super) fn ended_ms(&self) -> Option<i64> {
        self.state().ended_ms
    }

    pub(super) fn media(&self, index: usize) -> Option<Media> {
        match self.end()? {
            End::Success(media) => media.get(index).cloned(),
            End::Fail { .. } => None,
        }
    }

    pub(super) fn finish(&self, end: End, now_ms: i64) {
        let mut state = self.state();
        state.end = Some(end);
        state.ended_ms = Some(now_ms);
        drop(state);
        self.ended.send_replace(true);
    }

    pub(super) fn release(&self) {
        self.released.send_replace(true);
    }

    /// Until it may end.
    pub(super) async fn released(&self) {
        // The sender lives as long as the task.
        drop(self.released.subscribe().wait_for(|released| *released).await);
    }

    /// Until it has ended.
    pub(super) async fn has_ended(&self) {
        drop(self.ended.subscribe().wait_for(|ended| *ended).await);
    }

    pub(super) fn expire(&self) {
        self.state().expired = true;
    }

    pub(super) fn is_expired(&self) -> bool {
        self.state().expired
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
