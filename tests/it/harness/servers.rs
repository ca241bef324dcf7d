//! PostgreSQL and Redis, private to the test run.
//!
//! One of each serves all tests. A guardian shell holds the other end of a pipe and cleans up when
//! the test process is gone, however it went.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use super::{eventually, free_port};

/// A server that lives as long as the test process.
struct Shared {
    port: u16,
    _guardian: Child,
}

/// The URL of a fresh database's server, without the database's name.
pub(crate) fn postgres() -> String {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    let server = SERVER.get_or_init(Postgres::start);
    format!("postgres://postgres@127.0.0.1:{}", server.port)
}

/// The URL of the Redis server that tests share; they use different prefixes.
pub(crate) fn redis() -> String {
    static SERVER: OnceLock<Shared> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let (folder, port) = (folder(), free_port());
        let script = format!(
            "redis-server --port {port} --bind 127.0.0.1 --save '' --appendonly no --dir {0} >{0}/log 2>&1 & \
             pid=$!; read _; kill -9 $pid; rm -rf {0}",
            folder.display()
        );
        let shared = Shared { port, _guardian: guardian(&script) };
        wait_for_port(port);
        shared
    });
    format!("redis://127.0.0.1:{}", server.port)
}

/// A Redis server of one test's own, to be stopped and started.
pub(crate) struct OwnRedis {
    port: u16,
    child: Option<Child>,
}

impl OwnRedis {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let mut redis = Self { port: free_port(), child: None };
        redis.up();
        redis
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on it wants this password.
    pub(crate) async fn require_password(&self, password: &str) {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg("requirepass").arg(password);
        let _: () = command.query_async(&mut connection).await.unwrap();
    }

    /// Starts it again, empty.
    pub(crate) fn up(&mut self) {
        let port = self.port.to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        wait_for_port(self.port);
    }

    /// `kill -9`; it forgets everything.
    pub(crate) fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        send_signal(signal, &[self.child.as_ref().unwrap().id()]);
    }

    /// `FLUSHALL`; it must be able to answer, on a busy machine not at once.
    pub(crate) async fn empty(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        eventually("Redis is emptied", async || {
            let mut connection = client.get_multiplexed_async_connection().await.ok()?;
            let done: redis::RedisResult<()> =
                redis::cmd("FLUSHALL").query_async(&mut connection).await;
            done.ok()
        })
        .await;
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        self.down();
    }
}

fn folder() -> PathBuf {
    tempfile::Builder::new().prefix("tiktomato-it-").tempdir().unwrap().keep()
}

fn guardian(script: &str) -> Child {
    let script = format!("trap '' INT TERM HUP; {script}");
    Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait_for_port(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "nothing listens on port {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A PostgreSQL server of one test's own, to be stopped and started.
pub(crate) struct OwnPostgres(Postgres);

impl OwnPostgres {
    /// Starts one.
    pub(crate) fn start() -> Self {
        Self(Postgres::start())
    }

    /// Its URL, without a database's name.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.0.port)
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.0.folder.join("log")).unwrap()
    }

    /// Starts it again; it answers when this returns.
    pub(crate) fn up(&self) {
        self.0.up();
    }

    /// From now on it takes nobody without TLS; the file of the authority that its certificate is
    /// from.
    pub(crate) fn only_tls(&self) -> String {
        let at = self.0.folder.display();
        let owner = self.0.prefix.rsplit_once(' ').map_or("", |(owner, _)| owner);
        let script = format!(
            "{owner} openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
             -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
             -keyout {at}/data/server.key -out {at}/data/server.crt && \
             {owner} sh -c \"echo 'hostssl all all 127.0.0.1/32 trust' > {at}/data/pg_hba.conf; \
             echo 'ssl = on' >> {at}/data/postgresql.conf; chmod 600 {at}/data/server.key; \
             cp {at}/data/server.crt {at}/ca.crt; chmod 644 {at}/ca.crt\""
        );
        shell(&script, &self.0.folder);
        self.0.control("-w -m fast stop");
        self.0.up();
        format!("{at}/ca.crt")
    }

    /// Stops it as a crash does; it keeps what was committed.
    pub(crate) fn down(&self) {
        self.0.control("-m immediate -w stop");
    }

    /// Sends a signal to all its processes, such as `STOP`; `KILL` waits until they are gone.
    pub(crate) fn signal(&self, signal: &str) {
        // The first process must not start others between the look and the signal.
        send_signal("STOP", &self.0.pids()[..1]);
        let pids = self.0.pids();
        send_signal(signal, &pids);
        if signal != "KILL" {
            return;
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while pids.iter().any(|pid| lives(*pid)) {
            assert!(Instant::now() < deadline, "PostgreSQL survives SIGKILL");
            std::thread::sleep(Duration::from_millis(5));
        }
        // Until the system has buried the dead, the next start would take it for alive.
        fs::remove_file(self.0.folder.join("data").join("postmaster.pid")).unwrap();
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        // Who is frozen cannot be stopped.
        send_signal("CONT", &self.0.pids());
    }
}

/// Some may be gone already.
fn send_signal(signal: &str, pids: &[u32]) {
    let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
    let mut kill = Command::new("kill");
    drop(kill.arg(format!("-{signal}")).args(pids).stderr(Stdio::null()).status());
}

/// Whether a process is there and not a zombie.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// A PostgreSQL server, gone with the test process.
struct Postgres {
    port: u16,
    folder: PathBuf,
    /// What commands begin with: PostgreSQL refuses to run as root.
    prefix: String,
    _guardian: Child,
}

impl Postgres {
    fn start() -> Self {
        let (folder, port, bin) = (folder(), free_port(), postgres_bin());
        let root = output("id", &["-u"]).trim() == "0";
        let owner = if root { "runuser -u postgres -- " } else { "" };
        let prefix = format!("{owner}{}", bin.display());
        let at = folder.display();
        if root {
            output("chown", &["postgres", &at.to_string()]);
        }
        shell(
            &format!("{prefix}/initdb -U postgres -A trust -E UTF8 --locale=C -D {at}/data"),
            &folder,
        );
        let guardian = guardian(&format!(
            "read _; {prefix}/pg_ctl -D {at}/data -m immediate stop; cd /; rm -rf {at}"
        ));
        let server = Self { port, folder, prefix, _guardian: guardian };
        server.up();
        server
    }

    fn up(&self) {
        let (at, port) = (self.folder.display(), self.port);
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=on -c max_connections=1000"
        );
        self.control(&format!("-w -t 60 -l {at}/log -o '{options}' start"));
    }

    /// The first process and its children; none when it is down.
    fn pids(&self) -> Vec<u32> {
        let file = fs::read_to_string(self.folder.join("data").join("postmaster.pid"));
        let Some(first) = file.ok().and_then(|text| text.lines().next()?.trim().parse().ok())
        else {
            return Vec::new();
        };
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        std::iter::once(first).chain(children).filter(|pid| lives(*pid)).collect()
    }

    fn control(&self, what: &str) {
        let at = self.folder.display();
        shell(&format!("{}/pg_ctl -D {at}/data {what}", self.prefix), &self.folder);
    }
}

fn postgres_bin() -> PathBuf {
    if let Ok(folder) = std::env::var("TIKTOMATO_TEST_POSTGRES_BIN") {
        return folder.into();
    }
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is not installed");
    let newest = versions
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok())
        .max()
        .expect("PostgreSQL is not installed");
    format!("/usr/lib/postgresql/{newest}/bin").into()
}

fn shell(script: &str, folder: &Path) {
    // A file, not a pipe: the server inherits it and would keep a pipe open for ever.
    let log = fs::File::create(folder.join("setup.log")).unwrap();
    let status = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .status()
        .unwrap();
    let text = fs::read_to_string(folder.join("setup.log")).unwrap();
    assert!(status.success(), "{script}: {text}");
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?} failed");
    String::from_utf8(output.stdout).unwrap()
}
