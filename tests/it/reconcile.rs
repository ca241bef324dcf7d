//! `admin reconcile` finds every kind of damage, one at a time, planted past the program.

use serde_json::json;

use crate::harness::{Api, Backend, Cluster, admin, uuid_of};
use crate::uploads::{data_uri, picture};

on_both!(planted_damage_is_found);

/// The jobs that damage is done to, as literals.
struct Jobs {
    /// Succeeded, captured.
    paid: String,
    /// Failed, released.
    free: String,
    /// Still running when everything stopped.
    live: String,
    /// Two ids that nobody has.
    fresh: [String; 2],
}

/// Damage to wallets and the ledger.
fn money_damages(jobs: &Jobs) -> Vec<(&'static str, String)> {
    let Jobs { paid, free, live, fresh: [id, reference] } = jobs;
    let wallet = |change: &str| {
        format!(
            "UPDATE wallets SET {change} WHERE workspace_id = (SELECT workspace_id FROM jobs WHERE id = {live})"
        )
    };
    let entry =
        |kind: &str, id: &str| format!("ledger_entries WHERE kind = '{kind}' AND reference = {id}");
    let own = format!("SELECT workspace_id FROM jobs WHERE id = {live}");
    let add = |kind: &str, from: &str, to: &str| {
        format!(
            "INSERT INTO ledger_entries (id, workspace_id, kind, reference, from_account, to_account, amount, created_at) \
             SELECT {id}, workspace_id, '{kind}', {reference}, '{from}', '{to}', 1, created_at FROM jobs WHERE id = {live}"
        )
    };
    vec![
        ("available + 1", wallet("available = available + 1")),
        ("available - 1", wallet("available = available - 1")),
        ("held + 1", wallet("held = held + 1")),
        ("held - 1", wallet("held = held - 1")),
        ("a move between the balances", wallet("held = held - 1, available = available + 1")),
        ("a lost hold entry", format!("DELETE FROM {}", entry("hold", live))),
        ("a lost capture entry", format!("DELETE FROM {}", entry("capture", paid))),
        ("a lost release entry", format!("DELETE FROM {}", entry("release", free))),
        ("a made-up grant", add("grant", "grants", "available")),
        ("a made-up hold", add("hold", "available", "held")),
        ("a made-up capture", add("capture", "held", "sales")),
        (
            "a changed capture",
            format!(
                "UPDATE ledger_entries SET amount = amount + 1 WHERE kind = 'capture' AND reference = {paid}"
            ),
        ),
        (
            "a changed hold entry",
            format!(
                "UPDATE ledger_entries SET amount = amount + 1 WHERE kind = 'hold' AND reference = {live}"
            ),
        ),
        (
            "a changed grant",
            format!(
                "UPDATE ledger_entries SET amount = amount + 1 WHERE kind = 'grant' AND workspace_id = ({own})"
            ),
        ),
        (
            "a turned-around entry",
            format!(
                "UPDATE ledger_entries SET to_account = 'available' WHERE kind = 'capture' AND reference = {paid}"
            ),
        ),
    ]
}

/// Damage to jobs and what belongs to them.
fn job_damages(jobs: &Jobs) -> Vec<(&'static str, String)> {
    let Jobs { paid, free, live, fresh: [id, _] } = jobs;
    let job = |id: &str, change: &str| format!("UPDATE jobs SET {change} WHERE id = {id}");
    let hold = |id: &str, change: &str| format!("UPDATE holds SET {change} WHERE job_id = {id}");
    let own = format!("SELECT workspace_id FROM jobs WHERE id = {live}");
    vec![
        ("a reopened hold", hold(paid, "closed_at = NULL")),
        ("a closed hold", hold(live, "closed_at = opened_at, released = amount")),
        ("a hold of another amount", hold(live, "amount = amount + 1")),
        ("a closed hold of another amount", hold(paid, "amount = amount + 1")),
        ("a capture that became a release", hold(paid, "captured = 0, released = amount")),
        ("a release that became a capture", hold(free, "captured = amount, released = 0")),
        ("a lost hold", format!("DELETE FROM holds WHERE job_id = {live}")),
        ("a paid job that failed", job(paid, "state = 'failed'")),
        ("a free job that succeeded", job(free, "state = 'succeeded'")),
        ("an ended job that runs", job(paid, "state = 'running', finished_at = NULL")),
        ("a live job that ended", job(live, "state = 'canceled', finished_at = created_at")),
        (
            "a live job's deleted upload",
            format!(
                "UPDATE uploads SET deleted_at = created_at WHERE id IN \
                 (SELECT upload_id FROM job_uploads WHERE job_id = {live})"
            ),
        ),
        ("a lost output", format!("DELETE FROM outputs WHERE job_id = {paid}")),
        (
            "an output of a failed job",
            format!(
                "INSERT INTO outputs (id, job_id, workspace_id, position, key, content_type, bytes, sha256, created_at) \
             SELECT {id}, id, workspace_id, 0, 'k', 'image/png', 1, 'x', created_at FROM jobs WHERE id = {free}"
            ),
        ),
        (
            "one dispatched too many",
            format!("UPDATE workspaces SET dispatched = dispatched + 1 WHERE id = ({own})"),
        ),
        (
            "one dispatched too few",
            format!("UPDATE workspaces SET dispatched = dispatched - 1 WHERE id = ({own})"),
        ),
        (
            "a second accepted attempt",
            format!(
                "INSERT INTO attempts (id, job_id, number, route, provider, provider_model, outcome, request_id, started_at, accepted_at) \
             SELECT {id}, job_id, number + 1, route, provider, provider_model, 'succeeded', 'second', started_at, started_at \
             FROM attempts WHERE job_id = {paid}"
            ),
        ),
    ]
}

async fn planted_damage_is_found(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let user = cluster.user(100_000);
    let (jobs, live) = made(&cluster, &user).await;
    cluster.stop().await;
    let (env, copy) = cluster.copy().await;
    copy.close().await;
    let (ok, report) = admin(&["reconcile"], &env);
    assert!(ok && report["ok"] == true && report["violations"] == json!([]), "undamaged: {report}");

    let mut missed = Vec::new();
    for (name, sql) in money_damages(&jobs).into_iter().chain(job_damages(&jobs)) {
        let (env, copy) = cluster.copy().await;
        assert_eq!(copy.write(&sql).await, 1, "{name} changes one row");
        copy.close().await;
        let (ok, report) = admin(&["reconcile"], &env);
        let found =
            report["violations"].as_array().is_some_and(|violations| !violations.is_empty());
        if ok || report["ok"] != false || !found {
            missed.push(format!("{name}: {report}"));
        }
    }
    assert!(missed.is_empty(), "not found: {missed:#?}");
    cluster.start_all().await;
    user.cancel(&live).await;
    user.until(&live, "canceled").await;
    cluster.finish().await;
}

async fn made(cluster: &Cluster, user: &Api) -> (Jobs, String) {
    let (paid, free) =
        (user.submit(&json!({})).await, user.submit(&json!({"fail": "rejected"})).await);
    user.until(&paid, "succeeded").await;
    user.until(&free, "failed").await;
    let handed_in = || data_uri(&picture([7, 7, 7], image::ImageFormat::Png));
    let live = user.submit(&json!({"delay_seconds": 600, "image": handed_in()})).await;
    user.until(&live, "running").await;
    let database = cluster.database().await;
    let literal = |id: &str| database.literal(uuid_of(id));
    let fresh = [0, 1].map(|_| database.literal(uuid::Uuid::now_v7()));
    let jobs = Jobs { paid: literal(&paid), free: literal(&free), live: literal(&live), fresh };
    database.close().await;
    (jobs, live)
}
