//! Every promise of the privacy report, broken one at a time: what is in time is no break, what is
//! overdue is one, and the report says of which promise.

use std::collections::BTreeSet;

use image::ImageFormat;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    erasure::erased,
    exports::exported,
    harness::{Answer, Api, Backend, Cluster, admin, sketch, uuid_of},
    uploads::{data_uri, picture},
};

on_both!(an_overdue_row_breaks_its_promise_and_no_other);

/// What is checked elsewhere: it is no row.
const FOLDER: &str = "mails in a folder";

/// More than the report waits for tasks to come round.
const LATE: u64 = 3_600 + 60;

/// How each promise is broken: words of it, and statements. `{at}` is when its oldest row began to
/// count, `{now}` is now; `{id}` is an id and `{bytes}` are bytes of nobody's. `{job}` and `{upload}`
/// are somebody's, `{gone}` is a job of an account that is erased.
const BREAKS: [(&str, &[&str]); 28] = [
    (
        "metadata and media of jobs, from their creation",
        &["UPDATE jobs SET created_at = {at} WHERE id = {job}"],
    ),
    ("the job itself names", &["UPDATE jobs SET expires_at = {at} WHERE id = {job}"]),
    (
        "left of jobs that were erased",
        &["UPDATE jobs SET error_detail = 'x', erased_at = {at} WHERE id = {gone}"],
    ),
    (
        "what providers reported, from its arrival",
        &["INSERT INTO callbacks (id, attempt_id, provider, received_at, headers, body) \
           SELECT {id}, id, provider, {at}, '{}', {bytes} FROM attempts WHERE job_id = {job}"],
    ),
    (
        "what providers reported of jobs that were erased",
        &[
            "INSERT INTO callbacks (id, attempt_id, provider, received_at, headers, body) \
             SELECT {id}, id, provider, {now}, '{}', {bytes} FROM attempts WHERE job_id = {gone}",
            "UPDATE jobs SET erased_at = {at} WHERE id = {gone}",
        ],
    ),
    ("idempotency keys", &["UPDATE idempotency_keys SET created_at = {at}"]),
    ("uploads, from their creation", &["UPDATE uploads SET created_at = {at} WHERE id = {upload}"]),
    ("uploads after their time", &["UPDATE uploads SET expires_at = {at} WHERE id = {upload}"]),
    ("uploads that were deleted", &["UPDATE uploads SET deleted_at = {at} WHERE id = {upload}"]),
    ("exports, after their time", &["UPDATE exports SET expires_at = {at}"]),
    ("files that are lost", &["INSERT INTO lost_files (key, found_at) VALUES ('jobs/00/x', {at})"]),
    ("sessions, after their end", &["UPDATE sessions SET expires_at = {at}"]),
    ("sessions that nobody uses", &["UPDATE sessions SET last_seen_at = {at}"]),
    ("counts of tries", &["INSERT INTO throttles (key, free_at) VALUES ({bytes}, {at})"]),
    (
        "sign-ups whose address",
        &["INSERT INTO sign_ups (id, email, password_hash, created_at, expires_at) \
           VALUES ({id}, 'quagga@example.com', 'x', {at}, {at})"],
    ),
    (
        "links that were sent by mail",
        &["INSERT INTO mail_tokens (id, user_id, purpose, email, created_at, expires_at) \
           SELECT {id}, w.owner_id, 'reset', 'x', {at}, {at} FROM workspaces w \
           JOIN jobs j ON j.workspace_id = w.id WHERE j.id = {job}"],
    ),
    (
        "mails that wait to be sent",
        &["INSERT INTO mails (id, template, recipient, created_at, next_at) \
           VALUES ({id}, 'reset', 'quagga@example.com', {at}, {now})"],
    ),
    (
        "the usage log",
        &["INSERT INTO usage_log (at, method, route, status, browser, address) \
           VALUES ({at}, 'GET', '/v1/jobs', 200, 'other', '192.0.2.1')"],
    ),
    (
        "the audit log",
        &["INSERT INTO audit_events (id, at, action, detail) VALUES ({id}, {at}, 'sign_in', '{}')"],
    ),
    (
        "deletion is to be asked for",
        &["INSERT INTO provider_copies \
           (attempt_id, erasure_id, provider, request_id, next_try_at, asked_at) \
           SELECT {id}, id, 'fal', 'r', {at}, {now} FROM erasures"],
    ),
    (
        "copies at providers that never answered",
        &["INSERT INTO provider_copies \
           (attempt_id, erasure_id, provider, request_id, next_try_at, asked_at) \
           SELECT {id}, id, 'fal', 'r', {now}, {at} FROM erasures"],
    ),
    (
        "a receipt tells of and nobody asks about",
        &["UPDATE erasures SET copies_asked = copies_asked + 1, requested_at = {at}"],
    ),
    (
        "accounts that are to be erased",
        &["UPDATE erasures SET state = 'erasing', requested_at = {at}"],
    ),
    (
        "the person in the row",
        &["UPDATE users SET name = 'x', erased_at = {at} WHERE erased_at IS NOT NULL"],
    ),
    (
        "ways in to accounts",
        &[
            "INSERT INTO identities (id, provider, subject, user_id, created_at) \
             SELECT {id}, 'google', 's', id, {now} FROM users WHERE erased_at IS NOT NULL",
            "UPDATE users SET erased_at = {at} WHERE erased_at IS NOT NULL",
        ],
    ),
    (
        "content of accounts that are erased",
        &[
            "UPDATE jobs SET erased_at = NULL WHERE id = {gone}",
            "UPDATE erasures SET erased_at = {at}",
        ],
    ),
    (
        "words and keys of accounts that are erased",
        &[
            "INSERT INTO entry_notes (entry_id, note) SELECT l.id, 'x' FROM ledger_entries l \
             JOIN erasures e ON e.workspace_id = l.workspace_id WHERE l.kind = 'grant'",
            "UPDATE erasures SET erased_at = {at}",
        ],
    ),
    (
        "the person in logs",
        &[
            "INSERT INTO audit_events (id, at, user_id, action, address, detail) \
             SELECT {id}, {now}, user_id, 'sign_in', '192.0.2.1', '{}' FROM erasures",
            "UPDATE erasures SET erased_at = {at}",
        ],
    ),
];

/// The public ids of what is planted upon.
struct Planted {
    job: String,
    upload: String,
    gone: String,
}

async fn planted(cluster: &Cluster, user: &Api) -> Planted {
    cluster.person("tapir@example.com", "a long tapir password").await;
    let mut body = sketch(&json!({}));
    body["input"]["image"] = json!(data_uri(&picture([7, 7, 7], ImageFormat::Png)));
    let job = user.post_once("once", &body).await.expect(202)["id"].as_str().unwrap().to_owned();
    user.until(&job, "succeeded").await;
    let upload =
        user.request(Method::POST, "/v1/uploads").body(picture([1, 2, 3], ImageFormat::Png));
    let upload = Answer::to(upload).await.unwrap().expect(201)["id"].as_str().unwrap().to_owned();
    exported(user).await;
    let leaver = cluster.user(10_000);
    let gone = leaver.submit(&json!({})).await;
    leaver.until(&gone, "succeeded").await;
    let (ok, erasure) = cluster.admin(&["delete-user", "--user", &leaver.email]);
    assert!(ok, "{erasure}");
    erased(cluster, &erasure).await;
    Planted { job, upload, gone }
}

async fn an_overdue_row_breaks_its_promise_and_no_other(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let user = cluster.user(100_000);
    let planted = planted(&cluster, &user).await;
    cluster.stop().await;
    let (ok, report) = cluster.admin(&["privacy-report"]);
    assert!(ok && report["ok"] == true, "healthy: {report:#}");
    let limits: Vec<(&str, u64)> = report["promises"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["what"].as_str().unwrap(), p["limit_seconds"].as_u64().unwrap()))
        .collect();
    let mut untested: BTreeSet<&str> = limits.iter().map(|(what, _)| *what).collect();
    untested.retain(|what| !what.starts_with(FOLDER));
    let mut wrong = Vec::new();
    for (words, statements) in BREAKS {
        let (what, limit) = *limits
            .iter()
            .find(|(what, _)| what.contains(words))
            .unwrap_or_else(|| panic!("nothing promises anything about {words}: {report:#}"));
        assert!(untested.remove(what), "{words} is ambiguous: {what}");
        for (age, broken) in [(limit.saturating_sub(60), vec![]), (limit + LATE, vec![what])] {
            let (env, copy) = cluster.copy().await;
            for statement in statements {
                let statement = filled(statement, &planted, &copy, age);
                assert!(copy.write(&statement).await > 0, "it changes nothing: {statement}");
            }
            copy.close().await;
            let (ok, report) = admin(&["privacy-report"], &env);
            let named: Vec<&Value> = report["promises"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|promise| promise["ok"] == false)
                .map(|promise| &promise["what"])
                .collect();
            if named != broken || ok != broken.is_empty() || report["ok"] != broken.is_empty() {
                wrong.push(format!("{what} at {age} s: exit well {ok}, broken {named:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(untested.is_empty(), "nobody breaks these: {untested:?}");
    cluster.start_all().await;
    cluster.finish().await;
}

fn filled(
    statement: &str,
    planted: &Planted,
    database: &crate::harness::Database,
    age: u64,
) -> String {
    let now = chrono::Utc::now().timestamp_micros();
    let at = now - i64::try_from(age).unwrap() * 1_000_000;
    let literal = |id: &str| database.literal(uuid_of(id));
    statement
        .replace("{at}", &at.to_string())
        .replace("{now}", &now.to_string())
        .replace("{id}", &database.literal(uuid::Uuid::now_v7()))
        .replace("{bytes}", database.bytes())
        .replace("{job}", &literal(&planted.job))
        .replace("{upload}", &literal(&planted.upload))
        .replace("{gone}", &literal(&planted.gone))
}
