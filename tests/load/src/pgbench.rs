//! The yardstick: the writes of one submit as one transaction of five statements, sent by pgbench
//! to the same PostgreSQL, one transaction for each job.
//!
//! It is made easy for pgbench: prepared statements, ids that grow within each client, tables
//! without columns that a submit does not fill, and the contended row (the wallet) last.

use anyhow::Context;

use crate::{
    services::{Postgres, output},
    tenants::Bench,
};

const DATABASE: &str = "yardstick";

const TABLES: &str = "
create table wallets (id bigint primary key, available bigint not null check (available >= 0),
    held bigint not null check (held >= 0));
create table jobs (id uuid primary key, workspace bigint not null, state text not null,
    model text not null, pool text not null, input jsonb not null, price bigint not null,
    epoch int not null, version int not null, created_at bigint not null, dispatched_at bigint);
create index on jobs (workspace, id);
create index on jobs (pool, created_at) where dispatched_at is null;
create table holds (job uuid primary key, workspace bigint not null, amount bigint not null,
    captured bigint not null, released bigint not null);
create table entries (id uuid primary key, kind text not null, reference uuid not null,
    workspace bigint not null, amount bigint not null, created_at bigint not null,
    unique (kind, reference));
create table idempotency (workspace bigint, key text, digest text not null, job uuid not null,
    created_at bigint not null, primary key (workspace, key));
";

const TRANSACTION: &str = r#"\set n :n + 1
\set j (:run * 10000 + :client_id) * 1000000000 + :n
\set w 1 + :client_id % :tenants
begin;
insert into idempotency values (:w, 'bench-' || :j::bigint, repeat('0', 64), lpad(to_hex(:j::bigint), 32, '0')::uuid, :j::bigint);
insert into jobs values (lpad(to_hex(:j::bigint), 32, '0')::uuid, :w, 'queued', 'demo/sketch', 'demo', '{"prompt": "a red kite over a quiet lake", "width": 64, "height": 64, "delay_seconds": 600}', 10, 0, 1, :j::bigint, null);
insert into holds values (lpad(to_hex(:j::bigint), 32, '0')::uuid, :w, 10, 0, 0);
insert into entries values (lpad(to_hex(:j::bigint), 32, '0')::uuid, 'hold', lpad(to_hex(:j::bigint), 32, '0')::uuid, :w, 10, :j::bigint);
update wallets set available = available - 10, held = held + 10 where id = :w and available >= 10;
commit;
"#;

/// The tables of the yardstick, filled.
#[derive(Debug)]
pub(crate) struct Yardstick {
    script: tempfile::NamedTempFile,
    tenants: usize,
    runs: u32,
}

impl Yardstick {
    /// Makes the tables, where there is a PostgreSQL of our own.
    pub(crate) fn prepare(bench: &Bench) -> anyhow::Result<Option<Self>> {
        let Some(postgres) = bench.servers.as_ref().and_then(|servers| servers.postgres.as_ref())
        else {
            return Ok(None);
        };
        let tenants = bench.keys.len();
        postgres.create_database(DATABASE)?;
        let wallets = format!(
            "insert into wallets select n, 1000000000000, 0 from generate_series(1, {tenants}) n"
        );
        let mut psql = postgres.client("psql");
        psql.args(["-d", DATABASE, "-v", "ON_ERROR_STOP=1", "-q", "-c", TABLES, "-c", &wallets]);
        output(&mut psql)?;
        let script = tempfile::NamedTempFile::new()?;
        std::fs::write(script.path(), TRANSACTION)?;
        Ok(Some(Self { script, tenants, runs: 0 }))
    }

    /// Transactions per second, without the time to connect.
    pub(crate) fn rate(
        &mut self,
        postgres: &Postgres,
        connections: u16,
        seconds: u16,
    ) -> anyhow::Result<f64> {
        self.runs += 1; // so that no id comes twice
        let text = output(
            postgres
                .client("pgbench")
                .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
                .args(["--client", &connections.to_string(), "--time", &seconds.to_string()])
                .args(["-D", "n=0", "-D", &format!("run={}", self.runs)])
                .args(["-D", &format!("tenants={}", self.tenants), "--file"])
                .arg(self.script.path())
                .arg(DATABASE),
        )?;
        tps(&text).with_context(|| format!("no rate in what pgbench printed: {text}"))
    }
}

fn tps(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("tps = "))?;
    line.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_found() {
        let text = "latency average = 3.1 ms\ntps = 5123.75 (without initial connection time)\n";
        assert_eq!(tps(text), Some(5123.75));
        assert_eq!(tps("pgbench: error"), None);
    }
}
