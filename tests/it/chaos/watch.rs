//! Looks at the database from outside while faults happen: how many calls each fault finds under
//! way, which is how many answers it may cost, and which jobs were ever uncertain.

use std::time::Duration;

use crate::harness::{Cluster, Database};

/// How long the database may take to say how many calls are under way.
const LIMIT: Duration = Duration::from_secs(3);
/// Where it says nothing: the calls that both worker processes may make at the same time.
const MOST: usize = 2 * 64;

/// Notes each job that becomes uncertain, also one that is bound a moment later.
const NOTE: [&str; 3] = [
    "CREATE TABLE watch_uncertain (job_id uuid PRIMARY KEY)",
    "CREATE FUNCTION watch_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
       INSERT INTO watch_uncertain VALUES (NEW.id) ON CONFLICT DO NOTHING; RETURN NEW; END $$",
    "CREATE TRIGGER watch_jobs AFTER UPDATE OF state ON jobs FOR EACH ROW \
       WHEN (NEW.state = 'uncertain') EXECUTE FUNCTION watch_note()",
];

/// The counts so far.
pub(super) struct Watch {
    database: Database,
    away: bool,
    /// Faults that can cost answers.
    pub(super) hits: usize,
    /// Calls that were under way when they came.
    pub(super) calls: usize,
    /// Faults whose calls could not be counted, because the database was away.
    pub(super) uncounted: usize,
}

impl Watch {
    pub(super) async fn start(cluster: &Cluster) -> Self {
        let database = cluster.database().await;
        for statement in NOTE {
            database.write(statement).await;
        }
        Self { database, away: false, hits: 0, calls: 0, uncounted: 0 }
    }

    /// The database goes away, or is back.
    pub(super) fn away(&mut self, away: bool) {
        self.away = away;
    }

    /// A fault hits whoever makes calls: counts what is under way now.
    pub(super) async fn hit(&mut self) {
        self.hits += 1;
        let sql = "SELECT count(*) AS n FROM jobs WHERE state = 'submitting'";
        let count = async { if self.away { None } else { self.database.try_number(sql).await } };
        let found = tokio::time::timeout(LIMIT, count).await.ok().flatten();
        match found.and_then(|count| usize::try_from(count).ok()) {
            Some(count) => self.calls += count,
            None => {
                self.uncounted += 1;
                self.calls += MOST;
            }
        }
    }

    /// How many jobs were ever uncertain.
    pub(super) async fn uncertain(&self) -> usize {
        let count = self.database.number("SELECT count(*) AS n FROM watch_uncertain").await;
        usize::try_from(count).unwrap()
    }

    pub(super) async fn close(self) {
        self.database.close().await;
    }
}
