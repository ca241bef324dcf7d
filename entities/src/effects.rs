//! What a use case asks the rest of the platform to do after its transaction has committed.
//!
//! All of it may be lost without harm: a push is repeated by the sweep, an announcement by a slow
//! look at the database, a metric by nothing.

use std::collections::BTreeSet;

use crate::{
    Credits, JobHint,
    ids::{ApiKeyId, JobId},
    job::PublicStatus,
};

/// What to do once the transaction has committed.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Effects {
    /// Jobs that changed in a way their users can see, with the new version.
    pub changed: Vec<(JobId, i64)>,
    /// Pools in which a job may now be dispatched.
    pub dispatch: BTreeSet<String>,
    /// Hints to push, by pool.
    pub pushes: Vec<(String, JobHint)>,
    /// Jobs that ended.
    pub finished: Vec<JobEnd>,
    /// Movements of credits.
    pub credits: Vec<(Verb, Credits)>,
    /// Providers whose callbacks wait for a verdict.
    pub callbacks: BTreeSet<String>,
    /// Keys that were revoked.
    pub revoked: Vec<ApiKeyId>,
}

/// The end of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    /// The public model id.
    pub model: String,
    /// How it ended.
    pub status: PublicStatus,
}

/// What happens to a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// available → held
    Hold,
    /// held → sales
    Capture,
    /// held → available
    Release,
}

impl Verb {
    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Capture => "capture",
            Self::Release => "release",
        }
    }
}

impl Effects {
    /// Whether these are the effects of submits: jobs were added to those that wait for a slot, and
    /// no slot was freed.
    #[must_use]
    pub fn only_adds(&self) -> bool {
        self.credits.iter().any(|(verb, _)| *verb == Verb::Hold)
            && self.credits.iter().all(|(verb, _)| *verb == Verb::Hold)
    }

    /// Adds what `other` asks for.
    pub fn merge(&mut self, other: Self) {
        self.changed.extend(other.changed);
        self.dispatch.extend(other.dispatch);
        self.pushes.extend(other.pushes);
        self.finished.extend(other.finished);
        self.credits.extend(other.credits);
        self.callbacks.extend(other.callbacks);
        self.revoked.extend(other.revoked);
    }
}
