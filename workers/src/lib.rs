//! The worker pools: they claim jobs, call providers, store media and settle.
//!
//! | file | what |
//! |---|---|
//! | `pool` | a pool: its apalis workers, its poll loop, its word to the dispatcher |
//! | `poll` | the poll loop: leases what is due, as far as hands are free |
//! | `submit` | a hint becomes a claim, an attempt, and one call to the provider |
//! | `look` | what the poll loop does with a job: poll, cancel, look a lost answer up |
//! | `callbacks` | what providers reported, judged |
//! | `copies` | providers are asked to delete what they keep of accounts that ended |
//! | `exports` | copies of their data that people ask for |
//! | `inputs` | uploads become links or bytes |
//! | `store` | copying the media and settling |
//! | `providers` | the providers, each in its folder, behind one trait |
//!
//! A worker stores nothing of its own: whatever it knows is in the job's row before it goes on.
//! Killed at any point, its jobs are taken back when their leases expire.

mod callbacks;
mod copies;
mod engine;
pub mod exports;
mod inputs;
mod look;
mod poll;
mod pool;
pub mod providers;
#[cfg(test)]
mod stale;
mod store;
mod submit;

pub use pool::{PoolError, PoolSize, run};
