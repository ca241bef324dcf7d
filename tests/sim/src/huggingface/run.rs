//! One accepted call: it runs, ends, and is billed.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::sync::watch;

use super::{
    HuggingFace, RUN,
    fault::{Fault, RunFault},
    hub::is_video,
};
use crate::{
    input::{self, Unreadable},
    media::{self, Media},
    record::Entry,
};

/// How a call stands.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    Running,
    Done { media: Media, black: bool },
    Failed(String),
}

/// How a failure for a file that was not read begins.
pub(super) const UNREAD: &str = "Failed to load the input.";

pub(super) struct Run {
    pub(super) id: String,
    model: String,
    input: Value,
    /// What rules look at.
    pub(super) text: String,
    /// Where fal.ai's queue answers about it: `/owner/app/requests/id`.
    pub(super) path: String,
    video: bool,
    stage: watch::Sender<Stage>,
    released: watch::Sender<bool>,
    expired: Mutex<bool>,
}

impl Run {
    /// Accepts a call, and starts it.
    pub(super) fn start(
        hf: &HuggingFace,
        model: &str,
        input: &Value,
        authorization: String,
    ) -> Arc<Self> {
        let text = input["prompt"].as_str().unwrap_or_default().to_owned();
        let id = uuid::Uuid::new_v4().to_string();
        let app: Vec<&str> = model.split('/').take(2).collect();
        let run = Arc::new(Self {
            path: format!("/{}/requests/{id}", app.join("/")),
            id: id.clone(),
            model: model.to_owned(),
            input: input.clone(),
            text,
            video: is_video(model),
            stage: watch::Sender::new(Stage::Running),
            released: watch::Sender::new(!hf.is_held()),
            expired: Mutex::new(false),
        });
        hf.0.record.accept(Entry {
            id: id.clone(),
            model: model.to_owned(),
            input: input.clone(),
            files: Vec::new(),
            authorization,
            callback: None,
            ended: None,
            ended_at: None,
            billed_units: 0.0,
            deliveries: Vec::new(),
        });
        hf.runs().insert(id, Arc::clone(&run));
        tokio::spawn(go(hf.clone(), Arc::clone(&run)));
        run
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage.borrow().clone()
    }

    pub(super) fn media(&self) -> Option<Media> {
        match self.stage() {
            Stage::Done { media, .. } if !*self.expired() => Some(media),
            _ => None,
        }
    }

    pub(super) fn release(&self) {
        self.released.send_replace(true);
    }

    /// Until it has ended.
    pub(super) async fn ended(&self) {
        let ended = |stage: &Stage| !matches!(stage, Stage::Running);
        // The sender lives as long as the run.
        drop(self.stage.subscribe().wait_for(ended).await);
    }

    pub(super) fn expire(&self) {
        *self.expired() = true;
    }

    pub(super) fn is_expired(&self) -> bool {
        *self.expired()
    }

    fn expired(&self) -> MutexGuard<'_, bool> {
        self.expired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn go(hf: HuggingFace, run: Arc<Run>) {
    let fault = hf.0.rules.take(&run.text, |fault| match fault {
        Fault::Run(fault) => Some(fault.clone()),
        _ => None,
    });
    let time = match &fault {
        Some(RunFault::Slow(millis)) => Duration::from_millis(*millis),
        _ => RUN,
    };
    tokio::time::sleep(time).await;
    if fault == Some(RunFault::Stall) {
        return;
    }
    drop(run.released.subscribe().wait_for(|released| *released).await);
    let black = fault == Some(RunFault::Black);
    let made = match (&fault, read_input(&hf, &run).await, run.video) {
        (Some(RunFault::Fail(text)), ..) => Err(text.clone()),
        (_, Err(text), _) => Err(text),
        (.., true) => media::film(&run.text, 2).map_err(|error| error.to_string()),
        (.., false) => {
            media::picture(&run.text, 96, 64, false, black).map_err(|error| error.to_string())
        }
    };
    let (stage, word, units) = match made {
        Ok(media) => (Stage::Done { media, black }, "succeeded", 1.0),
        Err(text) => (Stage::Failed(text), "failed", 0.0),
    };
    run.stage.send_replace(stage);
    hf.0.record.change(&run.id, |entry| {
        entry.end(word, units);
    });
}

/// A model reads the files that it is to work on.
async fn read_input(hf: &HuggingFace, run: &Run) -> Result<(), String> {
    if input::wants_picture(&run.model) && input::places(&run.input).is_empty() {
        return Err(format!("{UNREAD} no image was given"));
    }
    let read = input::read(&hf.0.client, &run.input).await;
    let read = read.map_err(|(field, unreadable)| {
        let words = match unreadable {
            Unreadable::NotFetched => "it cannot be downloaded",
            Unreadable::NoPicture => "it is no image",
        };
        format!("{UNREAD} {field}: {words}")
    })?;
    hf.0.record.change(&run.id, |entry| entry.files = read);
    Ok(())
}
