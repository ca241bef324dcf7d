//! The invariants of the ledger and the jobs, checked from one snapshot.
//!
//! Each check is one query that finds what contradicts it; an empty answer is proof.

use sea_orm::{ConnectionTrait, DbErr};
use serde::Serialize;

use crate::{Db, db::sql};

/// The most violations of one kind that are listed.
const LISTED: usize = 100;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which invariant is broken.
    pub code: &'static str,
    /// Where: the public id of the row's owner.
    pub subject: String,
    /// What was found.
    pub detail: String,
}

struct Check {
    code: &'static str,
    /// The prefix of the subject's public id.
    prefix: &'static str,
    /// Selects `subject`, `found` and `expected` (integers).
    query: &'static str,
}

const CHECKS: &[Check] = &[
    Check {
        code: "wallet_available",
        prefix: "ws",
        query: "SELECT w.workspace_id AS subject, w.available AS found, COALESCE(e.sum, 0) AS expected \
            FROM wallets w LEFT JOIN (SELECT workspace_id, CAST(sum(CASE WHEN to_account = 'available' THEN amount ELSE 0 END \
              - CASE WHEN from_account = 'available' THEN amount ELSE 0 END) AS bigint) AS sum FROM ledger_entries \
              GROUP BY workspace_id) e ON e.workspace_id = w.workspace_id WHERE w.available <> COALESCE(e.sum, 0)",
    },
    Check {
        code: "wallet_held",
        prefix: "ws",
        query: "SELECT w.workspace_id AS subject, w.held AS found, COALESCE(e.sum, 0) AS expected \
            FROM wallets w LEFT JOIN (SELECT workspace_id, CAST(sum(CASE WHEN to_account = 'held' THEN amount ELSE 0 END \
              - CASE WHEN from_account = 'held' THEN amount ELSE 0 END) AS bigint) AS sum FROM ledger_entries \
              GROUP BY workspace_id) e ON e.workspace_id = w.workspace_id WHERE w.held <> COALESCE(e.sum, 0)",
    },
    Check {
        code: "held_is_open_holds",
        prefix: "ws",
        query: "SELECT w.workspace_id AS subject, w.held AS found, COALESCE(h.sum, 0) AS expected \
            FROM wallets w LEFT JOIN (SELECT workspace_id, CAST(sum(amount) AS bigint) AS sum FROM holds \
              WHERE closed_at IS NULL GROUP BY workspace_id) h ON h.workspace_id = w.workspace_id \
            WHERE w.held <> COALESCE(h.sum, 0)",
    },
    Check {
        code: "entry_without_wallet",
        prefix: "ent",
        query: "SELECT e.id AS subject, e.amount AS found, CAST(0 AS bigint) AS expected FROM ledger_entries e \
            LEFT JOIN wallets w ON w.workspace_id = e.workspace_id WHERE w.workspace_id IS NULL",
    },
    Check {
        code: "entry_accounts",
        prefix: "ent",
        query: "SELECT id AS subject, amount AS found, CAST(0 AS bigint) AS expected FROM ledger_entries \
            WHERE amount <= 0 OR NOT ((kind = 'hold' AND from_account = 'available' AND to_account = 'held') \
              OR (kind = 'capture' AND from_account = 'held' AND to_account = 'sales') \
              OR (kind = 'release' AND from_account = 'held' AND to_account = 'available') \
              OR (kind = 'grant' AND from_account = 'grants' AND to_account = 'available'))",
    },
    Check {
        code: "job_without_hold",
        prefix: "job",
        query: "SELECT j.id AS subject, CAST(0 AS bigint) AS found, CAST(1 AS bigint) AS expected FROM jobs j \
            LEFT JOIN holds h ON h.job_id = j.id WHERE h.job_id IS NULL OR h.workspace_id <> j.workspace_id",
    },
    Check {
        code: "hold_without_job",
        prefix: "job",
        query: "SELECT h.job_id AS subject, h.amount AS found, CAST(0 AS bigint) AS expected FROM holds h \
            LEFT JOIN jobs j ON j.id = h.job_id WHERE j.id IS NULL",
    },
    Check {
        code: "terminal_job_with_open_hold",
        prefix: "job",
        query: "SELECT j.id AS subject, h.amount AS found, CAST(0 AS bigint) AS expected FROM jobs j \
            JOIN holds h ON h.job_id = j.id WHERE h.closed_at IS NULL AND j.state IN ('succeeded', 'failed', 'canceled')",
    },
    Check {
        code: "live_job_with_closed_hold",
        prefix: "job",
        query: "SELECT j.id AS subject, h.captured + h.released AS found, CAST(0 AS bigint) AS expected FROM jobs j \
            JOIN holds h ON h.job_id = j.id WHERE h.closed_at IS NOT NULL AND j.state NOT IN ('succeeded', 'failed', 'canceled')",
    },
    Check {
        code: "finished_at_disagrees_with_state",
        prefix: "job",
        query: "SELECT id AS subject, CASE WHEN finished_at IS NULL THEN 0 ELSE 1 END AS found, \
            CASE WHEN state IN ('succeeded', 'failed', 'canceled') THEN 1 ELSE 0 END AS expected FROM jobs \
            WHERE (finished_at IS NOT NULL) <> (state IN ('succeeded', 'failed', 'canceled'))",
    },
    Check {
        code: "hold_not_split_exactly",
        prefix: "job",
        query: "SELECT job_id AS subject, captured + released AS found, \
            CASE WHEN closed_at IS NULL THEN 0 ELSE amount END AS expected FROM holds \
            WHERE captured + released <> CASE WHEN closed_at IS NULL THEN 0 ELSE amount END",
    },
    Check {
        code: "hold_entry",
        prefix: "job",
        query: "SELECT h.job_id AS subject, COALESCE(e.sum, 0) AS found, h.amount AS expected FROM holds h \
            LEFT JOIN (SELECT reference, workspace_id, CAST(sum(amount) AS bigint) AS sum FROM ledger_entries WHERE kind = 'hold' \
              GROUP BY reference, workspace_id) e ON e.reference = h.job_id AND e.workspace_id = h.workspace_id \
            WHERE COALESCE(e.sum, 0) <> h.amount",
    },
    Check {
        code: "capture_entry",
        prefix: "job",
        query: "SELECT h.job_id AS subject, COALESCE(e.sum, 0) AS found, h.captured AS expected FROM holds h \
            LEFT JOIN (SELECT reference, workspace_id, CAST(sum(amount) AS bigint) AS sum FROM ledger_entries WHERE kind = 'capture' \
              GROUP BY reference, workspace_id) e ON e.reference = h.job_id AND e.workspace_id = h.workspace_id \
            WHERE COALESCE(e.sum, 0) <> h.captured",
    },
    Check {
        code: "release_entry",
        prefix: "job",
        query: "SELECT h.job_id AS subject, COALESCE(e.sum, 0) AS found, h.released AS expected FROM holds h \
            LEFT JOIN (SELECT reference, workspace_id, CAST(sum(amount) AS bigint) AS sum FROM ledger_entries WHERE kind = 'release' \
              GROUP BY reference, workspace_id) e ON e.reference = h.job_id AND e.workspace_id = h.workspace_id \
            WHERE COALESCE(e.sum, 0) <> h.released",
    },
    Check {
        code: "job_entry_without_hold",
        prefix: "ent",
        query: "SELECT e.id AS subject, e.amount AS found, CAST(0 AS bigint) AS expected FROM ledger_entries e \
            LEFT JOIN holds h ON h.job_id = e.reference WHERE e.kind <> 'grant' AND h.job_id IS NULL",
    },
    Check {
        code: "captured_without_output",
        prefix: "job",
        query: "SELECT h.job_id AS subject, h.captured AS found, CAST(0 AS bigint) AS expected FROM holds h \
            WHERE h.captured > 0 AND NOT EXISTS (SELECT 1 FROM outputs o WHERE o.job_id = h.job_id)",
    },
    Check {
        code: "output_without_capture",
        prefix: "job",
        query: "SELECT o.job_id AS subject, count(*) AS found, CAST(0 AS bigint) AS expected FROM outputs o \
            LEFT JOIN holds h ON h.job_id = o.job_id WHERE COALESCE(h.captured, 0) = 0 GROUP BY o.job_id",
    },
    Check {
        code: "captured_but_not_succeeded",
        prefix: "job",
        query: "SELECT j.id AS subject, h.captured AS found, CAST(0 AS bigint) AS expected FROM jobs j \
            JOIN holds h ON h.job_id = j.id WHERE (h.captured > 0) <> (j.state = 'succeeded')",
    },
    Check {
        code: "more_outputs_than_asked",
        prefix: "job",
        query: "SELECT j.id AS subject, count(*) AS found, CAST(max(j.outputs_expected) AS bigint) AS expected FROM jobs j \
            JOIN outputs o ON o.job_id = j.id GROUP BY j.id HAVING count(*) > max(j.outputs_expected)",
    },
    Check {
        code: "dispatched_count",
        prefix: "ws",
        query: "SELECT w.id AS subject, CAST(w.dispatched AS bigint) AS found, COALESCE(j.n, 0) AS expected FROM workspaces w \
            LEFT JOIN (SELECT workspace_id, count(*) AS n FROM jobs WHERE dispatched_at IS NOT NULL AND finished_at IS NULL \
              GROUP BY workspace_id) j ON j.workspace_id = w.id WHERE w.dispatched <> COALESCE(j.n, 0)",
    },
    Check {
        code: "two_accepted_attempts",
        prefix: "job",
        query: "SELECT job_id AS subject, count(*) AS found, CAST(1 AS bigint) AS expected FROM attempts \
            WHERE accepted_at IS NOT NULL GROUP BY job_id HAVING count(*) > 1",
    },
    Check {
        code: "upload_of_another_workspace",
        prefix: "job",
        query: "SELECT ju.job_id AS subject, count(*) AS found, CAST(0 AS bigint) AS expected FROM job_uploads ju \
            JOIN jobs j ON j.id = ju.job_id JOIN uploads u ON u.id = ju.upload_id \
            WHERE u.workspace_id <> j.workspace_id GROUP BY ju.job_id",
    },
    Check {
        code: "live_job_without_its_upload",
        prefix: "job",
        query: "SELECT ju.job_id AS subject, count(*) AS found, CAST(0 AS bigint) AS expected FROM job_uploads ju \
            JOIN jobs j ON j.id = ju.job_id LEFT JOIN uploads u ON u.id = ju.upload_id \
            WHERE j.finished_at IS NULL AND (u.id IS NULL OR u.stored_at IS NULL OR u.deleted_at IS NOT NULL) \
            GROUP BY ju.job_id",
    },
    Check {
        code: "job_at_provider_without_attempt",
        prefix: "job",
        query: "SELECT j.id AS subject, CAST(0 AS bigint) AS found, CAST(1 AS bigint) AS expected FROM jobs j \
            WHERE j.state IN ('running', 'storing', 'succeeded') \
            AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = j.id AND a.accepted_at IS NOT NULL)",
    },
];

/// Everything that contradicts an invariant, found in one snapshot; empty if all is well.
///
/// # Errors
/// When the database fails.
pub async fn reconcile(db: &Db) -> Result<Vec<Violation>, DbErr> {
    let snapshot = db.begin_snapshot().await?;
    let mut violations = Vec::new();
    for check in CHECKS {
        let text = format!("{} LIMIT {LISTED}", check.query);
        for row in snapshot.query_all_raw(sql(&snapshot, text, [])).await? {
            let subject: uuid::Uuid = row.try_get("", "subject")?;
            let (found, expected) = (integer(&row, "found")?, integer(&row, "expected")?);
            violations.push(Violation {
                code: check.code,
                subject: format!("{}_{}", check.prefix, subject.simple()),
                detail: format!("found {found}, expected {expected}"),
            });
        }
    }
    snapshot.rollback().await?;
    Ok(violations)
}

/// `CASE` and `count` have 32 or 64 bits, depending on the database.
fn integer(row: &sea_orm::QueryResult, column: &str) -> Result<i64, DbErr> {
    row.try_get::<i64>("", column).or_else(|_| row.try_get::<i32>("", column).map(i64::from))
}
