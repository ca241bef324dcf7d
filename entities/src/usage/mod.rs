//! The usage log, and what it comes to.
//!
//! | file | what |
//! |---|---|
//! | `log` | writing rows, and deleting them when their time is over |
//! | `days` | a partition for each day on Postgres, so that deleting is dropping |
//! | `summary` | requests, jobs and credits by day, model or key |
//!
//! Stored: `usage_log`, kept for as long as `retention.usage_log_days` says. It is for limits and
//! security; nothing that is charged depends on it.

mod days;
mod log;
mod summary;

pub use days::make_days;
pub use log::{UsageRow, expire, write};
pub use summary::{Group, GroupKey, Used, summarise};
