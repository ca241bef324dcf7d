//! A running platform: one process, or several on PostgreSQL and Redis.
//!
//! | file | what |
//! |---|---|
//! | `options` | what a test wants to be different, and which processes that makes |
//! | `admin` | operators' commands, and the users they make |
//! | `data` | its database, and copies of it |

mod admin;
mod data;
mod options;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use reqwest::Client;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) use self::{admin::admin, options::Options};
use self::{data::new_database, options::roles};
use super::{
    Backend, Env, Process, http, run,
    servers::{self, OwnPostgres, OwnRedis},
    within,
};

/// How long a process may take until it is ready; a busy machine and a debug build are slow.
const READY: Duration = Duration::from_secs(60);

/// One process and how to start it.
struct Role {
    name: String,
    args: &'static [&'static str],
    ops: u16,
    /// Where it serves the API, if it does.
    listen: Option<u16>,
    /// The file with its catalogue, if it has one of its own.
    models: Option<PathBuf>,
    process: Option<Process>,
}

/// A running platform.
pub(crate) struct Cluster {
    pub(crate) backend: Backend,
    pub(crate) base: String,
    pub(crate) http: Client,
    /// Set where the test asked for its own.
    pub(crate) redis: Option<OwnRedis>,
    /// Set where the test asked for its own.
    pub(crate) postgres: Option<OwnPostgres>,
    env: Env,
    roles: Vec<Role>,
    /// How often something was killed.
    pub(super) kills: usize,
    folder: TempDir,
}

impl Cluster {
    /// Starts it with nothing special.
    pub(crate) async fn plain(backend: Backend) -> Self {
        Self::start(backend, Options::default()).await
    }

    /// Starts it; it is ready when this returns.
    pub(crate) async fn start(backend: Backend, options: Options) -> Self {
        let folder = tempfile::Builder::new().prefix("tiktomato-it-").tempdir().unwrap();
        let mut roles = roles(backend, &options);
        give_models(&mut roles, &options, folder.path());
        let base = base_of(&roles[0]);
        let mut env = vec![
            ("TIKTOMATO_DATA".into(), folder.path().join("data").display().to_string()),
            ("TIKTOMATO__GATEWAY__PUBLIC_URL".into(), base.clone()),
            ("RUST_LOG".into(), "warn".into()),
            // A test knows when nobody looks any more.
            ("TIKTOMATO__GATEWAY__DRAIN_SECONDS".into(), "0".into()),
            ("TIKTOMATO__RETENTION__SCRUB_SECONDS".into(), "2".into()),
        ];
        let (mut redis, mut postgres) = (None, None);
        if backend == Backend::Distributed {
            redis = options.own_redis.then(OwnRedis::start);
            postgres = options.own_postgres.then(OwnPostgres::start);
            let server = postgres.as_ref().map_or_else(servers::postgres, OwnPostgres::url);
            let redis_url = redis.as_ref().map_or_else(servers::redis, OwnRedis::url);
            let prefix = Uuid::new_v4().simple().to_string();
            let mut url = new_database(&server, None).await;
            if let Some(password) = &options.database_password {
                url = url.replace("postgres@", &format!("postgres:{password}@"));
            }
            env.push(("DATABASE_URL".into(), url));
            env.push(("REDIS_URL".into(), redis_url));
            env.push(("TIKTOMATO__REDIS__PREFIX".into(), prefix.clone()));
            env.push(("TIKTOMATO__SECRETS__MASTER".into(), prefix.repeat(2)));
        }
        env.extend(options.env.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let http = http();
        let mut cluster =
            Self { backend, base, http, redis, postgres, env, roles, kills: 0, folder };
        if backend == Backend::Distributed {
            let migrated = run(&["migrate", "up"], &cluster.env);
            assert!(migrated.status.success(), "{migrated:?}");
        }
        cluster.start_all().await;
        cluster
    }

    /// Starts whatever is not running and waits until all are ready.
    pub(crate) async fn start_all(&mut self) {
        self.spawn_missing();
        for index in 0..self.roles.len() {
            self.ready(index).await;
        }
    }

    /// Starts whatever is not running, without waiting.
    pub(crate) fn spawn_missing(&mut self) {
        for index in 0..self.roles.len() {
            if self.roles[index].process.is_none() {
                self.spawn(index);
            }
        }
    }

    fn spawn(&mut self, index: usize) {
        let role = &mut self.roles[index];
        let mut env = self.env.clone();
        env.push(("TIKTOMATO__OPS__LISTEN".into(), format!("127.0.0.1:{}", role.ops)));
        if let Some(port) = role.listen {
            env.push(("TIKTOMATO__GATEWAY__LISTEN".into(), format!("127.0.0.1:{port}")));
        }
        let mut args = role.args.to_vec();
        if let Some(models) = &role.models {
            args.extend(["--models", models.to_str().unwrap()]);
        }
        role.process = Some(Process::start(&role.name, &args, &env, self.folder.path()));
    }

    /// Waits until one process is ready; panics if it ends instead.
    async fn ready(&mut self, index: usize) {
        let role = &mut self.roles[index];
        let url = format!("http://127.0.0.1:{}/readyz", role.ops);
        let what = format!("{} becomes ready", role.name);
        let (http, process) = (self.http.clone(), role.process.as_mut().unwrap());
        within(READY, &what, || {
            assert!(process.exited().is_none(), "it ended: {}", process.log_text());
            let request = http.get(&url);
            async { request.send().await.ok().filter(|answer| answer.status() == 200) }
        })
        .await;
    }

    /// `kill -9` for the process of this name (`tiktomato`; `gateway`, `gateway-1` …; `workers`,
    /// `workers-1` …; `scheduler-0`, `scheduler-1` …).
    pub(crate) fn kill(&mut self, name: &str) {
        self.take(name).kill();
        self.kills += 1;
    }

    /// Hands the process of this name over, to be stopped in some other way.
    pub(crate) fn take(&mut self, name: &str) -> Process {
        let role = self.roles.iter_mut().find(|role| role.name == name).unwrap();
        role.process.take().unwrap()
    }

    /// Sends a signal to the process of this name.
    pub(crate) fn signal(&self, name: &str, signal: &str) {
        self.role(name).process.as_ref().unwrap().signal(signal);
    }

    /// Checks that no process has ended.
    pub(crate) fn all_live(&mut self) {
        for role in &mut self.roles {
            let process = role.process.as_mut().unwrap();
            let ended = process.exited();
            assert!(ended.is_none(), "{} ended: {}", role.name, process.log_text());
        }
    }

    /// The names of all processes.
    pub(crate) fn names(&self) -> Vec<String> {
        self.roles.iter().map(|role| role.name.clone()).collect()
    }

    /// Starts the process of this name, without waiting.
    pub(crate) fn spawn_one(&mut self, name: &str) {
        let index = self.roles.iter().position(|role| role.name == name).unwrap();
        assert!(self.roles[index].process.is_none(), "{name} runs already");
        self.spawn(index);
    }

    /// Waits until the process of this name is ready; panics if it ends instead.
    pub(crate) async fn until_ready(&mut self, name: &str) {
        let index = self.roles.iter().position(|role| role.name == name).unwrap();
        self.ready(index).await;
    }

    /// Whether the process of this name says that it is ready, at once.
    pub(crate) async fn is_ready(&self, name: &str) -> bool {
        let request = self.http.get(format!("{}/readyz", self.ops_of(name)));
        let answer = request.timeout(Duration::from_millis(500)).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    /// Forgets the process of this name if it has ended by itself; says how.
    pub(crate) fn reap(&mut self, name: &str) -> Option<ExitStatus> {
        let role = self.roles.iter_mut().find(|role| role.name == name).unwrap();
        let ended = role.process.as_mut().and_then(Process::exited);
        if ended.is_some() {
            role.process = None;
        }
        ended
    }

    fn role(&self, name: &str) -> &Role {
        self.roles.iter().find(|role| role.name == name).unwrap()
    }

    /// Stops everything as an operator does, and asserts that each ends well.
    pub(crate) async fn stop(&mut self) {
        for role in &mut self.roles {
            if let Some(process) = role.process.take() {
                process.stop("TERM").await;
            }
        }
    }

    /// Adds or replaces a setting; it counts from the next start.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Where the `n`th gateway is.
    pub(crate) fn base_of(&self, n: usize) -> String {
        base_of(self.roles.iter().filter(|role| role.listen.is_some()).nth(n).unwrap())
    }

    /// The operations port of the process of this name.
    pub(crate) fn ops_of(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}", self.role(name).ops)
    }

    /// The operations ports.
    pub(crate) fn ops(&self) -> Vec<String> {
        self.roles.iter().map(|role| format!("http://127.0.0.1:{}", role.ops)).collect()
    }

    /// Everything that all processes wrote.
    pub(crate) fn logs(&self) -> String {
        let processes = self.roles.iter().filter_map(|role| role.process.as_ref());
        processes.map(Process::log_text).collect()
    }

    /// The master secret.
    pub(crate) fn master(&self) -> String {
        match self.env.iter().find(|(name, _)| name == "TIKTOMATO__SECRETS__MASTER") {
            Some((_, master)) => master.clone(),
            None => fs::read_to_string(self.data().join("master.key")).unwrap(),
        }
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Everything that it writes is below this.
    pub(super) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Where its Redis is, and what its keys begin with.
    pub(super) fn redis_place(&self) -> Option<(String, String)> {
        let value = |name: &str| {
            self.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        Some((value("REDIS_URL")?, value("TIKTOMATO__REDIS__PREFIX")?))
    }

    /// The process id of the process of this name.
    pub(crate) fn pid(&self, name: &str) -> u32 {
        self.role(name).process.as_ref().unwrap().pid()
    }

    /// The settings that its processes were started with, but for where they listen.
    pub(crate) fn env(&self) -> &Env {
        &self.env
    }
}

/// Writes the catalogues that the test wants.
fn give_models(roles: &mut [Role], options: &Options, folder: &Path) {
    for role in roles {
        let own = options.models.iter().find(|(name, _)| *name == Some(role.name.as_str()));
        let any = || options.models.iter().find(|(name, _)| name.is_none());
        if let Some((_, text)) = own.or_else(any) {
            let file = folder.join(format!("{}-models.toml", role.name));
            fs::write(&file, text).unwrap();
            role.models = Some(file);
        }
    }
}

fn base_of(role: &Role) -> String {
    format!("http://127.0.0.1:{}", role.listen.unwrap())
}
