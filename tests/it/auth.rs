//! Who may see what.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Backend, Cluster, eventually, sketch};

on_both!(
    a_bad_key_is_refused_in_one_shape,
    nobody_sees_another_workspace,
    the_last_use_of_a_key_is_noted
);

async fn a_bad_key_is_refused_in_one_shape(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let id = user.submit(&json!({})).await;
    user.until(&id, "succeeded").await;
    let request = |key: Option<&str>, path: &str| {
        let request = user.http.get(format!("{}{path}", user.base));
        match key {
            Some(key) => request.header("Authorization", key),
            None => request,
        }
    };
    let made_up = format!("Bearer tt_live_{}", "a".repeat(user.key.len() - "tt_live_".len()));
    let real = format!("Bearer {}", user.key);
    let cut = &real[..real.len() - 1];
    let basic = format!("Basic {}", user.key);
    let bad = [
        None,
        Some(""),
        Some("Bearer"),
        Some("Bearer "),
        Some(cut),
        Some(basic.as_str()),
        Some(made_up.as_str()),
    ];
    let mut shapes: Vec<Value> = Vec::new();
    for path in ["/v1/jobs", &format!("/v1/jobs/{id}"), "/v1/credits", "/v1/credits/entries"] {
        for key in bad {
            let answer = Answer::to(request(key, path)).await.unwrap();
            answer.problem(401);
            shapes.push(answer.json());
        }
    }
    revoke(&cluster, &user).await;
    // A key may be remembered for a moment.
    let refused = eventually("the revoked key is refused", async || {
        let answer = user.get("/v1/jobs").await;
        (answer.status == 401).then_some(answer)
    })
    .await;
    refused.problem(401);
    shapes.push(refused.json());
    let answer = user.post("/v1/jobs", &sketch(&json!({}))).await;
    answer.problem(401);
    shapes.push(answer.json());
    // Nothing in the answer tells a wrong key from a revoked one.
    for shape in &mut shapes {
        let shape = shape.as_object_mut().unwrap();
        shape.retain(|name, _| !matches!(name.as_str(), "instance" | "request_id"));
    }
    assert!(shapes.iter().all(|shape| *shape == shapes[0]), "{shapes:#?}");
    cluster.finish().await;
}

async fn revoke(cluster: &Cluster, user: &Api) {
    let database = cluster.database().await;
    let sql = format!(
        "UPDATE api_keys SET revoked_at = created_at WHERE user_id = (SELECT id FROM users WHERE email = '{}')",
        user.email
    );
    assert_eq!(database.write(&sql).await, 1);
    database.close().await;
}

async fn nobody_sees_another_workspace(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let (owner, stranger) = (cluster.user(10_000), cluster.user(10_000));
    let id = owner.submit(&json!({})).await;
    owner.until(&id, "succeeded").await;
    let path = format!("/v1/jobs/{id}");
    let unknown = "/v1/jobs/job_01980000000070008000000000000000";
    let routes = [
        (Method::GET, ""),
        (Method::GET, "?wait=1"),
        (Method::GET, "/events"),
        (Method::POST, "/cancel"),
        (Method::DELETE, ""),
    ];
    for (method, rest) in routes {
        let ask = async |path: &str| {
            let request = stranger.request(method.clone(), &format!("{path}{rest}"));
            Answer::to(request).await.unwrap()
        };
        let (theirs, nobodys) = (ask(&path).await, ask(unknown).await);
        assert_eq!(theirs.problem(404), nobodys.problem(404), "{method} {rest}");
        assert_eq!(theirs.json()["detail"], nobodys.json()["detail"], "{method} {rest}");
    }
    assert_eq!(stranger.get("/v1/jobs").await.expect(200)["data"], json!([]));
    let after = owner.get(&format!("/v1/jobs?after={id}")).await;
    assert_ne!(after.status.as_u16() / 100, 5);
    let entries = stranger.get("/v1/credits/entries").await.expect(200);
    assert_eq!(entries["data"].as_array().unwrap().len(), 1, "the grant alone: {entries}");
    // The same idempotency key of another workspace is another key.
    let body = sketch(&json!({}));
    let a = owner.post_once("same", &body).await.expect(202);
    let b = stranger.post_once("same", &body).await.expect(202);
    assert_ne!(a["id"], b["id"]);
    owner.ended(a["id"].as_str().unwrap()).await;
    stranger.ended(b["id"].as_str().unwrap()).await;
    assert_eq!(owner.job(&id).await["status"], "succeeded", "the stranger changed nothing");
    cluster.finish().await;
}

async fn the_last_use_of_a_key_is_noted(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let (used, unused) = (cluster.user(10), cluster.user(10));
    for _ in 0..20 {
        assert_eq!(used.get("/v1/credits").await.status, 200);
    }
    // Nothing waits for the next write: a process that stops makes its last one.
    cluster.stop().await;
    let database = cluster.database().await;
    let noted = async |user: &Api| {
        let sql = format!(
            "SELECT count(*) AS n FROM api_keys JOIN users ON users.id = api_keys.user_id \
             WHERE users.email = '{}' AND last_used_at >= api_keys.created_at",
            user.email
        );
        database.number(&sql).await
    };
    assert_eq!(noted(&used).await, 1);
    assert_eq!(noted(&unused).await, 0);
    database.close().await;
    cluster.start_all().await;
    cluster.finish().await;
}
