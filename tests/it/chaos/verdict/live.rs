//! Jobs that have not ended, as the database has them.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::harness::Database;

/// Waits until all have ended; what has not.
pub(super) async fn ended(database: &Database, limit: Duration) -> Vec<String> {
    let deadline = Instant::now() + limit;
    loop {
        let left = live(database).await;
        if left.is_empty() || Instant::now() > deadline {
            let what = |live: Live| format!("never ended: {}", live.line);
            return left.into_iter().map(what).collect();
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// A job that has not ended.
pub(super) struct Live {
    pub(super) job: Uuid,
    pub(super) state: String,
    /// Its newest one.
    pub(super) attempt: Uuid,
    /// Everything about it.
    pub(super) line: String,
}

pub(super) async fn live(database: &Database) -> Vec<Live> {
    let sql = "SELECT j.id || ' ' || j.state || ' ' || COALESCE((SELECT a.id FROM attempts a \
        WHERE a.job_id = j.id ORDER BY a.number DESC LIMIT 1), j.id) || ' ' || to_jsonb(j)::text \
        AS line FROM jobs j WHERE j.finished_at IS NULL";
    let parse = |line: String| {
        let mut parts = line.splitn(4, ' ');
        let job = parts.next().unwrap().parse().unwrap();
        let state = parts.next().unwrap().to_owned();
        let attempt = parts.next().unwrap().parse().unwrap();
        Live { job, state, attempt, line: parts.next().unwrap().to_owned() }
    };
    database.lines(sql).await.into_iter().map(parse).collect()
}
