//! Requests to places outside of the platform.
//!
//! | file | what |
//! |---|---|
//! | `guarded` | fetching what users point to, never from our own networks |

mod guarded;

pub use guarded::{Allowed, FetchLimits, Guarded, GuardedError};
