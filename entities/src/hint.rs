//! The queue's only message: a hint that a job may be claimed.
//!
//! The database is the truth; a hint that is lost, repeated, late or stale does no harm, because
//! a claim succeeds only while the job still has this `epoch`.

use serde::{Deserialize, Serialize};

use crate::ids::JobId;

/// The version of the payload's shape. A worker leaves payloads of another version alone.
pub const HINT_VERSION: u16 = 1;

/// "Job `job_id` may be claimed, if its epoch is still `epoch`."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobHint {
    /// The job.
    pub job_id: JobId,
    /// The job's epoch when the hint was pushed.
    pub epoch: i64,
}
