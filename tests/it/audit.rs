//! The audit log: what happened to an account is told to its owner, and never changed.

use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use crate::{
    exports::exported,
    harness::{Answer, Api, Backend, Browser, Cluster, eventually},
};

on_both!(what_happened_is_told, who_copies_an_account_is_told, what_happened_stays, old_events_go,);

const PASSWORD: &str = "correct horse battery";

async fn actions(browser: &Browser) -> Vec<String> {
    let list = browser.get("/v1/audit?limit=100").await.expect(200);
    let events = list["data"].as_array().unwrap().clone();
    events.iter().map(|event| event["action"].as_str().unwrap().to_owned()).collect()
}

async fn what_happened_is_told(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let email = "told@example.com";
    let browser = cluster.person(email, PASSWORD).await;
    let stranger = cluster.person("other@example.com", PASSWORD).await;
    stranger.sign_in(email, "a wrong password").await.problem(401);
    let second = cluster.browser();
    second.sign_in(email, PASSWORD).await.expect(200);
    let list = browser.get("/v1/sessions").await.expect(200);
    let id = list["data"][0]["id"].as_str().unwrap().to_owned();
    browser.delete(&format!("/v1/sessions/{id}")).await.expect(204);
    let body = json!({"current_password": PASSWORD, "password": "another good one"});
    browser.post("/v1/auth/password", &body).await.expect(200);
    let expected = [
        "sign_in",
        "password_changed",
        "session_revoked",
        "sign_in",
        "sign_in_failed",
        "sign_in",
        "email_verified",
        "sign_up",
    ];
    assert_eq!(actions(&browser).await, expected);
    let list = browser.get("/v1/audit?limit=100").await.expect(200);
    let events = list["data"].as_array().unwrap();
    assert_eq!(events[2]["detail"]["session"], id.as_str());
    for event in events {
        assert_eq!(event["address"], "127.0.0.1", "{event}");
        assert_eq!(event["object"], "audit_event");
        let failed = event["action"] == "sign_in_failed";
        assert_eq!(event["actor"], if failed { "unknown" } else { "you" }, "{event}");
    }
    let text = list.to_string();
    assert!(!text.contains(PASSWORD) && !text.contains(email), "{text}");
    // A list like every other one.
    let mut seen: Vec<Value> = Vec::new();
    let mut path = "/v1/audit?limit=3".to_owned();
    loop {
        let page = browser.get(&path).await.expect(200);
        seen.extend(page["data"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/audit?limit=3&after={next}");
    }
    assert_eq!(seen, *events);
    assert_eq!(browser.get("/v1/audit?limit=0").await.problem(422), "invalid_input");
    assert_eq!(
        actions(&stranger).await,
        ["sign_in", "email_verified", "sign_up"],
        "their own alone"
    );
    browser.post("/v1/auth/sign-out", &json!({})).await.expect(204);
    browser.sign_in(email, "another good one").await.expect(200);
    assert_eq!(actions(&browser).await[..2], ["sign_in", "sign_out"]);
    cluster.finish().await;
}

async fn who_copies_an_account_is_told(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let (user, other) = (cluster.user(0), cluster.user(0));
    let export = exported(&user).await;
    let events = async |user: &Api, action: &str| -> Vec<Value> {
        let list = user.get("/v1/audit?limit=100").await.expect(200);
        let events = list["data"].as_array().unwrap().iter();
        events.filter(|event| event["action"] == action).cloned().collect()
    };
    let url = export["url"].as_str().unwrap();
    let fetch = async |name: &str, value: &str| {
        Answer::to(user.http.get(url).header(name, value)).await.unwrap()
    };
    let head = Answer::to(user.http.head(url)).await.unwrap();
    let etag = head.header("etag").unwrap();
    assert_eq!(fetch("if-none-match", etag).await.status, 304);
    assert_eq!(events(&user, "export_fetched").await, [] as [Value; 0], "nobody has anything yet");
    // Every download is told once, wherever it begins and in however many parts it comes.
    for (name, value, status, told) in [
        ("range", "bytes=10-19", 206, 1),
        ("range", "bytes=20-", 206, 1),
        ("range", "bytes=0-9", 206, 2),
        ("range", "bytes=10-", 206, 2),
        ("accept", "*/*", 200, 3),
    ] {
        assert_eq!(fetch(name, value).await.status, status, "{value}");
        assert_eq!(events(&user, "export_fetched").await.len(), told, "{value}");
    }
    let event = &events(&user, "export_fetched").await[0];
    assert_eq!(event["detail"], json!({"export": export["id"]}), "{event}");
    assert_eq!((&event["actor"], &event["address"]), (&json!("unknown"), &json!("127.0.0.1")));
    // An operator's copy, over HTTP and at the command line.
    let operator = cluster.operator();
    let body = json!({"user": user.email});
    let asked = operator.post("/v1/admin/export-user", &body).await.expect(202);
    let file = cluster.data().join("for-them.zip");
    let out = file.display().to_string();
    assert!(cluster.admin(&["export-user", "--user", &user.email, "--out", &out]).0);
    std::fs::remove_file(&file).unwrap();
    let asks = events(&user, "export_asked").await;
    let actors: Vec<_> = asks.iter().map(|event| event["actor"].as_str().unwrap()).collect();
    assert_eq!(actors, ["operator", "operator", "you"], "{asks:?}");
    assert_eq!(asks[1]["detail"], json!({"export": asked["id"]}));
    assert!(asks[1]["address"].is_null(), "where an operator sits is not theirs to know: {asks:?}");
    for action in ["export_asked", "export_fetched"] {
        assert_eq!(events(&other, action).await, [] as [Value; 0], "their own alone");
    }
    cluster.finish().await;
}

async fn what_happened_stays(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    cluster.person("frozen@example.com", PASSWORD).await;
    let database = cluster.database().await;
    let count = database.number("SELECT count(*) AS n FROM audit_events").await;
    let emptied = "address = NULL, browser = NULL, detail = '{}'";
    let mut attempts = Vec::new();
    for change in [
        "action = 'nothing'",
        "at = 0",
        "user_id = NULL",
        "actor_id = NULL",
        "address = '192.0.2.1'",
        "browser = 'another'",
        "detail = '{}'",
        "address = NULL, browser = NULL",
        emptied,
    ] {
        attempts.push(format!("UPDATE audit_events SET {change}"));
    }
    attempts.push("DELETE FROM audit_events".to_owned());
    attempts.push(match backend {
        Backend::Embedded => {
            "INSERT OR REPLACE INTO audit_events SELECT id, 0, NULL, NULL, 'x', NULL, \
                              NULL, '{}' FROM audit_events"
                .to_owned()
        }
        Backend::Distributed => "TRUNCATE audit_events".to_owned(),
    });
    for sql in &attempts {
        let refused = database.connection().execute_unprepared(sql).await;
        let error = refused.expect_err(sql).to_string();
        assert!(error.contains("what happened cannot be changed"), "{sql}: {error}");
    }
    // An erased person is taken out of their events, and of nothing else.
    let (ok, _) = cluster.admin(&["delete-user", "--user", "frozen@example.com"]);
    assert!(ok);
    let about = "SELECT count(*) AS n FROM audit_events WHERE user_id IN \
                 (SELECT user_id FROM erasures) AND (address IS NOT NULL OR browser IS NOT NULL \
                  OR CAST(detail AS text) <> '{}')";
    let erased = "SELECT count(*) AS n FROM erasures WHERE state = 'erased'";
    eventually("the account is erased", async || {
        (database.number(erased).await == 1).then_some(())
    })
    .await;
    assert_eq!(database.number(about).await, 0);
    assert_eq!(database.number("SELECT count(*) AS n FROM audit_events").await, count + 1);
    let sql = "UPDATE audit_events SET address = '192.0.2.1'";
    assert!(database.connection().execute_unprepared(sql).await.is_err());
    database.close().await;
    cluster.finish().await;
}

async fn old_events_go(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    cluster.person("old@example.com", PASSWORD).await;
    let unconfirmed = cluster.browser();
    let body = crate::harness::sign_up("unconfirmed@example.com", PASSWORD);
    unconfirmed.post("/v1/auth/sign-up", &body).await.expect(202);
    cluster.mail("unconfirmed@example.com", 1).await;
    cluster.mail("old@example.com", 1).await;
    cluster.stop().await;
    cluster.set("TIKTOMATO__RETENTION__AUDIT_DAYS", "200");
    cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", &(201 * 86_400).to_string());
    cluster.start_all().await;
    let database = cluster.database().await;
    for table in ["audit_events", "sessions", "sign_ups", "throttles"] {
        let sql = format!("SELECT count(*) AS n FROM {table}");
        eventually(&format!("{table} is empty"), async || {
            (database.number(&sql).await == 0).then_some(())
        })
        .await;
    }
    database.close().await;
    // Mails that no server sends are files, which hold as much.
    eventually("the mails are gone", async || {
        let mails = [cluster.mails("old@example.com"), cluster.mails("unconfirmed@example.com")];
        mails.concat().is_empty().then_some(())
    })
    .await;
    eventually("they are counted", async || {
        let mut counted = false;
        for ops in cluster.ops() {
            let metrics = Answer::to(cluster.http.get(format!("{ops}/metrics"))).await.unwrap();
            let text = String::from_utf8(metrics.bytes).unwrap();
            counted |= text.contains("tiktomato_retention_deleted_total{what=\"mail_file\"} 2\n");
        }
        counted.then_some(())
    })
    .await;
    cluster.finish().await;
}
