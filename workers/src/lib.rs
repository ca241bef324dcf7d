//! The worker pools: they claim jobs, call providers, store media and settle.
//!
//! | file | what |
//! |---|---|
//! | `pool` | a pool: its apalis workers, its poll loop, its word to the dispatcher |
//! | `poll` | the poll loop: leases what is due, as far as hands are free |
//! | `submit` | a hint becomes a claim, an attempt, and one call to the provider |
//! | `routes` | which of its routes a job takes |
//! | `retry` | the one layer that repeats what is safe to repeat |
//! | `look` | what the poll loop does with a job: poll, cancel, look a lost answer up |
//! | `cadence` | how often it looks |
//! | `callbacks` | what providers reported, judged |
//! | `copies` | providers are asked to delete what they keep of accounts that ended |
//! | `exports` | copies of their data that people ask for |
//! | `inputs` | uploads become links or bytes |
//! | `store` | copying the media and settling |
//! | `providers` | the providers, each in its folder, behind one trait |
//!
//! A worker stores nothing of its own: whatever it knows is in the job's row before it goes on.
//! Killed at any point, its jobs are taken back when their leases expire.

mod cadence;
mod callbacks;
mod copies;
mod engine;
pub mod exports;
mod inputs;
mod look;
mod poll;
mod pool;
pub mod providers;
mod retry;
mod routes;
#[cfg(test)]
mod stale;
mod store;
mod submit;
mod unknown;

pub use retry::Retries;

pub use pool::{PoolError, PoolSize, run};
