//! What a workspace used: requests, jobs and credits by day, by model or by key.
//!
//! Requests come from the usage log, so they are known for as long as it is kept. Jobs and credits
//! come from the jobs and the ledger and stay right after the log is gone: a job counts on the day
//! on which it was accepted, credits on the day on which they were captured.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};

use super::days::Day;
use crate::{
    Credits, Db, Timestamp,
    db::sql,
    ids::{ApiKeyId, WorkspaceId},
};

/// By what a summary is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// By day in UTC.
    Day,
    /// By model.
    Model,
    /// By API key.
    Key,
}

/// One part of a summary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKey {
    /// A day in UTC.
    Day(NaiveDate),
    /// A model; none for what is about no model.
    Model(Option<String>),
    /// A key; none for a session.
    Key(Option<ApiKeyId>),
}

/// Puts a number where it belongs.
type SetField = fn(&mut Used, i64);

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Requests to the API.
    pub requests: i64,
    /// Jobs that were accepted.
    pub jobs: i64,
    /// What was charged.
    pub credits: Credits,
}

impl Group {
    /// The column, or what stands for it, in a table with these columns.
    fn column(self, at: &str, model: &str, key: &str) -> String {
        match self {
            // Both are whole numbers, so that both databases round down.
            Self::Day => format!("{at} / 86400000000"),
            Self::Model => model.to_owned(),
            Self::Key => key.to_owned(),
        }
    }

    fn key(self, row: &QueryResult) -> Result<GroupKey, DbErr> {
        Ok(match self {
            Self::Day => GroupKey::Day(Day(row.try_get("", "part")?).date()),
            Self::Model => GroupKey::Model(row.try_get("", "part")?),
            Self::Key => GroupKey::Key(row.try_get("", "part")?),
        })
    }
}

/// What the workspace used from `from` on, before `to`.
///
/// # Errors
/// When the database fails.
pub async fn summarise(
    db: &Db,
    workspace_id: WorkspaceId,
    group: Group,
    from: Timestamp,
    to: Timestamp,
) -> Result<BTreeMap<GroupKey, Used>, DbErr> {
    let requests = format!(
        "SELECT {} AS part, count(*) AS n FROM usage_log \
         WHERE workspace_id = $1 AND at >= $2 AND at < $3 GROUP BY 1",
        group.column("at", "model", "key_id"),
    );
    let jobs = format!(
        "SELECT {} AS part, count(*) AS n FROM jobs \
         WHERE workspace_id = $1 AND created_at >= $2 AND created_at < $3 GROUP BY 1",
        group.column("created_at", "model", "api_key_id"),
    );
    let credits = format!(
        "SELECT {} AS part, CAST(sum(e.amount) AS bigint) AS n FROM ledger_entries e \
         JOIN jobs j ON j.id = e.reference WHERE e.workspace_id = $1 AND e.kind = 'capture' \
         AND e.created_at >= $2 AND e.created_at < $3 GROUP BY 1",
        group.column("e.created_at", "j.model", "j.api_key_id"),
    );
    let mut parts: BTreeMap<GroupKey, Used> = BTreeMap::new();
    let fields: [(String, SetField); 3] = [
        (requests, |used, n| used.requests = n),
        (jobs, |used, n| used.jobs = n),
        (credits, |used, n| used.credits = Credits(n)),
    ];
    for (text, set) in fields {
        let values: [Value; 3] = [workspace_id.0.into(), from.0.into(), to.0.into()];
        for row in db.read().query_all_raw(sql(db.read(), text, values)).await? {
            set(parts.entry(group.key(&row)?).or_default(), row.try_get("", "n")?);
        }
    }
    Ok(parts)
}
