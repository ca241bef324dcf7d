//! The model: what a person with pencil and paper would keep of the platform.

use std::collections::BTreeMap;

use entities::{
    ids::{JobId, WorkspaceId},
    job::JobState,
};

/// What is known of one job.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) workspace: WorkspaceId,
    pub(crate) price: i64,
    pub(crate) outputs: u32,
    pub(crate) state: JobState,
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
    pub(crate) wallets: BTreeMap<WorkspaceId, Wallet>,
}

impl Model {
    pub(crate) fn submitted(&mut self, id: JobId, job: Job) {
        let wallet = self.wallets.get_mut(&job.workspace).unwrap();
        assert!(wallet.available >= job.price, "{id} was accepted without funds");
        wallet.available -= job.price;
        wallet.held += job.price;
        self.jobs.insert(id, job);
    }

    /// The job took a step that keeps it alive.
    pub(crate) fn moved(&mut self, id: JobId, to: JobState) {
        let job = self.jobs.get_mut(&id).unwrap();
        assert!(job.state == to || job.state.may_become(to), "{id}: {:?} to {to:?}", job.state);
        if to == JobState::Queued {
            job.dispatched = false;
        }
        job.state = to;
    }

    /// What its user wants canceled and no provider has does not wait again.
    pub(crate) fn handed_back(&mut self, id: JobId) {
        self.moved(id, JobState::Queued);
        if self.jobs[&id].cancel_requested {
            self.ended(id, JobState::Canceled, 0);
        }
    }

    /// The job ended with so many files delivered.
    pub(crate) fn ended(&mut self, id: JobId, to: JobState, delivered: u32) {
        let job = self.jobs.get_mut(&id).unwrap();
        assert!(job.state.may_become(to), "{id}: {:?} to {to:?}", job.state);
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
        self.jobs.values().filter(|job| job.workspace == workspace && job.dispatched).count()
    }

    pub(crate) fn live_jobs(&self) -> Vec<JobId> {
        let live = self.jobs.iter().filter(|(_, job)| !job.state.is_terminal());
        live.map(|(id, _)| *id).collect()
    }
}
