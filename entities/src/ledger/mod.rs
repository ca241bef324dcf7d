//! Double entry: every transfer moves an amount from one account to another.
//!
//! [`fold`] is the pure rule that balances obey; `post` writes transfers. Entries are never
//! edited or deleted, and `UNIQUE(kind, reference)` makes each happen once.

mod fold;
mod grant;
mod list;
pub(crate) mod post;

pub use fold::{Balances, Overdrawn, Transfer, fold};
pub use grant::{GrantError, find_grant, grant, grant_once};
pub use list::entries;
use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};

/// An account of the ledger. `Available` and `Held` belong to a workspace, the rest to the platform.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// What a workspace can spend.
    Available,
    /// What a workspace has promised to live jobs.
    Held,
    /// What the platform has earned.
    Sales,
    /// What was bought.
    Purchases,
    /// What was given.
    Grants,
}

/// What a transfer is; its reference says which one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// available → held, for a job.
    Hold,
    /// held → sales, for a job.
    Capture,
    /// held → available, for a job.
    Release,
    /// grants → available; the reference is the grant's own id.
    Grant,
}

impl EntryKind {
    /// The accounts that it moves between.
    #[must_use]
    pub fn accounts(self) -> (Account, Account) {
        match self {
            Self::Hold => (Account::Available, Account::Held),
            Self::Capture => (Account::Held, Account::Sales),
            Self::Release => (Account::Held, Account::Available),
            Self::Grant => (Account::Grants, Account::Available),
        }
    }
}
