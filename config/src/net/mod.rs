//! The one place that makes HTTP clients for outside services, and that says what became of a
//! request that brought no answer.
//!
//! | file | what |
//! |---|---|
//! | `client` | the guarded clients, and reading an answer with a limit |
//! | `fetch` | media of providers, streamed from allowed places only |
//! | `guarded` | what users point to, never in our own networks |
//! | `origins` | which places are allowed |
//! | `plain` | one guarded request, for libraries that bring a protocol |
//! | `reach` | who can call an address of ours |
//! | `retry_after` | when a busy service wants to be asked again |
//!
//! Nothing is stored. What can fail is in [`Unanswered`] and [`FetchError`].

mod client;
mod fetch;
mod guarded;
mod origins;
mod plain;
mod reach;
mod retry_after;
#[cfg(test)]
mod tests;

pub use client::{ClientError, Timeouts, Unanswered, client, read};
pub use fetch::{FetchError, Fetcher};
pub use guarded::{Allowed, FetchLimits, Guarded, GuardedError};
pub use origins::Origins;
pub use plain::Plain;
pub use reach::reaches;
pub use retry_after::{busy_for, retry_after};
