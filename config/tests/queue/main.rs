//! The queue and the announcements, from outside: one suite that both queues pass, and what Redis
//! alone can do wrong. Tests that need a `redis-server` are ignored unless asked for.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "measured times are worth a look")]

mod announcements;
mod cluster;
mod conformance;
mod entries;
mod faults;
mod limiter;
mod proxy;
mod rates;
mod server;
mod speed;
mod stopping;
mod support;
mod tls;
