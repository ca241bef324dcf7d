//! The yardstick: the writes of one submit as one transaction of five statements, sent by pgbench
//! to the same PostgreSQL, one transaction for each job.
//!
//! They are the same writes: a database of its own with the same tables and indexes gets rows with
//! the same values as the gateway's. It is made easy for pgbench otherwise: statements are
//! prepared, ids grow within each client, and the contended row (the wallet) comes last.

use anyhow::Context;

use crate::{
    services::{Postgres, output},
    tenants::Bench,
};

const DATABASE: &str = "yardstick";

/// What a job of the gateway looks like in its database: its columns as SQL literals.
const JOB: &str = "select format('%L, %L, %L, %L::jsonb, %L::jsonb, %L::jsonb, %s', \
    model, kind, pool, input, metadata, resolved, outputs_expected) \
    from jobs order by id limit 1";

const TENANTS: &str = "
insert into users (id, email, name, role, created_at)
    values ('00000000-0000-0000-0000-000000000000', 'pgbench@example.com', '', 'user', 0);
insert into workspaces (id, owner_id, name, dispatch_limit, dispatched, created_at)
    select lpad(to_hex(n), 32, '0')::uuid, '00000000-0000-0000-0000-000000000000', '', 1, 0, 0
    from generate_series(1, {tenants}) n;
insert into wallets (workspace_id, available, held)
    select lpad(to_hex(n), 32, '0')::uuid, 1000000000000, 0 from generate_series(1, {tenants}) n;
";

const TRANSACTION: &str = r#"\set n :n + 1
\set j (:run * 10000 + :client_id) * 1000000000 + :n
\set w 1 + :client_id % :tenants
begin;
insert into idempotency_keys (workspace_id, key, body_hash, job_id, created_at) values (lpad(to_hex(:w::bigint), 32, '0')::uuid, 'submit-' || :j::bigint, decode(repeat('00', 32), 'hex'), lpad(to_hex(:j::bigint), 32, '0')::uuid, :j::bigint);
insert into jobs (model, kind, pool, input, metadata, resolved, outputs_expected, state, id, workspace_id, api_key_id, created_at, ready_at, queue_deadline, expires_at) values ({job}, 'queued', lpad(to_hex(:j::bigint), 32, '0')::uuid, lpad(to_hex(:w::bigint), 32, '0')::uuid, lpad(to_hex(:w::bigint), 32, '0')::uuid, :j::bigint, :j::bigint, :j::bigint, :j::bigint);
insert into holds (job_id, workspace_id, amount, opened_at) values (lpad(to_hex(:j::bigint), 32, '0')::uuid, lpad(to_hex(:w::bigint), 32, '0')::uuid, 10, :j::bigint);
insert into ledger_entries (id, workspace_id, kind, reference, from_account, to_account, amount, created_at) values (lpad(to_hex(:j::bigint), 32, '0')::uuid, lpad(to_hex(:w::bigint), 32, '0')::uuid, 'hold', lpad(to_hex(:j::bigint), 32, '0')::uuid, 'available', 'held', 10, :j::bigint);
update wallets set available = available - 10, held = held + 10 where workspace_id = lpad(to_hex(:w::bigint), 32, '0')::uuid and available >= 10;
commit;
"#;

/// A database like the gateway's, with tenants.
#[derive(Debug)]
pub(crate) struct Yardstick {
    script: tempfile::NamedTempFile,
    tenants: usize,
    runs: u32,
}

impl Yardstick {
    /// Makes the database, where there is a PostgreSQL of our own. Submits a job, to see what one
    /// looks like.
    pub(crate) async fn prepare(bench: &mut Bench, delay: u32) -> anyhow::Result<Option<Self>> {
        if bench.servers.as_ref().is_none_or(|servers| servers.postgres.is_none()) {
            return Ok(None);
        }
        bench.submit(0, "yardstick", delay).await?;
        let Some(servers) = &bench.servers else { return Ok(None) };
        let Some(postgres) = &servers.postgres else { return Ok(None) };
        let job = servers.query(JOB)?;
        let tenants = bench.keys.len();
        servers.migrate(&postgres.create_database(DATABASE)?)?;
        let fill = TENANTS.replace("{tenants}", &tenants.to_string());
        let mut psql = postgres.client("psql");
        psql.args(["-d", DATABASE, "-v", "ON_ERROR_STOP=1", "-q", "-c", &fill]);
        output(&mut psql)?;
        let script = tempfile::NamedTempFile::new()?;
        std::fs::write(script.path(), TRANSACTION.replace("{job}", job.trim()))?;
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
