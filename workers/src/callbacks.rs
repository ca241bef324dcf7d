//! Judging what providers reported: each stored callback is shown to its provider's adapter, and
//! what it is good for is done: a look at the job now, or the provider's id for a lost answer.
//!
//! A forged, repeated, replayed or late one changes nothing. Several processes may judge the same
//! one: what they do is guarded by the job's state and epoch, and the first verdict stays.

use std::time::Duration;

use config::announce::Announcement;
use entities::{
    WriteError,
    callbacks::{self, Waiting},
    ids::CallbackId,
    job::{self, JobRef, JobState},
    tables::{attempts, jobs},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
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
/// Callbacks that are judged at the same time.
const HANDS: usize = 16;

/// What became of one callback.
enum Judged {
    /// Its verdict.
    Done(&'static str),
    /// Its job is looked at now, and the verdict says so.
    Woken,
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
            let judged: Vec<bool> = stream::iter(waiting)
                .map(|one| self.judge_one(one))
                .buffer_unordered(HANDS)
                .try_collect()
                .await?;
            again = again || judged.contains(&true);
            if self.context.shutdown.is_closing() {
                return Ok(again);
            }
        }
    }

    /// `true`: it has to be looked at again soon.
    async fn judge_one(&self, waiting: Waiting) -> Result<bool, WorkError> {
        let (id, key, now) = (waiting.callback.id, waiting.job.workspace_id.0, self.now());
        match self.judge(waiting).await? {
            Judged::NotYet => return Ok(true),
            Judged::Woken => {}
            Judged::Done(verdict) => {
                self.write(key, move |tx| {
                    Box::pin(async move { callbacks::judged(tx, id, verdict, now).await })
                })
                .await?;
            }
        }
        Ok(false)
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
                self.cadence.reported();
                self.wake(&job, callback.id).await
            }
            Callback::Bound(found) if accepted.is_none() && job.state == JobState::Uncertain => {
                self.cadence.reported();
                self.bind_reported(&job, &attempt, found).await
            }
            Callback::Bound(_) => self.wake(&job, callback.id).await,
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

    async fn wake(&self, job: &jobs::Model, id: CallbackId) -> Result<Judged, WorkError> {
        let (job_id, now) = (job.id, self.now());
        if !matches!(job.state, JobState::Running | JobState::Uncertain) {
            return Ok(Judged::Done("late"));
        }
        let woken = self
            .write(job.workspace_id.0, move |tx| {
                Box::pin(async move {
                    let woken = callbacks::wake(tx, job_id, now).await?;
                    if woken {
                        callbacks::judged(tx, id, "woke", now).await?;
                    }
                    Ok(woken)
                })
            })
            .await?;
        if woken {
            self.due.notify_one();
            return Ok(Judged::Woken);
        }
        // Somebody took it meanwhile.
        Ok(Judged::NotYet)
    }

    async fn bind_reported(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
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
    fn headers_come_back_as_they_were() {
        let stored = serde_json::json!({"x-a": ["1", "2"], "bad name": ["x"], "x-b": ["a\nb"]});
        let all = headers(&stored);
        assert_eq!(all.get_all("x-a").iter().count(), 2);
        assert_eq!(all.len(), 2);
    }
}
