//! One accepted request and where it stands.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::watch;

use super::fault::Failure;
use crate::media::Media;

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Queued,
    Running,
    Completed,
}

/// How it ended.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Output(Value),
    /// The error, and whether the status tells.
    Error(Failure, bool),
}

pub(super) struct Request {
    pub(super) id: String,
    /// `owner/app/path`, as it was submitted to.
    pub(super) model: String,
    pub(super) input: Value,
    /// What rules look at.
    pub(super) text: String,
    pub(super) callback: Option<String>,
    pub(super) start_timeout: Option<Duration>,
    pub(super) accepted_at: Instant,
    state: Mutex<State>,
    stage: watch::Sender<Stage>,
    released: watch::Sender<bool>,
    cancel: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    outcome: Option<Outcome>,
    media: Vec<Media>,
    units: f64,
    expired: bool,
}

/// What a request is made of.
pub(super) struct New {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) input: Value,
    pub(super) callback: Option<String>,
    pub(super) start_timeout: Option<Duration>,
    pub(super) held: bool,
}

impl Request {
    pub(super) fn new(new: New) -> Self {
        Self {
            text: new.input["prompt"].as_str().unwrap_or_default().to_owned(),
            id: new.id,
            model: new.model,
            input: new.input,
            callback: new.callback,
            start_timeout: new.start_timeout,
            accepted_at: Instant::now(),
            state: Mutex::default(),
            stage: watch::Sender::new(Stage::Queued),
            released: watch::Sender::new(!new.held),
            cancel: watch::Sender::new(false),
        }
    }

    pub(super) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    pub(super) fn start(&self) {
        self.stage.send_replace(Stage::Running);
    }

    pub(super) fn release(&self) {
        self.released.send_replace(true);
    }

    /// Until it may end.
    pub(super) async fn released(&self) {
        let mut released = self.released.subscribe();
        // The sender lives as long as the request.
        drop(released.wait_for(|released| *released).await);
    }

    /// Until it has ended.
    pub(super) async fn ended(&self) {
        let mut stage = self.stage.subscribe();
        drop(stage.wait_for(|stage| *stage == Stage::Completed).await);
    }

    /// Ends it, once. `false`: it had ended before.
    pub(super) fn end(&self, outcome: Outcome, media: Vec<Media>, units: f64) -> bool {
        let mut state = self.state();
        if state.outcome.is_some() {
            return false;
        }
        state.outcome = Some(outcome);
        state.media = media;
        state.units = units;
        drop(state);
        self.stage.send_replace(Stage::Completed);
        true
    }

    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.state().outcome.clone()
    }

    pub(super) fn media(&self, index: usize) -> Option<Media> {
        self.state().media.get(index).cloned()
    }

    pub(super) fn units(&self) -> f64 {
        self.state().units
    }

    pub(super) fn expire(&self) {
        self.state().expired = true;
    }

    /// Its words and files are deleted.
    pub(super) fn forget(&self) -> usize {
        let mut state = self.state();
        state.expired = true;
        std::mem::take(&mut state.media).len()
    }

    pub(super) fn is_expired(&self) -> bool {
        self.state().expired
    }

    pub(super) fn ask_to_cancel(&self) {
        self.cancel.send_replace(true);
        self.release();
    }

    pub(super) fn is_to_be_canceled(&self) -> bool {
        *self.cancel.borrow()
    }

    /// Until it is to be canceled.
    pub(super) async fn to_be_canceled(&self) {
        // The sender lives as long as the request.
        drop(self.cancel.subscribe().wait_for(|cancel| *cancel).await);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
