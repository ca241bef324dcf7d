//! The states of a job and the moves between them. Pure; every UPDATE goes through [`JobState::may_become`].

use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};

/// Where a job stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Accepted, credits held; waiting or dispatched.
    Queued,
    /// A worker holds the lease; the attempt is committed before the call.
    Submitting,
    /// Sent, no answer. Never submitted again.
    Uncertain,
    /// The provider accepted it; its request id is stored.
    Running,
    /// Done at the provider; media is being copied.
    Storing,
    /// Terminal: delivered and captured.
    Succeeded,
    /// Terminal: nothing delivered, everything released.
    Failed,
    /// Terminal: ended by its user, everything released.
    Canceled,
}

/// The state as users see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicStatus {
    /// Not at a provider yet.
    Queued,
    /// Being worked on.
    Running,
    /// Delivered.
    Succeeded,
    /// Ended without a result.
    Failed,
    /// Ended by its user.
    Canceled,
}

/// A move that the rules do not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job cannot go from {from:?} to {to:?}")]
pub struct IllegalMove {
    /// From here,
    pub from: JobState,
    /// to there.
    pub to: JobState,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Submitting,
        Self::Uncertain,
        Self::Running,
        Self::Storing,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
    ];

    /// Whether a job may go from here to `to`.
    #[must_use]
    pub fn may_become(self, to: Self) -> bool {
        match self {
            Self::Queued => matches!(to, Self::Submitting | Self::Failed | Self::Canceled),
            Self::Submitting => matches!(
                to,
                Self::Running
                    | Self::Queued
                    | Self::Storing
                    | Self::Uncertain
                    | Self::Failed
                    | Self::Canceled
            ),
            Self::Uncertain => matches!(to, Self::Running | Self::Failed | Self::Canceled),
            Self::Running => matches!(to, Self::Storing | Self::Failed | Self::Canceled),
            Self::Storing => matches!(to, Self::Succeeded | Self::Failed),
            Self::Succeeded | Self::Failed | Self::Canceled => false,
        }
    }

    /// The same as [`Self::may_become`], as an error.
    ///
    /// # Errors
    /// When the move is not allowed.
    pub fn check(self, to: Self) -> Result<(), IllegalMove> {
        if self.may_become(to) { Ok(()) } else { Err(IllegalMove { from: self, to }) }
    }

    /// Whether nothing comes after this.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }

    /// The state as users see it.
    #[must_use]
    pub fn public(self) -> PublicStatus {
        match self {
            Self::Queued => PublicStatus::Queued,
            Self::Submitting | Self::Uncertain | Self::Running | Self::Storing => {
                PublicStatus::Running
            }
            Self::Succeeded => PublicStatus::Succeeded,
            Self::Failed => PublicStatus::Failed,
            Self::Canceled => PublicStatus::Canceled,
        }
    }

    /// Its name in metrics and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Submitting => "submitting",
            Self::Uncertain => "uncertain",
            Self::Running => "running",
            Self::Storing => "storing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

impl PublicStatus {
    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// The states that look like this.
    #[must_use]
    pub fn states(self) -> Vec<JobState> {
        JobState::ALL.into_iter().filter(|state| state.public() == self).collect()
    }
}

impl std::str::FromStr for PublicStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Canceled]
            .into_iter()
            .find(|status| status.name() == text)
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The table of the state diagram, written again by hand.
    const MOVES: [(&str, &[&str]); 8] = [
        ("queued", &["submitting", "failed", "canceled"]),
        ("submitting", &["running", "queued", "storing", "uncertain", "failed", "canceled"]),
        ("uncertain", &["running", "failed", "canceled"]),
        ("running", &["storing", "failed", "canceled"]),
        ("storing", &["succeeded", "failed"]),
        ("succeeded", &[]),
        ("failed", &[]),
        ("canceled", &[]),
    ];

    #[test]
    fn the_moves_are_those_of_the_diagram() {
        for from in JobState::ALL {
            let expected: HashSet<&str> = MOVES
                .iter()
                .filter(|(name, _)| *name == from.name())
                .flat_map(|(_, to)| to.iter().copied())
                .collect();
            let real: HashSet<&str> = JobState::ALL
                .into_iter()
                .filter(|to| from.may_become(*to))
                .map(JobState::name)
                .collect();
            assert_eq!(real, expected, "{from:?}");
        }
    }

    #[test]
    fn terminal_states_are_left_by_nothing_and_every_state_can_end() {
        for from in JobState::ALL {
            let ends = JobState::ALL.into_iter().any(|to| to.is_terminal() && from.may_become(to));
            assert_ne!(from.is_terminal(), ends, "{from:?}");
        }
    }
}
