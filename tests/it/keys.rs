//! Users' own API keys: what each may do, for how long, for how much, and its end.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Backend, Cluster, eventually, sketch};

on_both!(
    a_key_does_what_its_scopes_say,
    a_key_gives_no_more_than_it_has,
    a_key_works_until_its_end,
    a_spending_limit_holds_under_many_clients,
    keys_of_before_may_do_everything
);

/// Makes a key; whoever has it.
pub(crate) async fn made(owner: &Api, body: &Value) -> (Api, Value) {
    let key = owner.post("/v1/keys", body).await.expect(201);
    let secret = key["key"].as_str().unwrap().to_owned();
    (Api { key: secret, ..owner.clone() }, key)
}

async fn a_key_does_what_its_scopes_say(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let owner = cluster.user(10_000);
    let id = owner.submit(&json!({})).await;
    owner.until(&id, "succeeded").await;
    let job = format!("/v1/jobs/{id}");
    let upload = "/v1/uploads/upload_01980000000070008000000000000000";
    let key = "/v1/keys/key_01980000000070008000000000000000";
    let routes = [
        (Method::GET, "/v1/jobs", "jobs:read"),
        (Method::GET, job.as_str(), "jobs:read"),
        (Method::GET, &format!("{job}/events"), "jobs:read"),
        (Method::GET, upload, "jobs:read"),
        (Method::POST, "/v1/jobs", "jobs:write"),
        (Method::POST, "/v1/jobs/quote", "jobs:write"),
        (Method::POST, &format!("{job}/cancel"), "jobs:write"),
        (Method::DELETE, "/v1/jobs/job_01980000000070008000000000000000", "jobs:write"),
        (Method::POST, "/v1/uploads", "jobs:write"),
        (Method::DELETE, upload, "jobs:write"),
        (Method::GET, "/v1/credits", "credits:read"),
        (Method::GET, "/v1/credits/entries", "credits:read"),
        (Method::GET, "/v1/keys", "account"),
        (Method::POST, "/v1/keys", "account"),
        (Method::DELETE, key, "account"),
        (Method::GET, "/v1/usage", "account"),
    ];
    let scopes = ["jobs:read", "jobs:write", "credits:read", "account"];
    for scope in scopes {
        let (only, _) = made(&owner, &json!({"name": scope, "scopes": [scope]})).await;
        let others: Vec<&str> = scopes.into_iter().filter(|other| *other != scope).collect();
        let (without, _) = made(&owner, &json!({"name": scope, "scopes": others})).await;
        for (method, path, needed) in &routes {
            let ask = |user: &Api| user.request(method.clone(), path).json(&json!({}));
            let (with, lacks) =
                if *needed == scope { (&only, &without) } else { (&without, &only) };
            let answer = Answer::to(ask(with)).await.unwrap();
            assert!(!matches!(answer.status.as_u16(), 401 | 403), "{scope} {path}: {answer:?}");
            assert_eq!(Answer::to(ask(lacks)).await.unwrap().problem(403), "insufficient_scope");
        }
        // What can be bought is no secret to any key.
        assert_eq!(only.get("/v1/models").await.status, 200);
    }
    cluster.finish().await;
}

async fn a_key_gives_no_more_than_it_has(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let (owner, stranger) = (cluster.user(10_000), cluster.user(0));
    let all = json!(["jobs:read", "jobs:write", "credits:read", "account"]);
    let some = json!({"name": "CI", "scopes": ["account", "jobs:read"],
        "expires_at": "2099-01-01T00:00:00Z"});
    let (lesser, key) = made(&owner, &some).await;
    assert_eq!(key["expires_at"], "2099-01-01T00:00:00.000000Z");
    let more = lesser.post("/v1/keys", &json!({"name": "x", "scopes": all})).await;
    assert_eq!(more.problem(403), "insufficient_scope");
    let longer = json!({"name": "x", "scopes": ["account"], "expires_at": "2099-01-02T00:00:00Z"});
    assert_eq!(lesser.post("/v1/keys", &longer).await.problem(422), "invalid_input");
    let (_, same) = made(&lesser, &json!({"name": "x", "scopes": ["jobs:read"]})).await;
    assert_eq!(same["expires_at"], key["expires_at"], "it ends with its maker");
    let limit = json!({"credits": 100, "per": "month"});
    let (limited, key) =
        made(&owner, &json!({"name": "x", "scopes": all, "spending_limit": limit})).await;
    assert_eq!(key["spending_limit"]["spent"], 0);
    let free = limited.post("/v1/keys", &json!({"name": "x", "scopes": ["jobs:write"]})).await;
    assert_eq!(free.problem(403), "insufficient_scope");

    // The secret is shown once, and nobody else's keys are seen or touched.
    let list = owner.get("/v1/keys").await;
    for user in [&owner, &lesser, &limited] {
        assert!(!String::from_utf8_lossy(&list.bytes).contains(&user.key));
    }
    let keys = list.expect(200)["data"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 4, "{keys:#?}");
    assert_eq!(keys[0]["id"], key["id"], "newest first");
    let path = format!("/v1/keys/{}", key["id"].as_str().unwrap());
    stranger.delete(&path).await.problem(404);
    assert_eq!(stranger.get("/v1/keys").await.expect(200)["data"].as_array().unwrap().len(), 1);
    assert_eq!(owner.delete(&path).await.status, 204);
    assert_eq!(limited.get("/v1/jobs").await.problem(401), "unauthorized");
    owner.delete(&path).await.problem(404);
    assert!(!cluster.logs().contains(&limited.key));
    let database = cluster.database().await;
    let noted = async |action: &str| {
        // By a person; keys that the command line made are nobody's.
        let sql = format!(
            "SELECT count(*) AS n FROM audit_events WHERE action = '{action}' AND actor_id IS NOT NULL"
        );
        database.number(&sql).await
    };
    assert_eq!((noted("key_made").await, noted("key_revoked").await), (3, 1));
    database.close().await;
    cluster.finish().await;
}

async fn a_key_works_until_its_end(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let owner = cluster.user(10_000);
    let end = chrono::Utc::now() + chrono::Duration::seconds(6);
    let body = json!({"name": "short", "scopes": ["jobs:read", "jobs:write"], "expires_at": end});
    let (short, _) = made(&owner, &body).await;
    assert_eq!(short.get("/v1/jobs").await.status, 200);
    let refused = eventually("it ends", async || {
        let answer = short.get("/v1/jobs").await;
        (answer.status != 200).then_some((answer, chrono::Utc::now()))
    })
    .await;
    refused.0.problem(401);
    assert!(refused.1 >= end, "not before its time");
    short.post("/v1/jobs", &sketch(&json!({}))).await.problem(401);
    cluster.finish().await;
}

async fn a_spending_limit_holds_under_many_clients(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let owner = cluster.user(100_000);
    let body = sketch(&json!({"delay_seconds": 600}));
    let price = owner.quote(&body).await;
    let limit = 5 * price + price / 2;
    let scopes = json!(["jobs:read", "jobs:write", "account"]);
    let limited = json!({"name": "limited", "scopes": scopes,
        "spending_limit": {"credits": limit, "per": "month"}});
    let (limited, key) = made(&owner, &limited).await;
    let spent = async || {
        let keys = owner.get("/v1/keys").await.expect(200);
        let keys = keys["data"].as_array().unwrap();
        let found = keys.iter().find(|found| found["id"] == key["id"]).unwrap();
        found["spending_limit"]["spent"].as_i64().unwrap()
    };
    let submits = (0..32).map(|_| {
        let (limited, body) = (limited.clone(), body.clone());
        tokio::spawn(async move { limited.post("/v1/jobs", &body).await })
    });
    let mut ids = Vec::new();
    for answer in futures::future::join_all(submits).await {
        let answer = answer.unwrap();
        match answer.status.as_u16() {
            202 => ids.push(answer.json()["id"].as_str().unwrap().to_owned()),
            _ => assert_eq!(answer.problem(402), "spending_limit_exceeded"),
        }
    }
    assert_eq!(ids.len(), 5, "as many as the limit covers");
    assert_eq!(spent().await, 5 * price);
    // Other keys have their own limits, or none.
    let other = owner.submit(&json!({})).await;
    // What is released counts back.
    for id in &ids[..2] {
        owner.cancel(id).await;
        owner.ended(id).await;
    }
    let released: i64 = {
        let mut sum = 0;
        for id in &ids[..2] {
            sum += owner.job(id).await["credits"]["released"].as_i64().unwrap();
        }
        sum
    };
    assert_eq!(spent().await, 5 * price - released);
    assert_eq!(released, 2 * price, "a canceled job costs nothing");
    let again = [(); 3].map(|()| limited.post("/v1/jobs", &body));
    let again = futures::future::join_all(again).await;
    let accepted = again.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(accepted, 2, "{again:?}");
    owner.until(&other, "succeeded").await;
    let database = cluster.database().await;
    assert_eq!(database.number("SELECT count(*) AS n FROM key_spending").await, 1);
    database.close().await;
    for id in ids[2..].iter().cloned().chain(
        again
            .iter()
            .filter(|answer| answer.status == 202)
            .map(|answer| answer.json()["id"].as_str().unwrap().to_owned()),
    ) {
        owner.cancel(&id).await;
        owner.ended(&id).await;
    }
    assert_eq!(spent().await, 0);
    cluster.finish().await;
}

async fn keys_of_before_may_do_everything(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10);
    let keys = user.get("/v1/keys").await.expect(200);
    let scopes = &keys["data"][0]["scopes"];
    assert_eq!(*scopes, json!(["jobs:read", "jobs:write", "credits:read", "account"]));
    cluster.finish().await;
}
