//! What kind of media a job makes, and how an attempt can end.

use std::time::Duration;

use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};

/// What a model makes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Still pictures.
    Image,
    /// Moving pictures.
    Video,
}

impl Kind {
    /// How long a job may take from its first claim until the provider is done.
    #[must_use]
    pub fn run_time_limit(self) -> Duration {
        match self {
            Self::Image => Duration::from_secs(10 * 60),
            Self::Video => Duration::from_secs(60 * 60),
        }
    }
}

/// What a provider says that a call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// What it cost us, in millionths of a US dollar.
    pub cost_usd_micros: Option<i64>,
    /// Millionths of the unit that the provider bills by.
    pub billed_units_micros: Option<i64>,
}

impl Usage {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { cost_usd_micros: None, billed_units_micros: None };
}

/// How an attempt ended, or where it stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// Committed before the call; no answer yet.
    Pending,
    /// The provider accepted it.
    Accepted,
    /// It delivered.
    Succeeded,
    /// Accepted, but it ended without a result.
    Failed,
    /// The input was refused.
    Rejected,
    /// Content rules refused it.
    Moderated,
    /// Not accepted: too many calls.
    Throttled,
    /// Not accepted, proven.
    Unavailable,
    /// No answer: it may have been accepted.
    Unknown,
    /// Not accepted: our account is at fault.
    Account,
    /// Canceled at the provider.
    Canceled,
    /// Given up at its deadline.
    TimedOut,
}

impl AttemptOutcome {
    /// Whether a call that ends so may have cost something of which nobody tells.
    #[must_use]
    pub fn may_have_cost(self) -> bool {
        match self {
            Self::Unknown | Self::TimedOut => true,
            Self::Pending
            | Self::Accepted
            | Self::Succeeded
            | Self::Failed
            | Self::Rejected
            | Self::Moderated
            | Self::Throttled
            | Self::Unavailable
            | Self::Account
            | Self::Canceled => false,
        }
    }

    /// Its name in metrics and in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Moderated => "moderated",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Account => "account",
            Self::Canceled => "canceled",
            Self::TimedOut => "timed_out",
        }
    }
}
