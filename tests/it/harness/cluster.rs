//! A running platform: one process, or several on PostgreSQL and Redis.

use std::{fs, path::PathBuf, time::Duration};

use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use super::{
    Api, Backend, Database, Env, Process, free_port, http, run,
    servers::{self, OwnRedis},
    within,
};

/// How long a process may take until it is ready; a busy machine and a debug build are slow.
const READY: Duration = Duration::from_secs(60);

/// What a test wants to be different.
pub(crate) struct Options {
    /// More settings.
    pub(crate) env: Vec<(&'static str, String)>,
    /// A Redis server that the test may stop.
    pub(crate) own_redis: bool,
    /// How many schedulers run.
    pub(crate) schedulers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { env: Vec::new(), own_redis: false, schedulers: 1 }
    }
}

/// One process and how to start it.
struct Role {
    name: String,
    args: &'static [&'static str],
    ops: u16,
    process: Option<Process>,
}

/// A running platform.
pub(crate) struct Cluster {
    pub(crate) backend: Backend,
    pub(crate) base: String,
    pub(crate) http: Client,
    /// Set where the test asked for its own.
    pub(crate) redis: Option<OwnRedis>,
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
        let base = format!("http://127.0.0.1:{}", free_port());
        let listen = base.trim_start_matches("http://").to_owned();
        let mut env = vec![
            ("TIKTOMATO_DATA".into(), folder.path().join("data").display().to_string()),
            ("TIKTOMATO__GATEWAY__LISTEN".into(), listen),
            ("TIKTOMATO__GATEWAY__PUBLIC_URL".into(), base.clone()),
            ("RUST_LOG".into(), "warn".into()),
            // A test knows when nobody looks any more.
            ("TIKTOMATO__GATEWAY__DRAIN_SECONDS".into(), "0".into()),
        ];
        let mut redis = None;
        if backend == Backend::Distributed {
            redis = options.own_redis.then(OwnRedis::start);
            let redis_url = redis.as_ref().map_or_else(servers::redis, OwnRedis::url);
            let prefix = Uuid::new_v4().simple().to_string();
            env.push(("DATABASE_URL".into(), new_database(None).await));
            env.push(("REDIS_URL".into(), redis_url));
            env.push(("TIKTOMATO__REDIS__PREFIX".into(), prefix.clone()));
            env.push(("TIKTOMATO__SECRETS__MASTER".into(), prefix.repeat(2)));
        }
        env.extend(options.env.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let roles = roles(backend, options.schedulers);
        let mut cluster = Self { backend, base, http: http(), redis, env, roles, kills: 0, folder };
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
        role.process = Some(Process::start(&role.name, role.args, &env, self.folder.path()));
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

    /// `kill -9` for the process of this name (`tiktomato`, `gateway`, `workers`, `scheduler-0`).
    pub(crate) fn kill(&mut self, name: &str) {
        let role = self.roles.iter_mut().find(|role| role.name == name).unwrap();
        role.process.take().unwrap().kill();
        self.kills += 1;
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

    /// What `tiktomato admin … --json` answers, and whether it ended well.
    pub(crate) fn admin(&self, args: &[&str]) -> (bool, Value) {
        admin(args, &self.env)
    }

    /// A new user with a key and, if above zero, these credits.
    pub(crate) fn user(&self, credits: i64) -> Api {
        let email = format!("{}@example.com", Uuid::new_v4().simple());
        let (ok, user) = self.admin(&["create-user", "--email", &email, "--name", "Test"]);
        assert!(ok && user["email"] == email.as_str() && user["id"].is_string(), "{user}");
        let (ok, key) = self.admin(&["create-key", "--user", &email]);
        assert!(ok, "{key}");
        let key = key["key"].as_str().unwrap().to_owned();
        assert!(key.starts_with("tt_live_"), "{key}");
        if credits > 0 {
            let amount = credits.to_string();
            let grant =
                ["grant-credits", "--user", &email, "--credits", &amount, "--reason", "test"];
            let (ok, wallet) = self.admin(&grant);
            assert!(ok && wallet["available"] == credits && wallet["held"] == 0, "{wallet}");
        }
        Api { http: self.http.clone(), base: self.base.clone(), key, email }
    }

    /// Its database.
    pub(crate) async fn database(&self) -> Database {
        Database::open(&self.database_url()).await
    }

    /// A copy of the stopped platform's truth: settings that point at it, and its database.
    pub(crate) async fn copy(&self) -> (Env, Database) {
        let mut env = self.env.clone();
        if self.backend == Backend::Distributed {
            let name = self.database_url().rsplit('/').next().unwrap().to_owned();
            let url = new_database(Some(&name)).await;
            env.retain(|(known, _)| known != "DATABASE_URL");
            env.push(("DATABASE_URL".into(), url.clone()));
            return (env, Database::open(&url).await);
        }
        let folder = self.folder.path().join(Uuid::new_v4().to_string());
        fs::create_dir(&folder).unwrap();
        for entry in fs::read_dir(self.data()).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
            }
        }
        env.retain(|(known, _)| known != "TIKTOMATO_DATA");
        env.push(("TIKTOMATO_DATA".into(), folder.display().to_string()));
        let url = format!("sqlite://{}?mode=rw", folder.join("tiktomato.db").display());
        (env, Database::open(&url).await)
    }

    fn database_url(&self) -> String {
        let found = self.env.iter().find(|(name, _)| name == "DATABASE_URL");
        match found {
            Some((_, url)) => url.clone(),
            None => format!("sqlite://{}?mode=rw", self.data().join("tiktomato.db").display()),
        }
    }
}

/// What `tiktomato admin … --json` answers under these settings, and whether it ended well.
pub(crate) fn admin(args: &[&str], env: &Env) -> (bool, Value) {
    let all: Vec<&str> = ["admin"].iter().chain(args).chain(&["--json"]).copied().collect();
    let output = run(&all, env);
    let answer = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{args:?} answered no JSON ({error}): {output:?}"));
    (output.status.success(), answer)
}

fn roles(backend: Backend, schedulers: usize) -> Vec<Role> {
    let role =
        |name: &str, args| Role { name: name.to_owned(), args, ops: free_port(), process: None };
    if backend == Backend::Embedded {
        return vec![role("tiktomato", &[])];
    }
    let mut roles =
        vec![role("gateway", &["gateway"]), role("workers", &["workers", "--pool", "demo=16"])];
    roles.extend((0..schedulers).map(|n| role(&format!("scheduler-{n}"), &["scheduler"])));
    roles
}

/// Makes a database, empty or like another one; its URL.
async fn new_database(like: Option<&str>) -> String {
    let (server, name) = (servers::postgres(), format!("t{}", Uuid::new_v4().simple()));
    let database = Database::open(&format!("{server}/postgres")).await;
    let template = like.map(|like| format!(" TEMPLATE {like}")).unwrap_or_default();
    database.write(&format!("CREATE DATABASE {name}{template}")).await;
    database.close().await;
    format!("{server}/{name}")
}
