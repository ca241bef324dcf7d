//! What is promised: the report on it, the page that says it, and that time takes content and logs
//! away everywhere.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::harness::{Answer, Backend, Browser, Cluster, Options, eventually, sketch, within};

on_both!(
    the_report_knows_every_column_and_every_promise,
    the_policy_says_what_the_settings_say,
    content_and_logs_are_nowhere_after_their_time,
    an_account_is_seen_and_corrected,
    a_new_address_counts_once_it_is_proven,
);

async fn the_report_knows_every_column_and_every_promise(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let (ok, report) = cluster.admin(&["privacy-report"]);
    assert!(ok && report["ok"] == true, "a fresh installation: {report:#}");
    let columns = report["personal"].as_array().unwrap();
    for (table, column) in [("users", "email"), ("jobs", "input"), ("sessions", "address")] {
        let told = columns.iter().find(|c| c["table"] == table && c["column"] == column);
        let told = told.unwrap_or_else(|| panic!("{table}.{column}: {report:#}"));
        for what in ["purpose", "kept", "erased"] {
            assert!(told[what].as_str().unwrap().len() > 3, "{told}");
        }
    }
    let user = cluster.user(10_000);
    let job = user.post_once("once", &sketch(&json!({"prompt": "a tomato"}))).await.expect(202);
    user.until(job["id"].as_str().unwrap(), "succeeded").await;
    let (ok, report) = cluster.admin(&["privacy-report"]);
    assert!(ok, "a used one: {report:#}");
    let content = &report["promises"][0];
    assert!(content["oldest_seconds"].as_u64().unwrap() < 600, "{content}");

    let database = cluster.database().await;
    // Something that should have gone long ago: a break of one promise, and it says of which.
    database.write("UPDATE idempotency_keys SET created_at = 1").await;
    let (ok, report) = cluster.admin(&["privacy-report"]);
    assert!(!ok, "{report:#}");
    let broken: Vec<&Value> =
        report["promises"].as_array().unwrap().iter().filter(|p| p["ok"] == false).collect();
    assert_eq!(broken.len(), 1, "{report:#}");
    assert!(broken[0]["what"].as_str().unwrap().contains("idempotency"), "{broken:?}");
    database.write("DELETE FROM idempotency_keys").await;
    assert!(cluster.admin(&["privacy-report"]).0);
    // A column that nobody has accounted for.
    database.write("ALTER TABLE users ADD COLUMN shoe_size integer").await;
    let (ok, report) = cluster.admin(&["privacy-report"]);
    assert!(!ok && report["unknown"] == json!(["users.shoe_size"]), "{report:#}");
    database.write("ALTER TABLE users DROP COLUMN shoe_size").await;
    assert!(cluster.admin(&["privacy-report"]).0);
    database.close().await;
    // A file that nobody has removed in time.
    cluster.stop().await;
    let folder = cluster.data().join("mail");
    fs::create_dir_all(&folder).unwrap();
    let mail = folder.join("old.eml");
    fs::write(&mail, "To: somebody@example.com\r\n\r\nhello").unwrap();
    assert!(cluster.admin(&["privacy-report"]).0);
    let old = SystemTime::now() - Duration::from_secs(26 * 3_600);
    fs::File::options().write(true).open(&mail).unwrap().set_modified(old).unwrap();
    let (ok, report) = cluster.admin(&["privacy-report"]);
    assert!(!ok, "{report:#}");
    cluster.start_all().await;
    eventually("it is removed", async || (!mail.exists()).then_some(())).await;
    assert!(cluster.admin(&["privacy-report"]).0);
    cluster.finish().await;
}

async fn the_policy_says_what_the_settings_say(backend: Backend) {
    let env = vec![
        ("TIKTOMATO__RETENTION__CONTENT_DAYS", "23".to_owned()),
        ("TIKTOMATO__RETENTION__EXPORT_DAYS", "5".to_owned()),
        ("TIKTOMATO__MEDIA__LINK_SECONDS", "7200".to_owned()),
    ];
    let cluster = Cluster::start(backend, Options { env, ..Options::default() }).await;
    let page = Answer::to(cluster.http.get(format!("{}/privacy", cluster.base))).await.unwrap();
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(page.header("set-cookie").is_none());
    let text = String::from_utf8(page.bytes.clone()).unwrap();
    for words in ["Version 1", "23 days", "90 days", "5 days", "2 hours", "under 13", "__Host-"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("fal.ai"), "{text}");
    // What it says of content is what a job is told.
    let user = cluster.user(1_000);
    let job = user.post("/v1/jobs", &sketch(&json!({}))).await.expect(202);
    let time = |name: &str| -> chrono::DateTime<chrono::Utc> {
        job[name].as_str().unwrap().parse().unwrap()
    };
    let kept = (time("expires_at") - time("created_at")).num_seconds();
    assert!((23 * 86_400 - 5..=23 * 86_400).contains(&kept), "{kept}");
    // Nobody may keep it for longer.
    for (seconds, status) in [(23 * 86_400, 202), (23 * 86_400 + 1, 422)] {
        let mut body = sketch(&json!({}));
        body["expires_in"] = json!(seconds);
        let answer = user.post("/v1/jobs", &body).await.expect(status);
        if status == 202 {
            user.ended(answer["id"].as_str().unwrap()).await;
        } else {
            let detail = answer["errors"][0]["detail"].as_str().unwrap();
            assert!(detail.contains("from 60 to 1987200 (23 days)"), "{detail}");
        }
    }
    user.ended(job["id"].as_str().unwrap()).await;
    cluster.finish().await;
}

async fn content_and_logs_are_nowhere_after_their_time(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let words = ["quaggaprompt", "okapimeta", "narwhalidempotency", "ibexfailed"];
    let mut body = sketch(&json!({"prompt": "a quaggaprompt"}));
    body["metadata"] = json!({"k": "okapimeta"});
    let job = user.post_once("narwhalidempotency", &body).await.expect(202);
    user.until(job["id"].as_str().unwrap(), "succeeded").await;
    let failed = user.submit(&json!({"prompt": "ibexfailed", "fail": "rejected"})).await;
    user.ended(&failed).await;
    crate::exports::exported(&user).await;
    for (days, rows) in [(31, None), (91, Some("usage_log"))] {
        cluster.stop().await;
        cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", &(days * 86_400_u64).to_string());
        cluster.start_all().await;
        within(Duration::from_secs(90), "content is gone", async || {
            cluster.traces(&words).await.is_empty().then_some(())
        })
        .await;
        if let Some(table) = rows {
            let database = cluster.database().await;
            let old = format!(
                "SELECT count(*) AS n FROM {table} WHERE at < {}",
                chrono::Utc::now().timestamp_micros() + 1_000_000
            );
            eventually("the log is gone", async || {
                (database.number(&old).await == 0).then_some(())
            })
            .await;
            database.close().await;
        }
    }
    let report = eventually("every promise is kept", async || {
        let (ok, report) = cluster.admin(&["privacy-report"]);
        ok.then_some(report)
    })
    .await;
    assert_eq!(report["promises"][0]["oldest_seconds"], Value::Null, "{report:#}");
    assert_eq!(user.job(job["id"].as_str().unwrap()).await["status"], "succeeded");
    cluster.finish().await;
}

async fn an_account_is_seen_and_corrected(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let job = user.submit(&json!({})).await;
    user.until(&job, "succeeded").await;
    let account = user.get("/v1/account").await.expect(200);
    assert_eq!(account["object"], "account", "{account}");
    assert_eq!((&account["email"], &account["name"]), (&json!(user.email), &json!("Test")));
    assert_eq!(account["counts"]["jobs"], 1, "{account}");
    assert_eq!(account["counts"]["files"], 1, "{account}");
    assert_eq!(account["counts"]["api_keys"], 1, "{account}");
    assert_eq!(account["identities"], json!([]), "{account}");

    let patch = async |body: Value| {
        let request = user.request(reqwest::Method::PATCH, "/v1/account").json(&body);
        Answer::to(request).await.unwrap()
    };
    assert_eq!(patch(json!({"name": "Ada ✨"})).await.expect(200)["name"], "Ada ✨");
    assert_eq!(patch(json!({"name": null})).await.expect(200)["name"], Value::Null);
    assert_eq!(patch(json!({})).await.expect(200)["name"], Value::Null);
    for bad in [
        json!({"name": ""}),
        json!({"name": 7}),
        json!({"name": "a\u{7}b"}),
        json!({"name": "x".repeat(201)}),
        json!({"role": "operator"}),
        json!({"email": "x"}),
        json!([]),
    ] {
        patch(bad).await.problem(422);
    }
    // A key alone neither moves the account to another address nor ends it.
    for body in [
        json!({"email": "new@example.com"}),
        json!({"email": "new@example.com", "password": "not the password"}),
    ] {
        assert_eq!(patch(body).await.problem(403), "reauthentication_required");
    }
    assert_eq!(user.delete("/v1/account").await.problem(403), "reauthentication_required");
    let wrong =
        user.request(reqwest::Method::DELETE, "/v1/account").json(&json!({"password": "no"}));
    let wrong = Answer::to(wrong).await.unwrap();
    assert_eq!(wrong.problem(403), "reauthentication_required");
    let odd = user.request(reqwest::Method::DELETE, "/v1/account").json(&json!({"sure": true}));
    Answer::to(odd).await.unwrap().problem(422);
    assert_eq!(user.get("/v1/account").await.expect(200)["email"], user.email.as_str());
    for path in ["/v1/account", "/v1/account/exports"] {
        let nobody = cluster.http.get(format!("{}{path}", cluster.base));
        Answer::to(nobody).await.unwrap().problem(401);
    }
    // By mail: an operator does it.
    let to = format!("moved-{}", user.email);
    let (ok, said) =
        cluster.admin(&["update-user", "--user", &user.email, "--email", &to, "--name", "Grace"]);
    assert!(ok && said["email"] == to.as_str() && said["name"] == "Grace", "{said}");
    assert_eq!(user.get("/v1/account").await.expect(200)["email"], to.as_str());
    cluster.finish().await;
}

/// Who has only the mail, or another account, cannot use the link, and does not use it up.
async fn only_its_account_opens(cluster: &Cluster, owner: &Browser, token: &str) {
    let stranger = cluster.browser();
    let other = cluster.person("other@example.com", "another long password").await;
    let signed_out = cluster.browser();
    signed_out.sign_in("other@example.com", "another long password").await.expect(200);
    assert_eq!(signed_out.post("/v1/auth/sign-out", &json!({})).await.status, 204);
    for browser in [&stranger, &other, &signed_out] {
        let answer = browser.post("/v1/auth/verify", &json!({"token": token})).await;
        assert_eq!(answer.problem(403), "reauthentication_required");
        let answer = browser.form("/verify", &[("token", token)]).await;
        let page = String::from_utf8(answer.bytes.clone()).unwrap();
        assert!(answer.status == 403 && page.contains("Sign in to the account"), "{page}");
        assert!(page.contains("href=\"/sign-in\""), "{page}");
    }
    let account = owner.get("/v1/account").await.expect(200);
    assert_eq!(account["email"], "old@example.com", "{account}");
    assert_eq!(other.get("/v1/account").await.expect(200)["email"], "other@example.com");
}

async fn a_new_address_counts_once_it_is_proven(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let (old, new, password) = ("old@example.com", "new@example.com", "a long password indeed");
    let browser = cluster.person(old, password).await;
    let taken = cluster.user(0);
    let patch = async |body: Value| {
        let request = browser.request(reqwest::Method::PATCH, "/v1/account").json(&body);
        browser.send(request).await
    };
    let wrong = patch(json!({"email": new, "password": "not the password"})).await;
    assert_eq!(wrong.problem(403), "reauthentication_required");
    let account =
        patch(json!({"email": "New@Example.com", "password": password})).await.expect(200);
    assert_eq!((&account["email"], &account["pending_email"]), (&json!(old), &json!(new)));
    let token = cluster.mail(new, 1).await.token();
    only_its_account_opens(&cluster, &browser, &token).await;
    browser.post("/v1/auth/verify", &json!({"token": token})).await.expect(200);
    browser.post("/v1/auth/verify", &json!({"token": token})).await.problem(403);
    let account = browser.get("/v1/account").await.expect(200);
    assert_eq!((&account["email"], &account["pending_email"]), (&json!(new), &Value::Null));
    // The old address is told, and opens nothing any more.
    let told = cluster.mail(old, 2).await;
    assert!(told.subject.contains("new address"), "{told:?}");
    cluster.browser().sign_in(old, password).await.problem(401);
    cluster.browser().sign_in(new, password).await.expect(200);
    // An address that somebody has cannot be told from a free one by who asks; its owner is written to.
    let account = patch(json!({"email": taken.email, "password": password})).await.expect(200);
    assert_eq!(account["email"], new, "{account}");
    assert_eq!(account["pending_email"], taken.email.as_str(), "{account}");
    cluster.mail(&taken.email, 1).await;
    // Nobody's mailbox can be filled by it.
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers
            .push(patch(json!({"email": "free@example.com", "password": password})).await.status);
    }
    assert_eq!(answers[0], 200);
    assert_eq!(*answers.last().unwrap(), 429, "{answers:?}");
    cluster.finish().await;
}
