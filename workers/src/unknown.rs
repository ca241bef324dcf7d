//! Jobs of models that this process does not know, as while a new catalogue is rolled out: they are
//! left to a process that does.
//!
//! Such a job is not claimed: nothing is tried, counted or shown. It goes back to those that wait,
//! with its slot, so that it is in nobody's way, and is handed out again soon, then less often the
//! older it is. Until somebody knows its model, or its 24 hours in the queue are over.

use std::{str::FromStr as _, time::Duration};

use entities::{
    JobHint,
    catalogue::ModelId,
    routing::{find_queued, wait_behind},
    tables::jobs,
};

use crate::engine::{Engine, WorkError, resolved};

/// The shortest and the longest time until it is handed out again.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

impl Engine {
    /// Whether this process's catalogue has the job's model, offered here or not.
    pub(crate) fn knows(&self, job: &jobs::Model) -> bool {
        let id = ModelId::from_str(&job.model);
        id.is_ok_and(|id| self.context.catalogue.ids().contains(&id))
    }

    /// A hint whose job was not claimed: somebody was faster, or its model is not known here.
    pub(crate) async fn leave_unknown(&self, hint: JobHint) -> Result<(), WorkError> {
        match find_queued(self.context.db.read(), hint).await? {
            Some(job) if !self.knows(&job) => self.leave(&job).await,
            _ => Ok(()),
        }
    }

    /// Leaves the job to a process that knows its model.
    pub(crate) async fn leave(&self, job: &jobs::Model) -> Result<(), WorkError> {
        tracing::info!(model = job.model, "the job is left to a worker that knows its model");
        let age = self.now().since(job.created_at);
        let wait = wait_behind((age / 8).clamp(WAITS.0, WAITS.1), Self::dice());
        let current = usize::try_from(job.route).unwrap_or(0);
        self.defer(job, &resolved(job)?, current, Some(wait)).await
    }
}
