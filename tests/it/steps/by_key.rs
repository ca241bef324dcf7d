//! How PostgreSQL finds what the steps write.

use super::Stage;
use crate::harness::{Backend, Cluster, Database, eventually};

distributed!(each_row_is_found_by_its_key);

/// An index of the jobs in one state is full of those that left it a moment ago: a statement that
/// goes through it for six jobs reads thousands of dead rows.
async fn each_row_is_found_by_its_key() {
    let mut cluster = Cluster::plain(Backend::Distributed).await;
    cluster.user(1_000);
    cluster.stop().await;
    let (env, _) = cluster.copy().await;
    let (_, url) = env.iter().find(|(name, _)| name == "DATABASE_URL").unwrap();
    let stage = Stage::at(url).await;
    let hints = stage.dispatched().await;
    let claimed = stage.claimed(&hints).await;
    let stored = stage.stored(&claimed).await;
    stage.settled(&stored).await;
    stage.db.close().await;
    let database = Database::open(url).await;
    let scans = |index: &str| {
        format!("SELECT idx_scan AS n FROM pg_stat_user_indexes WHERE indexrelname = '{index}'")
    };
    // Each connection tells what it did before it is gone.
    let others = "SELECT count(*) AS n FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    eventually("the connections to close", async || {
        (database.number(others).await == 0).then_some(())
    })
    .await;
    assert!(database.number(&scans("attempts_pkey")).await > 0, "nothing was counted");
    for index in ["jobs_live", "jobs_leased", "jobs_started", "jobs_run_deadline"] {
        assert_eq!(database.number(&scans(index)).await, 0, "{index}");
    }
    database.close().await;
    cluster.start_all().await;
    cluster.finish().await;
}
