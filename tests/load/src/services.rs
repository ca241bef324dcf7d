//! A private PostgreSQL and a private Redis, on free ports, in a temporary folder.
//!
//! PostgreSQL runs with its default durability: what it answers is on the disk. A server that has
//! run for longer than a checkpoint writes its log into files that it used before; a new one has to
//! make each of them, zeroes and all, while everybody who commits waits. Unless told otherwise, it
//! is measured in the first state, which lasts.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};

use crate::server::{Deadline, stop};

/// Some two minutes of submits at full speed.
const LOG_MEGABYTES: u32 = 1_500;

/// A running PostgreSQL.
#[derive(Debug)]
pub(crate) struct Postgres {
    child: Child,
    bin: PathBuf,
    port: u16,
}

impl Postgres {
    pub(crate) fn start(folder: &Path, bin: Option<&Path>) -> anyhow::Result<Self> {
        let bin = bin.map_or_else(newest_bin, |bin| Ok(bin.to_owned()))?;
        let data = folder.join("postgres");
        fs::create_dir(&data)?;
        if is_root()? {
            let id = |flag| -> anyhow::Result<u32> {
                Ok(output(Command::new("id").args([flag, "postgres"]))?.trim().parse()?)
            };
            chown(&data, Some(id("-u")?), Some(id("-g")?))?;
        }
        let mut initdb = as_postgres(&bin.join("initdb"))?;
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale"]);
        output(initdb.arg("-D").arg(&data).current_dir(folder))?;
        let port = free_port()?.port();
        let log = File::create(folder.join("postgres.log"))?;
        let mut postgres = as_postgres(&bin.join("postgres"))?;
        postgres.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=1100",
            "shared_buffers=512MB",
            "max_wal_size=4GB",
            "min_wal_size=4GB",
        ] {
            postgres.args(["-c", setting]);
        }
        let child = postgres
            .current_dir(folder)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting postgres")?;
        let server = Self { child, bin, port };
        let deadline = Deadline::after(Duration::from_secs(30));
        while output(&mut server.client("pg_isready")).is_err() {
            deadline.pause("PostgreSQL to answer")?;
        }
        Ok(server)
    }

    /// Makes log files ahead: they are filled, and a checkpoint keeps them for later.
    pub(crate) fn make_log_files(&self) -> anyhow::Result<()> {
        let fill = format!(
            "SELECT count(pg_logical_emit_message(false, '', repeat('-', 1000000))) \
             FROM generate_series(1, {LOG_MEGABYTES})"
        );
        let mut psql = self.client("psql");
        psql.args(["-d", "postgres", "-v", "ON_ERROR_STOP=1", "-q"]);
        output(psql.args(["-c", &fill, "-c", "CHECKPOINT"]))?;
        Ok(())
    }

    /// One of PostgreSQL's client programs, pointed at this server.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string()]);
        command
    }

    pub(crate) fn create_database(&self, name: &str) -> anyhow::Result<String> {
        output(self.client("createdb").arg(name))?;
        Ok(format!("postgres://postgres@127.0.0.1:{}/{name}", self.port))
    }

    pub(crate) fn version(&self) -> anyhow::Result<String> {
        Ok(output(Command::new(self.bin.join("postgres")).arg("--version"))?.trim().to_owned())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        stop(&mut self.child, "INT"); // its fast shutdown
    }
}

/// A running Redis that keeps nothing on disk.
#[derive(Debug)]
pub(crate) struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        let address = free_port()?;
        let port = address.port();
        let log = File::create(folder.join("redis.log"))?;
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .current_dir(folder)
            .stdout(log)
            .spawn()
            .context("starting redis-server")?;
        let server = Self { child, port };
        let deadline = Deadline::after(Duration::from_secs(10));
        while TcpStream::connect(address).is_err() {
            deadline.pause("Redis to answer")?;
        }
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        stop(&mut self.child, "TERM");
    }
}

/// An address that nobody listened on a moment ago.
pub(crate) fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Runs a command to its end; what it printed, or an error that says what it complained about.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {:?}", command.get_program()))?;
    ensure!(
        done.status.success(),
        "{:?}: {}: {}",
        command.get_program(),
        done.status,
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn is_root() -> anyhow::Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: &Path) -> anyhow::Result<Command> {
    if !is_root()? {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
    Ok(command)
}

/// Debian keeps each version in a folder of its own, off the PATH.
fn newest_bin() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("looking for PostgreSQL")?;
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/postgres").exists())
        .max_by_key(|path| number(path));
    match newest {
        Some(version) => Ok(version.join("bin")),
        None => {
            bail!("PostgreSQL's server programs are not in /usr/lib/postgresql; see --postgres-bin")
        }
    }
}
