//! The integration tests: they start the real binary and look at it only from outside, through
//! HTTP, the command line, signals, files and, where damage is planted, SQL.
//!
//! Each test is written once, takes a [`harness::Backend`] and ends with `Cluster::finish`, which
//! checks the invariants. The distributed half needs PostgreSQL and Redis and is ignored unless
//! asked for (`tests/run` does). `TIKTOMATO_TEST_BACKENDS=distributed` runs only that half.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "the environment says what to test, chance when to kill, and a bare client is what a user has"
)]

/// Makes one test per backend out of each `async fn name(backend: Backend)`.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if crate::harness::Backend::Embedded.wanted() {
                    super::$name(crate::harness::Backend::Embedded).await;
                }
            })*
        }
        mod distributed {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs PostgreSQL and Redis; tests/run runs it"]
            async fn $name() {
                if crate::harness::Backend::Distributed.wanted() {
                    super::$name(crate::harness::Backend::Distributed).await;
                }
            })*
        }
    };
}

/// Makes a test that runs only on PostgreSQL and Redis.
macro_rules! distributed {
    ($($name:ident),* $(,)?) => {
        mod distributed {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs PostgreSQL and Redis; tests/run runs it"]
            async fn $name() {
                if crate::harness::Backend::Distributed.wanted() {
                    super::$name().await;
                }
            })*
        }
    };
}

mod audit;
mod auth;
mod bad_input;
mod bad_requests;
mod callbacks;
mod cancels;
mod chaos;
mod chaos_short;
mod covered;
mod disk;
mod distributed;
mod drain;
mod erasure;
mod events;
mod exports;
mod failures;
mod fairness;
mod fal;
mod fal_callbacks;
mod fal_faults;
mod frozen;
mod gateways;
mod given_up;
mod google;
mod handover;
mod handover_limits;
mod harness;
mod huggingface;
mod idempotency;
mod identities;
mod jobs;
mod keys;
mod kie;
mod kie_callbacks;
mod kie_reports;
mod kill;
mod leaders;
mod lifecycle;
mod limits;
mod listing;
mod mail_server;
mod market;
mod media;
mod operators;
mod ops;
mod orphans;
mod out_of_credit;
mod outages;
mod patience;
mod plans;
mod privacy;
mod promises;
mod race;
mod reconcile;
mod retention;
mod rollout;
mod routing;
mod secrets;
mod sessions;
mod shapes;
mod sign_in;
mod sign_up;
mod start;
mod start_refused;
mod steps;
mod thumbnails;
mod tls;
mod uploads;
mod usage;
mod waits;
