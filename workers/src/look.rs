//! What the poll loop does with one leased job.

use std::time::{Duration, Instant};

use config::telemetry::logs::job_span;
use entities::{
    job::{self, AttemptOutcome, Claimed, Ending, Failure, JobRef, JobState, Look, policy},
    routing::{Report, Trouble},
    tables::{attempts, jobs},
};
use tracing::Instrument as _;

use crate::{
    engine::{Engine, WorkError, accepted_of, failure_of, outcome_of},
    providers::{Accepted, Call, CancelOutcome, Finished, Polled, Refusal},
    retry,
    submit::{acceptance, unrecoverable},
};

const FAILED: Report = Report::Failed(Trouble::Failed);

/// The longest that a provider may take to answer a look.
const LONGEST_POLL: Duration = Duration::from_secs(5 * 60);

/// How long before a job's time is over it is looked at for the last time.
const LAST_LOOK: Duration = Duration::from_secs(10);

/// How soon a lost answer is looked for again.
const LOOKUP_EVERY: Duration = Duration::from_secs(5);

impl Engine {
    /// Looks at one job. Never fails: an expired lease brings back what was left.
    pub(crate) async fn look(&self, claimed: Claimed) {
        let span = job_span(claimed.id(), &self.pool);
        let work = async {
            let Claimed { job, attempt: Some(attempt) } = claimed else {
                tracing::error!("a job is at a provider without an attempt");
                return;
            };
            let done = match job.state {
                JobState::Running => self.look_running(job, attempt).await,
                JobState::Storing => self.look_storing(&job, &attempt).await,
                JobState::Uncertain => self.look_uncertain(&job, &attempt).await,
                JobState::Queued
                | JobState::Submitting
                | JobState::Succeeded
                | JobState::Failed
                | JobState::Canceled => Ok(()),
            };
            if let Err(error) = done {
                tracing::error!(%error, "a job was left for its lease to bring back");
            }
        };
        work.instrument(span).await;
    }

    async fn look_running(
        &self,
        mut job: jobs::Model,
        attempt: attempts::Model,
    ) -> Result<(), WorkError> {
        let accepted = accepted_of(&attempt).ok_or(WorkError::NoAttempt)?;
        let call = self.call_again(&job, &attempt).await?;
        let overdue = job.run_deadline.is_some_and(|deadline| deadline < self.now());
        if overdue || (job.cancel_requested && !job.cancel_sent) {
            let cancel = self.repeat("cancel", || self.provider.cancel(&call, &accepted));
            let Some(answer) = self.while_leased(&job, cancel).await else { return Ok(()) };
            let canceled = matches!(answer, Ok(CancelOutcome::Canceled));
            if canceled && job.cancel_requested {
                return self
                    .end(&job, &attempt, AttemptOutcome::Canceled, Ending::Canceled)
                    .await
                    .map(drop);
            }
            if overdue {
                self.report(&attempt, Report::Failed(Trouble::TimedOut));
                let outcome =
                    if canceled { AttemptOutcome::Canceled } else { AttemptOutcome::TimedOut };
                let ending = Ending::Failed(Failure {
                    code: "timed_out",
                    detail: "The provider did not finish in time. Nothing was charged; please try again.".to_owned(),
                });
                return self.end(&job, &attempt, outcome, ending).await.map(drop);
            }
            if answer.is_ok() {
                let guard = JobRef::from(&job);
                let sent = self
                    .write(job.workspace_id.0, move |tx| {
                        Box::pin(async move {
                            match job::mark_cancel_sent(tx, &guard).await? {
                                None => job::changed_before(tx, &guard, guard.state).await,
                                sent => Ok(sent),
                            }
                        })
                    })
                    .await?;
                let Some(sent) = sent else { return Ok(()) };
                job = sent;
            }
        }
        let Some(polled) = self.poll(&job, &call, &accepted).await else { return Ok(()) };
        self.polled(&job, &attempt, polled).await
    }

    /// Asks the provider, which may take longer than a lease: it is kept meanwhile. `None`: it was
    /// lost, and the job is somebody else's.
    async fn poll(
        &self,
        job: &jobs::Model,
        call: &Call,
        accepted: &Accepted,
    ) -> Option<Result<Polled, Refusal>> {
        let poll = self.repeat("poll", || self.provider.poll(call, accepted));
        let poll = tokio::time::timeout(LONGEST_POLL, poll);
        let polled = self.while_leased(job, poll).await?;
        Some(polled.unwrap_or_else(|_| Err(Refusal::Unknown("no answer in time".to_owned()))))
    }

    /// Asks the provider what is safe to ask again.
    pub(crate) async fn repeat<T, A: Future<Output = Result<T, Refusal>>>(
        &self,
        operation: &'static str,
        mut ask: impl FnMut() -> A,
    ) -> Result<T, Refusal> {
        let counted = || {
            let (asked, answer) = (Instant::now(), ask());
            async move {
                let answer = answer.await;
                self.count(operation, answer.as_ref().err(), asked);
                answer
            }
        };
        self.provider.retries().run(operation, retry::refusal, counted).await
    }

    async fn polled(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
        polled: Result<Polled, Refusal>,
    ) -> Result<(), WorkError> {
        match polled {
            Ok(Polled::Running { progress, poll_after }) => {
                let wait = self.cadence.wait(poll_after);
                self.again(job, Look::Running { progress }, wait).await
            }
            Ok(Polled::NotAsked { retry_after }) => self.look_soon(job, retry_after).await,
            Ok(Polled::Finished(finished)) => self.finished(job, attempt, finished).await,
            Ok(Polled::Canceled) => {
                let ending = if job.cancel_requested {
                    Ending::Canceled
                } else {
                    Ending::Failed(failure_of(&Refusal::Unknown("canceled by the provider".into())))
                };
                self.end(job, attempt, AttemptOutcome::Canceled, ending).await.map(drop)
            }
            Ok(Polled::Failed(refusal, usage)) => {
                tracing::info!(%refusal, "the provider ended the call without a result");
                let outcome = match &refusal {
                    Refusal::Rejected(_) | Refusal::Moderated => outcome_of(&refusal),
                    Refusal::Throttled { .. }
                    | Refusal::Unavailable(_)
                    | Refusal::Unknown(_)
                    | Refusal::Busy { .. }
                    | Refusal::Account(_) => AttemptOutcome::Failed,
                };
                let failed = outcome == AttemptOutcome::Failed;
                self.report(attempt, if failed { FAILED } else { Report::Finished(1) });
                let failure = match outcome {
                    AttemptOutcome::Failed => failure_of(&Refusal::Unknown(String::new())),
                    _ => failure_of(&refusal),
                };
                self.end_used(job, attempt, outcome, Ending::Failed(failure), usage).await
            }
            Err(refusal) => {
                match &refusal {
                    Refusal::Account(_) => self.account_alarm(&refusal),
                    _ => tracing::debug!(%refusal, "a look at the provider failed"),
                }
                let own = policy::failed_poll_delay(job.polls, Self::dice());
                let wait = retry::asked(&refusal)
                    .map_or(own, |asked| own.max(asked.min(self.before_the_end(job))));
                self.again(job, Look::InVain, wait).await
            }
        }
    }

    /// How long a job can be left alone so that it is looked at once more before its time is over:
    /// what was bought and is ready should be fetched.
    fn before_the_end(&self, job: &jobs::Model) -> Duration {
        job.run_deadline
            .map_or(Duration::MAX, |end| end.since(self.now()).saturating_sub(LAST_LOOK))
    }

    async fn finished(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
        finished: Finished,
    ) -> Result<(), WorkError> {
        self.report(attempt, Report::Finished(1));
        let (usage, steps) = (finished.usage, &self.context.steps);
        let ready =
            Self::until_written(self.lease, || steps.ready(job, attempt.id, usage, None)).await?;
        match ready {
            Some(job) => {
                self.count_cost(attempt, usage);
                self.store(&job, attempt, finished).await
            }
            // Its job has ended: the cost is recorded, the result discarded.
            None => self.note_usage(job, attempt, usage).await,
        }
    }

    async fn look_storing(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
    ) -> Result<(), WorkError> {
        let accepted =
            accepted_of(attempt).filter(|_| self.provider.capabilities().rereads_results);
        let Some(accepted) = accepted else {
            return self.media_lost(job, attempt).await;
        };
        let call = self.call_again(job, attempt).await?;
        let Some(polled) = self.poll(job, &call, &accepted).await else { return Ok(()) };
        match polled {
            Ok(Polled::Finished(finished)) => self.store(job, attempt, finished).await,
            Ok(Polled::NotAsked { retry_after }) => self.look_soon(job, retry_after).await,
            Ok(Polled::Running { .. }) => self.store_later(job, attempt, Duration::ZERO).await,
            Err(refusal) => {
                let asked = retry::asked(&refusal).unwrap_or(Duration::ZERO);
                self.store_later(job, attempt, asked).await
            }
            Ok(Polled::Canceled | Polled::Failed(..)) => self.media_lost(job, attempt).await,
        }
    }

    async fn look_uncertain(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
    ) -> Result<(), WorkError> {
        if !self.provider.capabilities().recovers_lost_answers {
            let ending = Ending::Failed(unrecoverable());
            return self.end(job, attempt, AttemptOutcome::Unknown, ending).await.map(drop);
        }
        let call = self.bare_call(job, attempt)?;
        let lookup = self.repeat("lookup", || self.provider.lookup(&call));
        let Some(found) = self.while_leased(job, lookup).await else { return Ok(()) };
        match found {
            Ok(Some(accepted)) => self.bind(job, attempt, accepted).await,
            Ok(None) | Err(_) => self.again(job, Look::InVain, LOOKUP_EVERY).await,
        }
    }

    async fn bind(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
        accepted: Accepted,
    ) -> Result<(), WorkError> {
        let acceptance = acceptance(attempt, accepted);
        let (guard, now) = (JobRef::from(job), self.now());
        self.change(job, move |tx| {
            let acceptance = acceptance.clone();
            Box::pin(async move { job::bound(tx, &guard, &acceptance, now).await })
        })
        .await?;
        self.due.notify_one();
        Ok(())
    }

    /// There was no room for the look: again when there is, the later the more often that happens.
    async fn look_soon(&self, job: &jobs::Model, retry_after: Duration) -> Result<(), WorkError> {
        let own = policy::failed_poll_delay(job.polls, Self::dice());
        self.again(job, Look::InVain, own.max(retry_after.mul_f64(1.0 + Self::dice()))).await
    }

    async fn again(&self, job: &jobs::Model, look: Look, wait: Duration) -> Result<(), WorkError> {
        let (before, now) = (job.clone(), self.now());
        self.change(job, move |tx| {
            let before = before.clone();
            Box::pin(async move { job::poll_again(tx, &before, look, wait, now).await })
        })
        .await
        .map(drop)
    }

    /// Our account at the provider is at fault: an operator must act. The metrics behind the alert
    /// are `provider_account_problem` and `provider_requests_total{outcome="account"}`.
    pub(crate) fn account_alarm(&self, refusal: &Refusal) {
        let provider = self.provider.name();
        tracing::error!(provider, %refusal, "the provider refuses our account; its jobs wait");
    }

    pub(crate) fn count(&self, operation: &'static str, refusal: Option<&Refusal>, asked: Instant) {
        let word = refusal.map_or("ok", |refusal| outcome_of(refusal).name());
        self.context.metrics.provider_request(
            self.provider.name(),
            operation,
            word,
            asked.elapsed(),
        );
    }
}
