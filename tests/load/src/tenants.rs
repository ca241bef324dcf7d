//! Who sends the requests: users made by the admin command, or keys given on the command line.

use std::net::SocketAddr;

use anyhow::Context;
use serde_json::{Value, json};

use crate::{
    cli::{Backend, Target},
    closed_loop::call,
    http::{Connection, Reply, request},
    report::Report,
    server::{Process, Servers},
};

/// More than any run can spend.
const CREDITS: &str = "1000000000";

/// A gateway, keys for it, and the servers if they are ours.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) address: SocketAddr,
    pub(crate) keys: Vec<String>,
    pub(crate) servers: Option<Servers>,
    /// The gateway, if it was started beside somebody else's servers.
    _gateway: Option<Process>,
    pub(crate) name: &'static str,
    connection: Option<Connection>,
}

impl Bench {
    /// Starts the servers, or takes those that run.
    pub(crate) async fn prepare(
        target: &Target,
        settings: &[(&str, String)],
        report: &mut Report,
    ) -> anyhow::Result<Self> {
        if let Some(address) = target.address {
            let keys = target.keys.clone();
            report.note("servers", format!("running at {address}"));
            let name = "running";
            let (servers, _gateway, connection) = (None, None, None);
            return Ok(Self { address, keys, servers, _gateway, name, connection });
        }
        let servers = Servers::start(target, settings).await?;
        let keys: anyhow::Result<Vec<_>> = (0..target.tenants).map(|n| user(&servers, n)).collect();
        let name = match target.backend {
            Backend::Sqlite => "sqlite",
            Backend::Postgres => "postgres",
        };
        let pool = target.pool();
        report.note("servers", format!("{name}, {} tenants, pool {pool}", target.tenants));
        if let Some(postgres) = &servers.postgres {
            report.note("database", postgres.version()?);
        }
        let (address, keys) = (servers.gateway, keys?);
        let servers = Some(servers);
        Ok(Self { address, keys, servers, _gateway: None, name, connection: None })
    }

    /// The same tenants at one more gateway, which has these settings instead.
    pub(crate) async fn beside(&self, settings: &[(&str, String)]) -> anyhow::Result<Self> {
        let servers = self.servers.as_ref().context("these servers are not ours")?;
        let (address, gateway) = servers.another_gateway(settings).await?;
        let (keys, name) = (self.keys.clone(), self.name);
        Ok(Self { address, keys, servers: None, _gateway: Some(gateway), name, connection: None })
    }

    /// The key of the n-th connection or job.
    pub(crate) fn key(&self, n: usize) -> &str {
        &self.keys[n % self.keys.len()]
    }

    /// One request outside of the measured ones.
    pub(crate) async fn call(&mut self, bytes: &[u8]) -> std::io::Result<Reply> {
        call(&mut self.connection, self.address, bytes).await
    }

    /// Submits one job; the answer's body.
    pub(crate) async fn submit(
        &mut self,
        n: usize,
        key: &str,
        delay: u32,
    ) -> anyhow::Result<Value> {
        let bytes = submit_request(self.key(n), key, delay);
        self.call(&bytes).await?.expect(202).context("submitting")
    }

    /// A body that was answered with 200.
    pub(crate) async fn get(&mut self, n: usize, path: &str) -> anyhow::Result<Value> {
        let bytes = request("GET", path, self.key(n), None);
        self.call(&bytes).await?.expect(200).with_context(|| path.to_owned())
    }
}

fn user(servers: &Servers, number: u16) -> anyhow::Result<String> {
    let email = format!("bench-{number}@example.com");
    servers.admin(&["create-user", "--email", &email])?;
    let reason = "benchmark";
    servers.admin(&[
        "grant-credits",
        "--user",
        &email,
        "--credits",
        CREDITS,
        "--reason",
        reason,
    ])?;
    let answer = servers.admin(&["create-key", "--user", &email])?;
    let key = answer["key"].as_str().with_context(|| format!("no key in {answer}"))?;
    Ok(key.to_owned())
}

/// The request for one small picture; the provider takes `delay` seconds.
pub(crate) fn submit_request(api_key: &str, idempotency_key: &str, delay: u32) -> Vec<u8> {
    let input = json!({
        "prompt": "a red kite over a quiet lake", "width": 64, "height": 64, "delay_seconds": delay,
    });
    let body = json!({ "model": "demo/sketch", "input": input }).to_string();
    request("POST", "/v1/jobs", api_key, Some((idempotency_key, &body)))
}
