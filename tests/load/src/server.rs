//! The servers under test: one embedded process, or gateway, workers and scheduler, with an
//! environment of their own. They are stopped, and their files removed, when this is dropped.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cli::{Backend, Target},
    http::{Connection, request},
    machine,
    services::{Postgres, Redis, free_port, output},
};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// The limits on requests.
const LIMITS: [&str; 4] =
    ["REQUESTS_PER_ADDRESS", "ANONYMOUS_PER_ADDRESS", "REQUESTS_PER_KEY", "REQUESTS_PER_WORKSPACE"];
/// The database's name on a PostgreSQL of ours.
const DATABASE: &str = "tiktomato";

/// One process of ours.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: &'static str,
    pub(crate) operations: SocketAddr,
    child: Child,
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A field of its status that is memory, such as `VmRSS` or its peak `VmHWM`, in KiB.
    pub(crate) fn memory_kib(&self, field: &str) -> anyhow::Result<u64> {
        let value = machine::field(&format!("/proc/{}/status", self.child.id()), field);
        let number = value.trim_end_matches(" kB");
        number.parse().with_context(|| format!("{}: {field} is {value}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        stop(&mut self.child, "TERM");
    }
}

/// All that was started. Fields are dropped in order: processes before what they use.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) processes: Vec<Process>,
    pub(crate) gateway: SocketAddr,
    pub(crate) postgres: Option<Postgres>,
    _redis: Option<Redis>,
    binary: PathBuf,
    env: Vec<(String, String)>,
    folder: TempDir,
}

impl Servers {
    /// Starts what the target names, with these settings besides its own, and waits for it.
    pub(crate) async fn start(
        target: &Target,
        settings: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tt-load.").tempdir()?;
        // PostgreSQL's user has to get in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let gateway = listens_at(settings)?;
        let mut env = vec![
            ("TIKTOMATO_DATA".to_owned(), folder.path().join("data").display().to_string()),
            ("TIKTOMATO__DEMO__ENABLED".to_owned(), "false".to_owned()),
            ("TIKTOMATO__GATEWAY__LISTEN".to_owned(), gateway.to_string()),
            ("TIKTOMATO__WORKERS__POOLS".to_owned(), format!("demo={}", target.pool())),
        ];
        // One address, one key: more than any client of a limited service may ask.
        for limit in ["ADDRESS", "KEY", "WORKSPACE"] {
            env.push((format!("TIKTOMATO__LIMITS__REQUESTS_PER_{limit}"), "0".to_owned()));
        }
        // A generator of load is one client that asks as often as it can.
        for limit in LIMITS {
            env.push((format!("TIKTOMATO__LIMITS__{limit}"), "1000000000".to_owned()));
        }
        env.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let binary = target.binary.clone().map_or_else(beside_this, Ok)?;
        let (mut postgres, mut redis) = (None, None);
        if target.backend == Backend::Postgres {
            let database = Postgres::start(folder.path(), target.postgres_bin.as_deref())?;
            if !target.fresh_log {
                database.make_log_files()?;
            }
            let queue = Redis::start(folder.path())?;
            env.push(("DATABASE_URL".to_owned(), database.create_database(DATABASE)?));
            env.push(("REDIS_URL".to_owned(), queue.url()));
            env.push(("TIKTOMATO__SECRETS__MASTER".to_owned(), "only-for-a-benchmark".repeat(2)));
            (postgres, redis) = (Some(database), Some(queue));
        }
        let processes = Vec::new();
        let mut servers = Self { processes, gateway, postgres, _redis: redis, binary, env, folder };
        servers.start_processes(target).await?;
        Ok(servers)
    }

    async fn start_processes(&mut self, target: &Target) -> anyhow::Result<()> {
        match target.backend {
            Backend::Sqlite => self.spawn("tiktomato", &[])?,
            Backend::Postgres => {
                output(self.command().args(["migrate", "up"]))?;
                self.spawn("gateway", &["gateway"])?;
                // What was said last counts.
                let pool = self.env.iter().rfind(|(name, _)| name == "TIKTOMATO__WORKERS__POOLS");
                let pool = pool.map_or_else(String::new, |(_, pool)| pool.clone());
                self.spawn("workers", &["workers", "--pool", &pool])?;
                self.spawn("scheduler", &["scheduler"])?;
            }
        }
        let mut started = std::mem::take(&mut self.processes);
        for process in &mut started {
            self.until_ready(process).await?;
        }
        self.processes = started;
        Ok(())
    }

    /// Starts one more gateway on the same database, with these settings instead of the first one's,
    /// and waits for it; where it listens.
    pub(crate) async fn another_gateway(
        &self,
        settings: &[(&str, String)],
    ) -> anyhow::Result<(SocketAddr, Process)> {
        let address = free_port()?;
        let listens = ("TIKTOMATO__GATEWAY__LISTEN", address.to_string());
        let mut process = self.process("another-gateway", &["gateway"], &[settings, &[listens]])?;
        self.until_ready(&mut process).await?;
        Ok((address, process))
    }

    async fn until_ready(&self, process: &mut Process) -> anyhow::Result<()> {
        let deadline = Deadline::after(PATIENCE);
        while let Err(error) = ready(process.operations).await {
            if let Some(status) = process.child.try_wait()? {
                let log = log_file(self.folder.path(), process.name);
                bail!("{} ended, {status}: {}", process.name, last_lines(&log));
            }
            deadline.pause(process.name).context(error)?;
        }
        Ok(())
    }

    fn spawn(&mut self, name: &'static str, arguments: &[&str]) -> anyhow::Result<()> {
        let process = self.process(name, arguments, &[])?;
        self.processes.push(process);
        Ok(())
    }

    fn process(
        &self,
        name: &'static str,
        arguments: &[&str],
        settings: &[&[(&str, String)]],
    ) -> anyhow::Result<Process> {
        let operations = free_port()?;
        let log = File::create(log_file(self.folder.path(), name))?;
        let child = self
            .command()
            .args(arguments)
            .envs(settings.iter().copied().flatten().map(|(name, value)| (name, value)))
            .env("TIKTOMATO__OPS__LISTEN", operations.to_string())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        Ok(Process { name, operations, child })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(self.folder.path());
        for name in ["DATABASE_URL", "REDIS_URL", "FAL_KEY", "HF_TOKEN", "KIE_API_KEY"] {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `tiktomato admin …` beside the servers.
    pub(crate) fn admin(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let text = output(self.command().arg("admin").args(arguments).arg("--json"))?;
        serde_json::from_str(&text).with_context(|| format!("admin {arguments:?} printed {text}"))
    }

    /// Makes the tables in another database.
    pub(crate) fn migrate(&self, url: &str) -> anyhow::Result<()> {
        output(self.command().env("DATABASE_URL", url).args(["migrate", "up"]))?;
        Ok(())
    }

    /// Where the database is.
    pub(crate) fn database_url(&self) -> String {
        let found = self.env.iter().find(|(name, _)| name == "DATABASE_URL");
        let file = self.folder.path().join("data/tiktomato.db");
        found.map_or_else(|| format!("sqlite://{}?mode=rw", file.display()), |(_, url)| url.clone())
    }

    /// What the servers keep in files.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What PostgreSQL answers to a query: a line for each row, cells between `|`.
    pub(crate) fn query(&self, sql: &str) -> anyhow::Result<String> {
        let postgres = self.postgres.as_ref().context("there is no PostgreSQL")?;
        output(postgres.client("psql").args(["-At", "-d", DATABASE, "-c", sql]))
    }

    /// The one number that PostgreSQL answers to a query.
    pub(crate) fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let text = self.query(sql)?;
        text.trim().parse().with_context(|| format!("{sql}: {text}"))
    }

    /// The text of every process' `/metrics`.
    pub(crate) async fn metrics(&self) -> anyhow::Result<String> {
        let mut all = String::new();
        for process in &self.processes {
            let mut connection = Connection::open(process.operations).await?;
            let reply = connection.call(&request("GET", "/metrics", "-", None)).await?;
            all += &String::from_utf8_lossy(&reply.body);
        }
        Ok(all)
    }
}

/// Where the gateway is told to listen, if it is; else somewhere.
fn listens_at(settings: &[(&str, String)]) -> anyhow::Result<SocketAddr> {
    match settings.iter().find(|(name, _)| *name == "TIKTOMATO__GATEWAY__LISTEN") {
        Some((_, address)) => Ok(address.parse()?),
        None => free_port(),
    }
}

async fn ready(operations: SocketAddr) -> anyhow::Result<()> {
    let mut connection = Connection::open(operations).await?;
    let reply = connection.call(&request("GET", "/readyz", "-", None)).await?;
    anyhow::ensure!(reply.status == 200, "/readyz says {}", reply.status);
    Ok(())
}

fn beside_this() -> anyhow::Result<PathBuf> {
    let binary = std::env::current_exe()?.with_file_name("tiktomato");
    anyhow::ensure!(binary.exists(), "{} is missing: build it, or use --binary", binary.display());
    Ok(binary)
}

fn log_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(name).with_extension("log")
}

fn last_lines(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// Asks a process to stop, and makes it stop if it does not.
pub(crate) fn stop(child: &mut Child, signal: &str) {
    if matches!(child.try_wait(), Ok(Some(_))) {
        return; // it has ended, and its id may be another's by now
    }
    let asked = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
    let deadline = Deadline::after(PATIENCE);
    while asked.is_ok() && matches!(child.try_wait(), Ok(None)) {
        if deadline.pause("a process to stop").is_err() {
            break;
        }
    }
    // Both fail if it has ended, which is what was wanted.
    let _ = child.kill();
    let _ = child.wait();
}

/// The end of patience.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(span: Duration) -> Self {
        Self(Instant::now() + span)
    }

    /// Waits a moment before the next look; an error once the time is over. Blocks: while it waits
    /// for a server to start or stop there is nothing else to do.
    pub(crate) fn pause(self, what: &str) -> anyhow::Result<()> {
        if Instant::now() >= self.0 {
            bail!("waited in vain for {what}");
        }
        thread::sleep(Duration::from_millis(20));
        Ok(())
    }
}
