//! Judging what providers reported: each stored callback is shown to its provider's adapter, and
//! what it is good for is done: a look at the job now, or the provider's id for a lost answer.
//!
//! A forged, repeated, replayed or late one changes nothing. Several processes may judge the same
//! one: what they do is guarded by the job's state and epoch, and the first verdict stays.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use config::announce::Announcement;
use entities::{
    WriteError,
    callbacks::{self, Waiting},
    ids::CallbackId,
    job::{self, JobRef, JobState},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use sea_orm::DbErr;

use crate::{
    engine::{Engine, WorkError, accepted_of},
    providers::{Accepted, Callback},
    submit::acceptance,
};

/// The slow look behind the announcements.
const SLOW_LOOK: Duration = Duration::from_secs(5);
/// When to look again at one that could not be judged yet.
const SOON: Duration = Duration::from_millis(500);
/// Callbacks that are read at once.
const BATCH: u64 = 50;
/// How long after a good callback the pool trusts that more will come.
const TRUST: Duration = Duration::from_secs(300);
/// Polls are this much rarer meanwhile,
const SLOWER: u32 = 4;
/// but never rarer than this because of it.
const SLOWEST: Duration = Duration::from_secs(60);

/// When a callback of the pool's provider last was good for something.
#[derive(Debug, Default)]
pub(crate) struct Pulse(Mutex<Option<Instant>>);

impl Pulse {
    fn beat(&self) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
    }

    /// How long to wait for the next poll, which a callback makes unnecessary.
    pub(crate) fn stretch(&self, wait: Duration) -> Duration {
        let last = *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let trusted = last.is_some_and(|last| last.elapsed() < TRUST);
        if trusted { (wait * SLOWER).min(SLOWEST).max(wait) } else { wait }
    }
}

/// What became of one callback.
enum Judged {
    /// Its verdict.
    Done(&'static str),
    /// Its job is in somebody's hands, or it could not be checked: again soon.
    NotYet,
}

/// Judges callbacks of the pool's provider until the process closes.
pub(crate) async fn callback_loop(engine: Engine) {
    let stopping = engine.context.shutdown.clone();
    let mut heard = engine.context.announcer.subscribe();
    while !stopping.is_closing() {
        let patience = match engine.judge_all().await {
            Ok(true) => SOON,
            Ok(false) => SLOW_LOOK,
            Err(error) => {
                tracing::warn!(%error, "callbacks were not judged; they come round again");
                SLOW_LOOK
            }
        };
        let until = tokio::time::Instant::now() + patience;
        loop {
            tokio::select! {
                () = stopping.wait() => return,
                () = tokio::time::sleep_until(until) => break,
                message = heard.recv() => match message {
                    Some(Announcement::Callback { provider })
                        if provider == engine.provider.name() => break,
                    Some(Announcement::Resync) => break,
                    Some(_) => {}
                    // The announcer is gone: only the slow look is left.
                    None => tokio::time::sleep_until(until).await,
                },
            }
        }
    }
}

impl Engine {
    /// Judges what waits; `true`: some of it has to be looked at again soon.
    async fn judge_all(&self) -> Result<bool, WorkError> {
        let mut after: Option<CallbackId> = None;
        let mut again = false;
        loop {
            let (db, name) = (self.context.db.read(), self.provider.name());
            let waiting = callbacks::waiting(db, name, after, BATCH).await?;
            let Some(last) = waiting.last() else { return Ok(again) };
            after = Some(last.callback.id);
            for one in waiting {
                let id = one.callback.id;
                match self.judge(one).await? {
                    Judged::NotYet => again = true,
                    Judged::Done(verdict) => {
                        let (db, now) = (self.context.db.write(), self.now());
                        callbacks::judged(db, id, verdict, now).await?;
                    }
                }
            }
            if self.context.shutdown.is_closing() {
                return Ok(again);
            }
        }
    }

    async fn judge(&self, waiting: Waiting) -> Result<Judged, WorkError> {
        let Waiting { callback, attempt, job, newest } = waiting;
        if job.state.is_terminal() || !newest {
            return Ok(Judged::Done("late"));
        }
        if job.lease_until.is_some() {
            // Its holder would overwrite what is written now.
            return Ok(Judged::NotYet);
        }
        let accepted = accepted_of(&attempt);
        let call = self.bare_call(&job, &attempt)?;
        let headers = headers(&callback.headers);
        // It may have waited for a worker or for a key: what counts is when it came.
        let (body, arrived_at) = (&callback.body, callback.received_at);
        let word =
            self.provider.callback(&call, accepted.as_ref(), &headers, body, arrived_at).await;
        match word {
            Callback::WakeUp => {
                self.pulse.beat();
                self.wake(&job).await
            }
            Callback::Bound(found) if accepted.is_none() && job.state == JobState::Uncertain => {
                self.pulse.beat();
                self.bind_reported(&job, &attempt, found).await
            }
            Callback::Bound(_) => self.wake(&job).await,
            Callback::Ignored(reason) => {
                tracing::info!(job_id = %job.id, reason, "a callback was good for nothing");
                Ok(Judged::Done("ignored"))
            }
            Callback::Later(reason) => {
                tracing::warn!(job_id = %job.id, reason, "a callback could not be checked");
                let waits = job.state == JobState::Uncertain;
                Ok(if waits { Judged::NotYet } else { Judged::Done("unchecked") })
            }
        }
    }

    async fn wake(&self, job: &entities::tables::jobs::Model) -> Result<Judged, WorkError> {
        let (db, now) = (self.context.db.write(), self.now());
        if !matches!(job.state, JobState::Running | JobState::Uncertain) {
            return Ok(Judged::Done("late"));
        }
        if callbacks::wake(db, job.id, now).await? {
            self.due.notify_one();
            return Ok(Judged::Done("woke"));
        }
        // Somebody took it meanwhile.
        Ok(Judged::NotYet)
    }

    async fn bind_reported(
        &self,
        job: &entities::tables::jobs::Model,
        attempt: &entities::tables::attempts::Model,
        found: Accepted,
    ) -> Result<Judged, WorkError> {
        let acceptance = acceptance(attempt, found);
        let (guard, now) = (JobRef::from(job), self.now());
        let bound = self
            .change(job, move |tx| {
                let acceptance = acceptance.clone();
                Box::pin(async move { job::bound(tx, &guard, &acceptance, now).await })
            })
            .await;
        match bound {
            Ok(true) => {
                self.due.notify_one();
                Ok(Judged::Done("bound"))
            }
            Ok(false) => Ok(Judged::NotYet),
            Err(WorkError::Write(WriteError::Db(error))) if is_taken(&error) => {
                tracing::error!(job_id = %job.id, "a callback named another call's id");
                Ok(Judged::Done("conflict"))
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether the provider's id belongs to another call already.
fn is_taken(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(sea_orm::SqlErr::UniqueConstraintViolation(_)))
}

/// The headers as they came; what cannot stand in a header is left out.
fn headers(stored: &serde_json::Value) -> HeaderMap {
    let mut all = HeaderMap::new();
    for (name, values) in stored.as_object().into_iter().flatten() {
        for value in values.as_array().into_iter().flatten() {
            let name = HeaderName::try_from(name.as_str());
            let value = value.as_str().map(HeaderValue::from_str);
            if let (Ok(name), Some(Ok(value))) = (name, value) {
                all.append(name, value);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_rarer_while_callbacks_come() {
        let pulse = Pulse::default();
        let second = Duration::from_secs(1);
        assert_eq!(pulse.stretch(second), second);
        pulse.beat();
        assert_eq!(pulse.stretch(second), second * 4);
        assert_eq!(pulse.stretch(second * 30), SLOWEST);
        assert_eq!(pulse.stretch(second * 90), second * 90);
    }

    #[test]
    fn headers_come_back_as_they_were() {
        let stored = serde_json::json!({"x-a": ["1", "2"], "bad name": ["x"], "x-b": ["a\nb"]});
        let all = headers(&stored);
        assert_eq!(all.get_all("x-a").iter().count(), 2);
        assert_eq!(all.len(), 2);
    }
}
