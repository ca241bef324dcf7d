//! What every test stands on: a running platform, a client of it, and its database.

mod api;
mod cluster;
mod db;
mod invariants;
mod people;
mod process;
mod scan;
mod servers;
mod wait;

pub(crate) use api::{Answer, Api, http, is_terminal, sketch};
pub(crate) use cluster::{Cluster, Options, admin};
pub(crate) use db::{Database, uuid_of};
pub(crate) use people::{Browser, sign_up};
pub(crate) use process::{Env, Process, run};
pub(crate) use scan::{files, unzip};
pub(crate) use servers::OwnPostgres;
pub(crate) use servers::OwnRedis;
pub(crate) use wait::{eventually, free_port, within};

/// Which half of the platform's faces a test runs against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// One process, SQLite, the queue in memory.
    Embedded,
    /// A gateway, workers and a scheduler on PostgreSQL and Redis.
    Distributed,
}

impl Backend {
    /// Whether `TIKTOMATO_TEST_BACKENDS` (a comma-separated list) leaves it in; unset leaves the
    /// choice to the test runner's `--ignored`.
    pub(crate) fn wanted(self) -> bool {
        let name = match self {
            Self::Embedded => "embedded",
            Self::Distributed => "distributed",
        };
        match std::env::var("TIKTOMATO_TEST_BACKENDS") {
            Ok(list) => list.split(',').any(|wanted| wanted.trim() == name),
            Err(_) => true,
        }
    }
}
