//! A private `redis-server` on a free port, with its own folder; gone at the end.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use config::queue::{Queue, RedisQueueSettings};
use redis::{FromRedisValue, aio::MultiplexedConnection};
use tempfile::TempDir;

use crate::support::{POOL, until};

pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let server = Self::reserve();
        server.up().await
    }

    /// A server that is a whole cluster: it refuses what names keys of several slots.
    pub(crate) async fn cluster() -> Self {
        let mut server = Self::reserve();
        server.arguments.extend(["--cluster-enabled", "yes"].map(ToOwned::to_owned));
        let server = server.up().await;
        let slots = (0..16_384).map(|slot| slot.to_string()).collect::<Vec<_>>().join(" ");
        server.command::<()>(&format!("CLUSTER ADDSLOTS {slots}")).await;
        until("the cluster's agreement", async || {
            server.command::<String>("CLUSTER INFO").await.contains("cluster_state:ok")
        })
        .await;
        server
    }

    /// A place for a server that does not run yet.
    pub(crate) fn reserve() -> Self {
        // Members of a cluster talk on a port that is 10,000 higher.
        let port = loop {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            if port <= u16::MAX - 10_000 {
                break port;
            }
        };
        let folder = TempDir::new().unwrap();
        let arguments = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]
            .into_iter()
            .chain(["--appendonly", "yes"])
            .map(ToOwned::to_owned)
            .collect();
        Self { port, folder, arguments, process: None }
    }

    pub(crate) async fn up(mut self) -> Self {
        self.launch(&[]);
        self.answers().await;
        self
    }

    /// Starts the process again, with the data that it had.
    pub(crate) async fn restart(&mut self) {
        self.launch(&[]);
        self.answers().await;
    }

    pub(crate) fn launch(&mut self, more: &[&str]) {
        let child = Command::new("redis-server")
            .args(&self.arguments)
            .args(more)
            .arg("--dir")
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .spawn();
        self.process = Some(child.expect("redis-server must be installed for this test"));
    }

    pub(crate) async fn answers(&self) {
        until("an answer from redis-server", async || {
            let Ok(mut connection) = self.try_connect().await else { return false };
            redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
        })
        .await;
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Stops or continues the process without closing anything.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn settings(&self) -> RedisQueueSettings {
        RedisQueueSettings::new(self.url().as_str())
    }

    pub(crate) async fn queue(&self) -> Queue {
        Queue::redis(self.settings()).await.unwrap()
    }

    /// A queue that claims from the dead after `millis`.
    pub(crate) async fn queue_claiming_after(&self, millis: u64) -> Queue {
        let mut settings = self.settings();
        settings.claim_window = Duration::from_millis(millis);
        Queue::redis(settings).await.unwrap()
    }

    async fn try_connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        redis::Client::open(self.url())?.get_multiplexed_async_connection().await
    }

    /// Runs one command, given as words.
    pub(crate) async fn command<T: FromRedisValue>(&self, words: &str) -> T {
        self.try_command(words).await.unwrap()
    }

    async fn try_command<T: FromRedisValue>(&self, words: &str) -> redis::RedisResult<T> {
        let mut connection = self.try_connect().await?;
        let mut words = words.split_whitespace();
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut connection).await
    }

    pub(crate) async fn length(&self, key: &str) -> u64 {
        self.command(&format!("XLEN {key}")).await
    }

    pub(crate) async fn pending(&self) -> u64 {
        let summary: redis::RedisResult<(u64, redis::Value, redis::Value, redis::Value)> =
            self.try_command(&format!("XPENDING {} workers", stream())).await;
        // Before the first worker there is no group.
        summary.map_or(0, |(pending, ..)| pending)
    }

    pub(crate) async fn consumers(&self) -> usize {
        let rows: Vec<redis::Value> =
            self.command(&format!("XINFO CONSUMERS {} workers", stream())).await;
        rows.len()
    }

    /// Nothing waits and nothing is in anybody's hands.
    pub(crate) async fn is_clean(&self) -> bool {
        self.length(&stream()).await == 0 && self.pending().await == 0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The stream of the tests' pool.
pub(crate) fn stream() -> String {
    format!("tiktomato:queue:v1:{{{POOL}}}")
}
