//! Which of its routes a job takes: before it is claimed, and after it was refused.
//!
//! While all routes of a provider are open this costs nothing. Otherwise the job is looked at
//! before it is claimed: one whose route is shut goes to another, or waits, without an attempt.

use std::time::{Duration, Instant};

use config::limiter::{Grant, Room};
use entities::{
    Effects, JobHint,
    catalogue::Resolved,
    job::{AttemptOutcome, Ending, HandBack, policy},
    routing::{self, Choice, Report, Standing, Trouble, Way, choose, wait_behind},
    tables::{attempts, jobs},
};

use crate::{
    engine::{Engine, WorkError, failure_of, resolved},
    providers::Refusal,
};

/// A job may be claimed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admitted {
    /// It tries a half-open route.
    pub(crate) probe: bool,
    /// When room for its submit was granted, where the provider limits them.
    room: Option<(Grant, Instant)>,
}

impl Engine {
    /// Whether the job may be claimed now. `None`: it went elsewhere, or somebody else has it.
    pub(crate) async fn admit(&self, hint: JobHint) -> Result<Option<Admitted>, WorkError> {
        let troubled = self.context.routes.is_troubled(self.provider.name());
        let pace = self.provider.pace();
        if !troubled && pace.is_none() {
            return Ok(Some(Admitted { probe: false, room: None }));
        }
        let job = routing::find_queued(self.context.db.read(), hint).await?;
        let Some(job) = job else { return Ok(None) };
        if !self.knows(&job) {
            return self.leave(&job).await.map(|()| None);
        }
        let resolved = resolved(&job)?;
        let probe = match troubled {
            true => self.open_route(&job, &resolved).await?,
            false => Some(false),
        };
        let (Some(probe), Some(pace)) = (probe, pace) else {
            return Ok(probe.map(|probe| Admitted { probe, room: None }));
        };
        let asked = Instant::now();
        match self.context.limiter.acquire(pace.name, pace.count, pace.per).await {
            Room::Ok(grant) => Ok(Some(Admitted { probe, room: Some((grant, asked)) })),
            Room::RetryAfter(wait) => self.no_room(&job, &resolved, wait).await.map(|()| None),
        }
    }

    /// Takes the room anew when it has waited too long for its submit: the provider would see it
    /// together with later ones. How long to wait if there is none any more.
    pub(crate) async fn no_room_left(&self, admitted: Admitted) -> Option<Duration> {
        let (pace, (grant, granted)) = (self.provider.pace()?, admitted.room?);
        if granted.elapsed() <= pace.slack {
            return None;
        }
        match self.context.limiter.renew(pace.name, pace.count, pace.per, grant).await {
            Room::Ok(_) => None,
            Room::RetryAfter(wait) => Some(wait),
        }
    }

    /// The job takes another route that is open, or waits; it was not claimed.
    async fn no_room(
        &self,
        job: &jobs::Model,
        resolved: &Resolved,
        wait: Duration,
    ) -> Result<(), WorkError> {
        let current = usize::try_from(job.route).unwrap_or(0);
        if let Some(route) = resolved.routes.get(current) {
            let (provider, model) = (&route.provider, &route.provider_model);
            self.context.metrics.provider_throttle(self.provider.name(), model);
            self.context.routes.report(provider, model, Report::Throttled(wait));
        }
        let wait = policy::throttle_delay(Some(wait), Self::dice());
        let (to, wait) = match choose(&self.ways(resolved), current, false) {
            Choice::Move(index) => (index, None),
            Choice::Wait { route, .. } => (route, Some(wait)),
            Choice::Stay | Choice::Probe | Choice::Nowhere => (current, Some(wait)),
        };
        self.defer(job, resolved, to, wait).await
    }

    /// Whether the job's route is open to it, and it tries it for others. `None`: it went elsewhere.
    async fn open_route(
        &self,
        job: &jobs::Model,
        resolved: &Resolved,
    ) -> Result<Option<bool>, WorkError> {
        let routes = &self.context.routes;
        let current = usize::try_from(job.route).unwrap_or(0);
        let mut choice = choose(&self.ways(resolved), current, true);
        if choice == Choice::Probe {
            let route = resolved.routes.get(current).ok_or(WorkError::NoAttempt)?;
            if routes.probe(&route.provider, &route.provider_model).await {
                tracing::info!(model = route.provider_model, "the job tries a route that failed");
                return Ok(Some(true));
            }
            choice = choose(&self.ways(resolved), current, false);
        }
        let (to, wait) = match choice {
            // Whoever claims it finds that no route is covered, and ends it.
            Choice::Stay | Choice::Nowhere => return Ok(Some(false)),
            Choice::Move(index) => (index, None),
            Choice::Wait { route, wait } => (route, Some(wait_behind(wait, Self::dice()))),
            // The turn was not ours.
            Choice::Probe => (current, Some(wait_behind(routing::PROBE_EVERY, Self::dice()))),
        };
        self.defer(job, resolved, to, wait).await?;
        Ok(None)
    }

    pub(crate) async fn defer(
        &self,
        job: &jobs::Model,
        resolved: &Resolved,
        to: usize,
        wait: Option<Duration>,
    ) -> Result<(), WorkError> {
        let no_route = || WorkError::Routes(format!("there is no route {to}"));
        let pool = resolved.routes.get(to).ok_or_else(no_route)?.pool.clone();
        let route = i32::try_from(to).map_err(|_| no_route())?;
        tracing::debug!(to = pool, ?wait, "the job's route is shut");
        let (before, now) = (job.clone(), self.now());
        self.change(job, move |tx| {
            let (before, pool) = (before.clone(), pool.clone());
            Box::pin(async move {
                let moved: Option<Effects> =
                    routing::defer(tx, &before, route, &pool, wait, now).await?;
                Ok(moved)
            })
        })
        .await
        .map(drop)
    }

    /// How a refused job goes back: at once to the next route that is open, else to an earlier one
    /// that is open again, else it stays and waits for `wait`.
    pub(crate) fn back(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
        outcome: AttemptOutcome,
        wait: Duration,
        counts: bool,
    ) -> Result<(HandBack, String), WorkError> {
        let resolved = resolved(job)?;
        let ways = self.ways(&resolved);
        let current = usize::try_from(job.route).unwrap_or(0);
        let open = |index: &usize| {
            ways.get(*index).is_some_and(|way| way.fits && way.standing == Standing::Ready)
        };
        let pause = policy::refusal_delay(job.refusals + 1, Self::dice());
        let next = (current + 1..ways.len()).find(open).map(|index| (index, Duration::ZERO));
        let earlier = || (0..current).find(open).map(|index| (index, wait.min(pause)));
        let (index, wait) = next.or_else(earlier).unwrap_or((current, wait));
        let no_route = || WorkError::Routes(format!("there is no route {index}"));
        let pool = resolved.routes.get(index).ok_or_else(no_route)?.pool.clone();
        let route = i32::try_from(index).map_err(|_| no_route())?;
        Ok((HandBack { attempt_id: attempt.id, outcome, wait, route, counts }, pool))
    }

    /// Whether what is held for the job covers the route that it was claimed for. If not, it goes to
    /// one that is covered, or ends: nobody is called at a loss. The price was covered when the job
    /// was submitted, unless no provider with a covered route had a key.
    pub(crate) async fn is_covered(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
    ) -> Result<bool, WorkError> {
        let resolved = resolved(job)?;
        let fits = |route: &entities::catalogue::ResolvedRoute| route.fits(resolved.credits);
        let current = usize::try_from(attempt.route).unwrap_or(0);
        if resolved.routes.get(current).is_none_or(fits) {
            return Ok(true);
        }
        let outcome = AttemptOutcome::Unavailable;
        let Some(to) = resolved.routes.iter().position(fits) else {
            tracing::error!(model = job.model, "no route is covered by the price; the job ends");
            self.context.metrics.job_not_covered(&job.model);
            let refusal = Refusal::Unavailable(String::new());
            self.end(job, attempt, outcome, Ending::Failed(failure_of(&refusal))).await?;
            return Ok(false);
        };
        let (route, pool) = (i32::try_from(to).unwrap_or(0), resolved.routes[to].pool.clone());
        let (attempt_id, wait) = (attempt.id, Duration::ZERO);
        let back = HandBack { attempt_id, outcome, wait, route, counts: false };
        self.hand_back(job, (back, pool)).await?;
        Ok(false)
    }

    fn ways(&self, resolved: &Resolved) -> Vec<Way> {
        let held = resolved.credits;
        let way = |route: &entities::catalogue::ResolvedRoute| Way {
            standing: self.context.routes.standing(&route.provider, &route.provider_model),
            fits: route.fits(held),
        };
        resolved.routes.iter().map(way).collect()
    }

    /// How long a job waits for our account to work again.
    pub(crate) fn account_wait(&self, attempt: &attempts::Model, dice: f64) -> Duration {
        match self.context.routes.standing(&attempt.provider, &attempt.provider_model) {
            Standing::Shut(wait) => wait_behind(wait, dice),
            Standing::Ready | Standing::HalfOpen | Standing::Off => policy::account_delay(dice),
        }
    }

    /// Tells the route's breaker what a call told.
    pub(crate) fn report(&self, attempt: &attempts::Model, report: Report) {
        if self.provider.feeds_breakers() {
            self.context.routes.report(&attempt.provider, &attempt.provider_model, report);
        }
    }

    /// What the answer to a submit tells of its route. What is the user's fault is none of the
    /// provider's.
    pub(crate) fn report_submit(&self, attempt: &attempts::Model, refusal: Option<&Refusal>) {
        let report = match refusal {
            None | Some(Refusal::Rejected(_) | Refusal::Moderated) => Report::Accepted,
            Some(Refusal::Throttled { retry_after }) => {
                let provider = self.provider.name();
                self.context.metrics.provider_throttle(provider, &attempt.provider_model);
                Report::Throttled(retry_after.unwrap_or(Duration::from_secs(2)))
            }
            Some(Refusal::Unavailable(_)) => Report::Failed(Trouble::Unavailable),
            Some(Refusal::Unknown(_)) => Report::Failed(Trouble::Unknown),
            Some(Refusal::Busy { retry_after, .. }) => {
                self.report(attempt, Report::Throttled(*retry_after));
                Report::Failed(Trouble::Unknown)
            }
            Some(Refusal::Account(_)) => Report::Account,
        };
        self.report(attempt, report);
    }
}
