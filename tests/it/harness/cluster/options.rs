//! What a test wants to be different.

use super::{
    super::{Backend, free_port},
    Role,
};

/// What a test wants to be different.
pub(crate) struct Options {
    /// More settings.
    pub(crate) env: Vec<(&'static str, String)>,
    /// A Redis server that the test may stop.
    pub(crate) own_redis: bool,
    /// A PostgreSQL server that the test may stop.
    pub(crate) own_postgres: bool,
    /// The password in the database's URL. PostgreSQL is told it, and does not ask for one.
    pub(crate) database_password: Option<String>,
    /// How many gateways run.
    pub(crate) gateways: usize,
    /// How many worker processes run.
    pub(crate) workers: usize,
    /// How many schedulers run.
    pub(crate) schedulers: usize,
    /// How the workers are started where they are a process of their own.
    pub(crate) worker_args: &'static [&'static str],
    /// Catalogues in place of the one that is built in, by process; without a name, for all others.
    pub(crate) models: Vec<(Option<&'static str>, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            env: Vec::new(),
            own_redis: false,
            own_postgres: false,
            database_password: None,
            gateways: 1,
            workers: 1,
            schedulers: 1,
            worker_args: &["workers", "--pool", "demo=16"],
            models: Vec::new(),
        }
    }
}

/// The processes that run.
pub(super) fn roles(backend: Backend, options: &Options) -> Vec<Role> {
    let role = |name: String, args, listen| Role {
        name,
        args,
        ops: free_port(),
        listen,
        models: None,
        process: None,
    };
    if backend == Backend::Embedded {
        return vec![role("tiktomato".to_owned(), &[], Some(free_port()))];
    }
    let name = |name: &str, n: usize| match n {
        0 => name.to_owned(),
        n => format!("{name}-{n}"),
    };
    let gateways = (0..options.gateways)
        .map(|n| role(name("gateway", n), &["gateway"][..], Some(free_port())));
    let workers = (0..options.workers).map(|n| role(name("workers", n), options.worker_args, None));
    let schedulers =
        (0..options.schedulers).map(|n| role(format!("scheduler-{n}"), &["scheduler"][..], None));
    gateways.chain(workers).chain(schedulers).collect()
}
