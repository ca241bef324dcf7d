//! What the database does for periodic work while many jobs wait.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Backend, Cluster, Database, Options, sketch, within};

distributed!(leases_are_looked_for_among_leased_jobs);

const WAITING: usize = 2_000;

async fn index(database: &Database, column: &str, name: &str) -> i64 {
    let sql = format!(
        "SELECT CAST({column} AS bigint) AS n FROM pg_stat_user_indexes WHERE indexrelname = '{name}'"
    );
    database.number(&sql).await
}

/// Nothing is leased, so that nothing is to be read, however many jobs there are: the tables are too
/// young for PostgreSQL to know that.
async fn leases_are_looked_for_among_leased_jobs() {
    let options = Options { workers: 0, ..Options::default() };
    let cluster = Cluster::start(Backend::Distributed, options).await;
    let user = cluster.user(1_000_000);
    let body = sketch(&json!({}));
    let clients = (0..20).map(async |_| {
        for _ in 0..WAITING / 20 {
            user.post("/v1/jobs", &body).await.expect(202);
        }
    });
    futures::future::join_all(clients).await;
    let database = cluster.database().await;
    let looks = async || index(&database, "idx_scan", "jobs_leased").await;
    let before = looks().await;
    // What the submits themselves read is in the figures by the second look.
    let after = async |looked: i64| {
        within(Duration::from_secs(60), "the scheduler looks for lost leases", async || {
            (looks().await >= before + looked).then_some(())
        })
        .await;
        index(&database, "idx_tup_read", "jobs_workspace").await
    };
    let (early, late) = (after(2).await, after(6).await);
    assert!(late - early < 100, "{} of {WAITING} waiting jobs were read", late - early);
    database.close().await;
    cluster.finish().await;
}
