//! Looks at a task, as far as there is room for them, and whether a task was created for a call.

use std::time::Duration;

use config::limiter::Room;
use serde::Deserialize as _;
use url::Url;

use super::{
    KieProvider, LOOKS, LOOKS_PER,
    errors::{self, NoTask, Verdict},
    wire::Record,
};
use crate::providers::{Call, Callback, Refusal, answer::is_plain_id};

/// What a look at a task showed.
pub(super) enum Look {
    Task(Box<Record>),
    /// Nothing was asked.
    NoRoom(Duration),
    No(NoTask),
}

impl KieProvider {
    /// The task as the service shows it, if there is room to ask.
    pub(super) async fn record(&self, task_id: &str) -> Result<Look, Refusal> {
        if !is_plain_id(task_id) {
            return Err(Refusal::Unknown("kie.ai gives no such task ids".to_owned()));
        }
        if let Room::RetryAfter(wait) = self.limiter.acquire("kieai:looks", LOOKS, LOOKS_PER).await
        {
            return Ok(Look::NoRoom(wait));
        }
        let url = self.base.at("/api/v1/jobs/recordInfo");
        let answer = self.ask(self.client.get(url).query(&[("taskId", task_id)])).await?;
        let verdict = errors::verdict(&answer);
        if let Verdict::Good(data) = &verdict
            && let Ok(record) = Record::deserialize(data)
            && record.state.is_some()
        {
            // Another task's record would be another customer's file.
            return match record.task_id.as_deref() {
                Some(shown) if shown != task_id => {
                    Err(Refusal::Unknown("another task was shown".to_owned()))
                }
                _ => Ok(Look::Task(Box::new(record))),
            };
        }
        Ok(Look::No(errors::at_look(&answer, &verdict)))
    }

    /// Whether a task was created for `call`: it asked to be reported to that call's own address,
    /// which nobody else was told.
    pub(super) async fn is_of(&self, call: &Call, task_id: &str) -> Callback {
        let record = match self.record(task_id).await {
            Ok(Look::Task(record)) => record,
            Ok(Look::NoRoom(_)) => return Callback::Later("no room to look at it".to_owned()),
            Ok(Look::No(NoTask::LookAgain(refusal) | NoTask::Failed(refusal))) => {
                return Callback::Later(refusal.to_string());
            }
            Ok(Look::No(NoTask::Unknown(words))) => return Callback::Ignored(words),
            Err(refusal) => return Callback::Later(refusal.to_string()),
        };
        let asked = record.callback_url();
        if asked.is_some() && asked.as_deref() == call.callback_url.as_ref().map(Url::as_str) {
            return Callback::Bound(self.accepted(task_id.to_owned()));
        }
        Callback::Ignored("the task that it names was not created for this call".to_owned())
    }
}

/// When to look again at a task of this age, as the service asks for: every 2–3 s in the first
/// half minute, every 5–10 s up to two minutes, then every 15–30 s. `dice` is in 0..1.
pub(super) fn next_look(age: Duration, dice: f64) -> Duration {
    let (from, to) = match age.as_secs() {
        ..30 => (2.0, 3.0),
        30..120 => (5.0, 10.0),
        _ => (15.0, 30.0),
    };
    Duration::from_secs_f64(from + (to - from) * dice.clamp(0.0, 1.0))
}
