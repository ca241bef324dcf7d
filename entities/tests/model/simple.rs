//! The model: what a person with pencil and paper would keep of the platform.

use std::collections::{BTreeMap, BTreeSet};

use entities::{
    Timestamp,
    ids::{JobId, WorkspaceId},
    job::JobState,
};

/// The routes that every job has; each is a provider with a pool of the same name.
pub(crate) const ROUTES: [&str; 2] = ["first", "second"];

/// Why a route is shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shut {
    /// An operator switched it off.
    Switch,
    /// Its breaker is open.
    Breaker,
}

/// What is known of one job.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) workspace: WorkspaceId,
    pub(crate) price: i64,
    pub(crate) outputs: u32,
    pub(crate) state: JobState,
    /// One of [`ROUTES`].
    pub(crate) route: usize,
    /// It is not dispatched before this.
    pub(crate) ready_at: Timestamp,
    pub(crate) dispatched: bool,
    pub(crate) cancel_requested: bool,
}

/// A wallet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wallet {
    pub(crate) available: i64,
    pub(crate) held: i64,
    pub(crate) spent: i64,
}

/// The whole.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) jobs: BTreeMap<JobId, Job>,
    /// Those that have not ended.
    pub(crate) live: BTreeSet<JobId>,
    pub(crate) wallets: BTreeMap<WorkspaceId, Wallet>,
    pub(crate) shut: [Option<Shut>; ROUTES.len()],
}

impl Model {
    pub(crate) fn submitted(&mut self, id: JobId, job: Job) {
        let wallet = self.wallets.get_mut(&job.workspace).unwrap();
        assert!(wallet.available >= job.price, "{id} was accepted without funds");
        wallet.available -= job.price;
        wallet.held += job.price;
        self.jobs.insert(id, job);
        self.live.insert(id);
    }

    /// It got a slot, in the pool of its route and not too early.
    pub(crate) fn dispatched(&mut self, id: JobId, pool: &str, now: Timestamp) {
        let job = self.jobs.get_mut(&id).unwrap();
        assert!(job.state == JobState::Queued && !job.dispatched, "{id}: {job:?}");
        assert!(job.ready_at <= now && ROUTES[job.route] == pool, "{id} in {pool}: {job:?}");
        job.dispatched = true;
    }

    /// The job took a step that keeps it alive.
    pub(crate) fn moved(&mut self, id: JobId, to: JobState) {
        let job = self.jobs.get_mut(&id).unwrap();
        assert!(job.state == to || job.state.may_become(to), "{id}: {:?} to {to:?}", job.state);
        job.state = to;
    }

    /// What its user wants canceled and no provider has does not wait again.
    pub(crate) fn handed_back(&mut self, id: JobId, route: usize, until: Timestamp) {
        self.moved(id, JobState::Queued);
        self.waits(id, route, Some(until));
        if self.jobs[&id].cancel_requested {
            self.ended(id, JobState::Canceled, 0);
        }
    }

    /// It waits again: in its place in the line of `route`, or until a time.
    pub(crate) fn waits(&mut self, id: JobId, route: usize, until: Option<Timestamp>) {
        let job = self.jobs.get_mut(&id).unwrap();
        assert!(job.state == JobState::Queued && job.dispatched, "{id}: {job:?}");
        job.dispatched = false;
        job.route = route;
        job.ready_at = until.unwrap_or(job.ready_at);
    }

    /// Whoever waits for the route does not have to.
    pub(crate) fn opened(&mut self, route: usize, now: Timestamp) {
        self.shut[route] = None;
        for id in &self.live {
            let job = self.jobs.get_mut(id).unwrap();
            if job.state == JobState::Queued && !job.dispatched && job.route == route {
                job.ready_at = job.ready_at.min(now);
            }
        }
    }

    /// The job ended with so many files delivered.
    pub(crate) fn ended(&mut self, id: JobId, to: JobState, delivered: u32) {
        let job = self.jobs.get_mut(&id).unwrap();
        assert!(job.state.may_become(to), "{id}: {:?} to {to:?}", job.state);
        self.live.remove(&id);
        job.state = to;
        job.dispatched = false;
        let charged = match delivered {
            0 => 0,
            part => {
                let share = i128::from(job.price) * i128::from(part) / i128::from(job.outputs);
                i64::try_from(share).unwrap().max(1)
            }
        };
        let wallet = self.wallets.get_mut(&job.workspace).unwrap();
        wallet.held -= job.price;
        wallet.spent += charged;
        wallet.available += job.price - charged;
    }

    pub(crate) fn slots(&self, workspace: WorkspaceId) -> usize {
        let live = self.live.iter().map(|id| &self.jobs[id]);
        live.filter(|job| job.workspace == workspace && job.dispatched).count()
    }
}
