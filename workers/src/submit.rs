//! From a hint to one call: claim, commit the attempt, send, and record what came back.

use std::time::Instant;

use config::telemetry::logs::job_span;
use entities::{
    JobHint,
    ids::AttemptId,
    job::{
        self, Acceptance, AttemptOutcome, Claimed, Ending, Failure, HandBack, JobRef, Lease,
        lease_remaining, policy,
    },
    routing::Report,
    tables::{attempts, jobs},
};
use tracing::Instrument as _;

use crate::{
    engine::{Engine, WorkError, failure_of, outcome_of, route},
    providers::{Accepted, Call, Refusal, Submitted},
    routes::Admitted,
};

impl Engine {
    /// Handles one hint. Never fails: what goes wrong is in the job's row, or comes back.
    pub(crate) async fn handle(&self, hint: JobHint) {
        let span = job_span(hint.job_id, &self.pool);
        let work = async {
            if let Err(error) = self.claim_and_submit(hint).await {
                tracing::error!(%error, "a job was left for its lease or the sweep to bring back");
            }
        };
        work.instrument(span).await;
    }

    async fn claim_and_submit(&self, hint: JobHint) -> Result<(), WorkError> {
        let Some(admitted) = self.admit(hint).await? else { return Ok(()) };
        let lease = Lease::asked_now(self.lease);
        let (span, now, attempt_id) = (self.lease, self.now(), AttemptId::generate());
        let steps = &self.context.steps;
        let claimed =
            Self::until_written(span, || steps.claim(hint, attempt_id, span, now, stored_route))
                .await?;
        let Some(Claimed { job, attempt: Some(attempt) }) = claimed else {
            return self.leave_unknown(hint).await;
        };
        let waited = now.since(job.ready_at).as_secs_f64();
        self.context.metrics.job_wait(&self.pool, waited);
        self.context.perform(entities::Effects {
            changed: vec![(job.id, job.version)],
            ..entities::Effects::default()
        });
        self.submit(&job, &attempt, &lease, admitted).await
    }

    async fn submit(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
        lease: &Lease,
        admitted: Admitted,
    ) -> Result<(), WorkError> {
        let timeout = self.provider.submit_timeout();
        if !self.is_covered(job, attempt).await? {
            return Ok(());
        }
        let call = match self.call(job, attempt).await {
            Err(WorkError::InputGone) => {
                let ending = Ending::Failed(input_gone());
                return self.end(job, attempt, AttemptOutcome::Rejected, ending).await.map(drop);
            }
            Err(WorkError::NotHandedOver(refusal)) => {
                self.report_submit(attempt, Some(&refusal));
                return self.refused(job, attempt, &refusal, admitted).await;
            }
            Err(WorkError::NotReady(words)) => {
                tracing::error!(words, "a call was not sent");
                return self.refused(job, attempt, &Refusal::Unavailable(words), admitted).await;
            }
            call => call?,
        };
        if lease_remaining(lease) <= timeout + policy::LEASE_MARGIN {
            // Too late to send anything under this lease: the provider saw nothing.
            let back = HandBack {
                attempt_id: attempt.id,
                outcome: AttemptOutcome::Unavailable,
                wait: policy::refusal_delay(1, Self::dice()),
                route: job.route,
                counts: false,
            };
            return self.hand_back(job, (back, job.pool.clone())).await;
        }
        let answer = self.send(&call, attempt, admitted).await;
        match answer {
            Ok(Submitted::Accepted(accepted)) => self.accepted(job, attempt, accepted).await,
            Ok(Submitted::Finished(finished)) => {
                self.report(attempt, Report::Finished(1));
                let (usage, now) = (finished.usage, Some(self.now()));
                let steps = &self.context.steps;
                let stored =
                    Self::until_written(self.lease, || steps.ready(job, attempt.id, usage, now))
                        .await?;
                match stored {
                    Some(job) => {
                        self.count_cost(attempt, usage);
                        self.store(&job, attempt, finished).await
                    }
                    None => self.note_usage(job, attempt, usage).await,
                }
            }
            Err(refusal) => self.refused(job, attempt, &refusal, admitted).await,
        }
    }

    /// Sends the call, once, and counts what came of it.
    async fn send(
        &self,
        call: &Call,
        attempt: &attempts::Model,
        admitted: Admitted,
    ) -> Result<Submitted, Refusal> {
        let timeout = self.provider.submit_timeout();
        let asked = Instant::now();
        self.provider.retries().fresh();
        let answer = match self.no_room_left(admitted).await {
            Some(wait) => Err(Refusal::Throttled { retry_after: Some(wait) }),
            None => tokio::time::timeout(timeout, self.provider.submit(call))
                .await
                .unwrap_or_else(|_| Err(Refusal::Unknown("no answer in time".into()))),
        };
        let word = match &answer {
            Ok(_) => "accepted",
            Err(refusal) => outcome_of(refusal).name(),
        };
        self.context.metrics.provider_request(
            self.provider.name(),
            "submit",
            word,
            asked.elapsed(),
        );
        self.report_submit(attempt, answer.as_ref().err());
        answer
    }

    pub(crate) async fn accepted(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
        accepted: Accepted,
    ) -> Result<(), WorkError> {
        let acceptance = acceptance(attempt, accepted);
        let (guard, now) = (JobRef::from(job), self.now());
        // Worth writing even after the lease: nobody else may know what the provider said.
        let limit = policy::UNCERTAIN_LIMIT;
        let steps = &self.context.steps;
        let effects =
            Self::until_written(limit, || steps.accepted(guard, acceptance.clone(), now)).await?;
        match effects {
            Some(effects) => self.context.perform(effects),
            None => tracing::info!("the provider's answer was known already, or came too late"),
        }
        self.due.notify_one();
        Ok(())
    }

    async fn refused(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
        refusal: &Refusal,
        admitted: Admitted,
    ) -> Result<(), WorkError> {
        let outcome = outcome_of(refusal);
        match refusal {
            Refusal::Account(_) => self.account_alarm(refusal),
            _ => tracing::info!(%refusal, "the provider did not take the job"),
        }
        let dice = Self::dice();
        match refusal {
            Refusal::Rejected(_) | Refusal::Moderated => {
                let ending = Ending::Failed(failure_of(refusal));
                self.end(job, attempt, outcome, ending).await?;
            }
            Refusal::Throttled { retry_after } => {
                let wait = policy::throttle_delay(*retry_after, dice);
                self.hand_back(job, self.back(job, attempt, outcome, wait, false)?).await?;
            }
            Refusal::Account(_) => {
                let wait = self.account_wait(attempt, dice);
                self.hand_back(job, self.back(job, attempt, outcome, wait, false)?).await?;
            }
            // It waited for its route and tried it for all: that is not held against it.
            Refusal::Unavailable(_) if admitted.probe => {
                let wait = policy::refusal_delay(1, dice);
                self.hand_back(job, self.back(job, attempt, outcome, wait, false)?).await?;
            }
            Refusal::Unavailable(_) if job.refusals + 1 >= policy::MAX_REFUSALS => {
                let ending = Ending::Failed(failure_of(refusal));
                self.end(job, attempt, outcome, ending).await?;
            }
            Refusal::Unavailable(_) => {
                let wait = policy::refusal_delay(job.refusals + 1, dice);
                self.hand_back(job, self.back(job, attempt, outcome, wait, true)?).await?;
            }
            Refusal::Unknown(_) | Refusal::Busy { .. } => self.lost_answer(job, attempt).await?,
        }
        Ok(())
    }

    async fn lost_answer(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
    ) -> Result<(), WorkError> {
        let (guard, attempt_id, now) = (JobRef::from(job), attempt.id, self.now());
        self.change(job, move |tx| {
            Box::pin(async move { job::uncertain(tx, &guard, attempt_id, now).await })
        })
        .await?;
        self.due.notify_one();
        Ok(())
    }

    pub(crate) async fn hand_back(
        &self,
        job: &jobs::Model,
        (back, pool): (HandBack, String),
    ) -> Result<(), WorkError> {
        let (before, now) = (job.clone(), self.now());
        self.change(job, move |tx| {
            let (before, pool) = (before.clone(), pool.clone());
            Box::pin(async move { job::hand_back(tx, &before, &back, &pool, now).await })
        })
        .await?;
        Ok(())
    }
}

/// The provider and its model on the route that a job is about to take.
fn stored_route(job: &jobs::Model) -> Option<(String, String)> {
    let route = route(job, job.route).ok()?;
    Some((route.provider, route.provider_model))
}

/// What is stored of an accepted call.
pub(crate) fn acceptance(attempt: &attempts::Model, accepted: Accepted) -> Acceptance {
    Acceptance {
        attempt_id: attempt.id,
        request_id: accepted.request_id,
        handle: accepted.handle,
        poll_after: accepted.poll_after,
    }
}

/// What a user reads when the media of the input was deleted before the job began.
fn input_gone() -> Failure {
    Failure {
        code: "input_gone",
        detail: "An upload that the job needs was deleted. Nothing was charged; please submit it again with another one.".to_owned(),
    }
}

/// What a user reads when an answer is lost and the provider has no way to find it again.
pub(crate) fn unrecoverable() -> Failure {
    Failure {
        code: "provider_outcome_unknown",
        detail: "The provider's answer was lost and cannot be recovered. Nothing was charged; please try again.".to_owned(),
    }
}
