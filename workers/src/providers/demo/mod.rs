//! The demo provider: real files, made here from the prompt, the size and the seed. It is not AI,
//! and it needs no network and no keys.
//!
//! Two models: `sketch` (pictures) and `clip` (an animated GIF). It behaves like a provider far
//! away: it answers a submit with a request id, is polled, can be canceled until it is done, and
//! finds a call whose answer was lost. What it accepted is in a file of its own, [`accepted`],
//! which all processes on one data folder share and which survives their death. Results are not
//! kept: the same request paints the same bytes again, from its input, which comes with every look.
//! Nothing of the input is noted, and after as long as content is kept the request is forgotten.
//!
//! Two knobs let people try the platform: `delay_seconds`, and `fail`:
//!
//! | `fail` | what happens |
//! |---|---|
//! | `rejected` | refused at submit, as if the input were at fault |
//! | `moderated` | accepted; the poll that would bring the result says moderated |
//! | `throttled` | refused twice ("come back in 1 s"), then accepted; counted per input and process |
//! | `unavailable` | refused at every submit |
//! | `unknown` | accepted and noted, but the answer is lost; a lookup finds it |
//!
//! With [`DemoProvider::at_once`] a request without a delay is answered with the picture itself, as
//! some providers do, instead of with an id to be polled by. It then remembers its last picture, so
//! that the same request again costs it nothing: an instant provider, to measure the platform with.
//!
//! Failures that people ask for say nothing about this provider's health: it feeds no circuit
//! breaker.

mod art;
mod encode;
mod files;
mod input;
mod look;
mod paint;
mod record;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use entities::{Timestamp, job::Usage};
use http::HeaderMap;
use sha2::{Digest, Sha256};
use tokio::{sync::Semaphore, task::spawn_blocking};
use uuid::Uuid;

pub use self::record::{Acceptance, accepted};
use self::{
    input::{BadOrder, Fail, Order},
    look::{Look, known, look, unreadable},
    record::{End, Record},
};
use super::{
    Accepted, Call, Callback, CancelOutcome, Capabilities, Polled, Provider, Refusal, Submitted,
};
use crate::retry::Retries;

/// The demo provider's name in the catalogue, in metrics and in attempts.
pub const NAME: &str = "demo";

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// When to look at a request that needs no time.
const SOON: Duration = Duration::from_millis(10);
/// How often `fail: "throttled"` refuses the same input.
const THROTTLED: u32 = 2;
/// How many throttled inputs are remembered.
const REMEMBERED: usize = 1_000;

/// The demo provider.
pub struct DemoProvider {
    record: Arc<Record>,
    clock: Clock,
    /// How often an input was throttled so far.
    throttled: Mutex<HashMap<[u8; 32], u32>>,
    /// As many pictures are painted at once as there are processors: more would only take memory.
    painters: Arc<Semaphore>,
    retries: Retries,
    /// Whether a request without a delay is answered with its result.
    at_once: bool,
    /// What was painted last for such a request.
    last: Mutex<Option<(Order, Vec<Bytes>)>>,
}

impl DemoProvider {
    /// With its record at `demo/accepted.jsonl` in the folder `data`; what was accepted longer than
    /// `kept` ago is forgotten there.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(data: &Path, kept: Duration, clock: Clock) -> io::Result<Self> {
        let painters = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            record: Arc::new(Record::open(data, kept, clock())?),
            clock,
            throttled: Mutex::default(),
            painters: Arc::new(Semaphore::new(painters)),
            retries: Retries::new(NAME),
            at_once: false,
            last: Mutex::default(),
        })
    }

    /// Whether a request without a delay is answered with its result.
    #[must_use]
    pub fn at_once(self, at_once: bool) -> Self {
        Self { at_once, ..self }
    }

    /// Refused, if this input was not refused often enough yet.
    fn throttle(&self, call: &Call) -> Result<(), Refusal> {
        let mut hash = Sha256::new();
        hash.update(call.provider_model.as_bytes());
        hash.update(call.input.to_string().as_bytes());
        let key = hash.finalize().into();
        let mut throttled = self.throttled.lock().unwrap_or_else(PoisonError::into_inner);
        let times = throttled.remove(&key).unwrap_or(0);
        if times == THROTTLED {
            return Ok(());
        }
        if throttled.len() >= REMEMBERED {
            throttled.clear();
        }
        throttled.insert(key, times + 1);
        Err(Refusal::Throttled { retry_after: Some(Duration::from_secs(1)) })
    }

    /// Does something with the record, where it may block.
    async fn with_record<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Record) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let record = Arc::clone(&self.record);
        spawn_blocking(move || work(&record)).await.unwrap_or_else(|panic| {
            Err(Refusal::Unknown(format!("the demo provider stopped: {panic}")))
        })
    }
}

#[async_trait]
impl Provider for DemoProvider {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { recovers_lost_answers: true, rereads_results: true }
    }

    fn retries(&self) -> &Retries {
        &self.retries
    }

    /// Its failures are those that people ask for.
    fn feeds_breakers(&self) -> bool {
        false
    }

    fn rereads_input(&self) -> bool {
        true
    }

    fn submit_timeout(&self) -> Duration {
        Duration::from_secs(10)
    }

    async fn submit(&self, call: &Call) -> Result<Submitted, Refusal> {
        let order = Order::read(&call.provider_model, &call.input)?;
        match order.fail {
            Some(Fail::Rejected) => {
                let text = "the request asked to be rejected (fail: \"rejected\")";
                return Err(Refusal::Rejected(text.to_owned()));
            }
            Some(Fail::Unavailable) => {
                let text = "the request asked for it (fail: \"unavailable\")";
                return Err(Refusal::Unavailable(text.to_owned()));
            }
            Some(Fail::Throttled) => self.throttle(call)?,
            Some(Fail::Moderated | Fail::Unknown) | None => {}
        }
        let request_id = format!("demo_{}", Uuid::new_v4().simple());
        let acceptance = Acceptance {
            attempt_id: call.attempt_id,
            request_id: request_id.clone(),
            model: call.provider_model.clone(),
            delay_seconds: order.delay.as_secs_f64(),
            accepted_at: (self.clock)(),
        };
        self.with_record(move |record| Ok(record.accept(acceptance)?)).await?;
        if order.fail == Some(Fail::Unknown) {
            return Err(Refusal::Unknown("the answer was lost on request".to_owned()));
        }
        if self.at_once && order.fail.is_none() && order.delay.is_zero() {
            return Ok(match self.paint_again(order).await {
                Ok(finished) => Submitted::Finished(finished),
                // It is accepted all the same; a poll tries again.
                Err(_) => Submitted::Accepted(answer(request_id, SOON)),
            });
        }
        Ok(Submitted::Accepted(answer(request_id, next_look(order.delay, order.delay))))
    }

    async fn poll(&self, call: &Call, accepted: &Accepted) -> Result<Polled, Refusal> {
        let (id, now) = (accepted.request_id.clone(), (self.clock)());
        match self.with_record(move |record| look(record, &id, now)).await? {
            Look::Running { elapsed, delay } => Ok(Polled::Running {
                progress: Some((elapsed.as_secs_f64() / delay.as_secs_f64()).clamp(0.0, 1.0)),
                poll_after: next_look(delay, delay.saturating_sub(elapsed)),
            }),
            Look::Canceled => Ok(Polled::Canceled),
            Look::Finished => {
                let order = Order::read(&call.provider_model, &call.input)?;
                if order.fail == Some(Fail::Moderated) {
                    return Ok(Polled::Failed(Refusal::Moderated, Usage::UNKNOWN));
                }
                self.paint(order).await.map(Polled::Finished)
            }
        }
    }

    async fn cancel(&self, _call: &Call, accepted: &Accepted) -> Result<CancelOutcome, Refusal> {
        let (id, now) = (accepted.request_id.clone(), (self.clock)());
        self.with_record(move |record| {
            let entry = known(record, &id)?;
            let end = match entry.end {
                Some(end) => end,
                None if now.since(entry.accepted_at) < entry.delay => {
                    record.end(&id, End::Canceled, now)?
                }
                None => record.end(&id, End::Finished, now)?,
            };
            Ok(match end {
                End::Canceled => CancelOutcome::Canceled,
                End::Finished => CancelOutcome::NotCanceled,
            })
        })
        .await
    }

    async fn callback(
        &self,
        call: &Call,
        accepted: Option<&Accepted>,
        _headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Callback {
        let Ok(Report { request_id }) = serde_json::from_slice(body) else {
            return Callback::Ignored("the report has no request_id".to_owned());
        };
        match accepted {
            Some(known) if known.request_id == request_id => Callback::WakeUp,
            Some(_) => Callback::Ignored("the report is about another request".to_owned()),
            // Nothing is signed here, so it is our own record that proves it.
            None => {
                let (attempt, known) = (call.attempt_id, request_id.clone());
                let found = self
                    .with_record(move |record| record.of_attempt(attempt).map_err(unreadable))
                    .await;
                match found {
                    Ok(Some((id, entry))) if id == known => {
                        let left = entry.delay.saturating_sub(now.since(entry.accepted_at));
                        Callback::Bound(answer(id, next_look(entry.delay, left)))
                    }
                    Ok(_) => Callback::Ignored("the report is about another request".to_owned()),
                    Err(error) => Callback::Later(error.to_string()),
                }
            }
        }
    }

    async fn lookup(&self, call: &Call) -> Result<Option<Accepted>, Refusal> {
        let (attempt, now) = (call.attempt_id, (self.clock)());
        self.with_record(move |record| {
            let found = record.of_attempt(attempt).map_err(unreadable)?;
            Ok(found.map(|(id, entry)| {
                let left = entry.delay.saturating_sub(now.since(entry.accepted_at));
                answer(id, next_look(entry.delay, left))
            }))
        })
        .await
    }
}

/// What a report says, as somebody may send it to try the platform; nothing is sent by itself.
#[derive(serde::Deserialize)]
struct Report {
    request_id: String,
}

fn answer(request_id: String, poll_after: Duration) -> Accepted {
    Accepted { request_id, handle: serde_json::Value::Null, poll_after }
}

/// When to look (again): about ten times in all, and no later than the end.
fn next_look(delay: Duration, left: Duration) -> Duration {
    let tenth = (delay / 10).clamp(Duration::from_millis(500), Duration::from_secs(15));
    tenth.min(left).max(SOON)
}

impl From<BadOrder> for Refusal {
    fn from(bad: BadOrder) -> Self {
        match bad {
            BadOrder::Input(text) => Self::Rejected(text),
            BadOrder::Model(_) => Self::Account(bad.to_string()),
        }
    }
}
