//! What operators do over HTTP: the same as at the command line, and noted.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    erasure::erased,
    harness::{Answer, Api, Backend, Cluster, Database, unzip, uuid_of, within},
};

on_both!(
    commands_have_twins,
    a_grant_happens_once,
    a_role_counts_at_once,
    a_role_ends_all_sessions,
    bad_orders_are_refused,
    providers_are_switched,
    people_get_what_they_write_for
);

/// Sends an order.
async fn order(operator: &Api, command: &str, body: &Value) -> Answer {
    operator.post(&format!("/v1/admin/{command}"), body).await
}

/// The actions in the audit log of a user's account, in order, each with who did it.
async fn actions(database: &Database, user: &str) -> Vec<String> {
    let id = database.literal(uuid_of(user));
    let sql = format!(
        "SELECT action || ' ' || CASE WHEN actor_id IS NULL THEN 'nobody' WHEN actor_id = user_id \
         THEN 'themself' ELSE 'somebody' END || ' ' || COALESCE(address, 'here') AS line \
         FROM audit_events WHERE user_id = {id} ORDER BY id"
    );
    database.lines(&sql).await
}

async fn commands_have_twins(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let operator = cluster.operator();
    let email = "twin@example.com";
    let new = json!({"email": "Twin@Example.com", "name": "Twin"});
    let made = order(&operator, "create-user", &new).await.expect(201);
    assert_eq!(made["email"], email, "{made}");
    let grant = json!({"user": email, "credits": 500, "reason": "welcome"});
    let wallet = order(&operator, "grant-credits", &grant).await.expect(200);
    assert_eq!(wallet, json!({"available": 500, "held": 0}));
    let key = order(&operator, "create-key", &json!({"user": email})).await.expect(201);
    let key = key["key"].as_str().unwrap().to_owned();
    let twin = Api { key, email: email.to_owned(), ..operator.clone() };
    assert_eq!(twin.credits().await, (500, 0));
    let entries = twin.get("/v1/credits/entries").await.expect(200);
    assert_eq!(entries["data"][0]["note"], "welcome", "{entries}");
    let found = operator.get(&format!("/v1/admin/users?email={email}")).await.expect(200);
    assert_eq!((&found["id"], &found["available"]), (&made["id"], &json!(500)), "{found}");
    let role = json!({"user": email, "role": "operator"});
    assert_eq!(order(&operator, "set-role", &role).await.expect(200)["role"], "operator");
    let books = twin.get("/v1/admin/reconcile").await.expect(200);
    assert_eq!(books, json!({"ok": true, "violations": []}));
    // At the command line, nobody is known.
    let (ok, _) = cluster.admin(&["set-role", "--user", email, "--role", "user"]);
    assert!(ok);
    let database = cluster.database().await;
    let expected = [
        "user_made somebody 127.0.0.1",
        "credits_granted somebody 127.0.0.1",
        "key_made somebody 127.0.0.1",
        "operator_read somebody 127.0.0.1",
        "role_changed somebody 127.0.0.1",
        "role_changed nobody here",
    ];
    assert_eq!(actions(&database, made["id"].as_str().unwrap()).await, expected);
    database.close().await;
    cluster.finish().await;
}

async fn a_grant_happens_once(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let (operator, user) = (cluster.operator(), cluster.user(0));
    let body = json!({"user": user.email, "credits": 7, "reason": "ticket 7"});
    let once = |body: &Value| {
        let request = operator.request(Method::POST, "/v1/admin/grant-credits");
        Answer::to(request.header("Idempotency-Key", "ticket-7").json(body))
    };
    let same = [once(&body), once(&body), once(&body), once(&body), once(&body)];
    let answers = futures_of(same).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let replayed =
        answers.iter().filter(|answer| answer.header("idempotency-replayed").is_some()).count();
    assert_eq!((user.credits().await, replayed), ((7, 0), 4));
    // The command knows it by the same name.
    let mut command = vec!["grant-credits", "--user", &user.email, "--credits", "7"];
    command.extend(["--reason", "ticket 7", "--reference", "ticket-7"]);
    let (ok, wallet) = cluster.admin(&command);
    assert!(ok && wallet["available"] == 7, "{wallet}");
    for (name, value) in
        [("credits", json!(8)), ("reason", json!("another")), ("user", json!(operator.email))]
    {
        let mut other = body.clone();
        other[name] = value;
        let answer = once(&other).await.unwrap();
        assert_eq!(answer.problem(422), "idempotency_key_reused", "{other}");
    }
    assert_eq!(user.credits().await, (7, 0));
    // Without a name each is a grant of its own.
    for _ in 0..2 {
        order(&operator, "grant-credits", &body).await.expect(200);
    }
    assert_eq!(user.credits().await, (21, 0));
    cluster.finish().await;
}

/// All of them at the same time.
async fn futures_of<F>(requests: [F; 5]) -> Vec<Answer>
where
    F: Future<Output = Result<Answer, reqwest::Error>> + Send + 'static,
{
    let tasks = requests.map(tokio::spawn);
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap().unwrap());
    }
    answers
}

async fn a_role_counts_at_once(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let (operator, user) = (cluster.operator(), cluster.user(0));
    for _ in 0..3 {
        assert_eq!(user.get("/v1/admin/reconcile").await.problem(403), "forbidden");
        let (ok, _) = cluster.admin(&["set-role", "--user", &user.email, "--role", "operator"]);
        assert!(ok);
        user.get("/v1/admin/reconcile").await.expect(200);
        let role = json!({"user": user.email, "role": "user"});
        order(&operator, "set-role", &role).await.expect(200);
    }
    assert_eq!(user.get("/v1/admin/reconcile").await.problem(403), "forbidden");
    // An operator's key is none for this unless it may do everything with the account.
    let (_, made) = cluster.admin(&["create-key", "--user", &operator.email]);
    let key = made["key"].as_str().unwrap().to_owned();
    let narrow = Api { key, ..operator.clone() };
    let database = cluster.database().await;
    let id = database.literal(uuid_of(made["id"].as_str().unwrap()));
    let sql = format!("UPDATE api_keys SET scopes = 'jobs:read jobs:write' WHERE id = {id}");
    assert_eq!(database.write(&sql).await, 1);
    database.close().await;
    assert_eq!(narrow.get("/v1/admin/reconcile").await.problem(403), "forbidden");
    // Whoever may not do it does not learn who exists.
    for email in [&operator.email, "nobody@example.com"] {
        let answer = user.get(&format!("/v1/admin/users?email={email}")).await;
        assert_eq!(answer.problem(403), "forbidden");
    }
    cluster.finish().await;
}

/// What somebody could do before is worth nothing for what they may do now.
async fn a_role_ends_all_sessions(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let operator = cluster.operator();
    let (email, password) = ("promoted@example.com", "a long password indeed");
    let (first, other) = (
        cluster.person(email, password).await,
        cluster.person("other@example.com", password).await,
    );
    let second = cluster.browser();
    second.sign_in(email, password).await.expect(200);
    for (role, by_http, status) in [("operator", true, 200), ("user", false, 403)] {
        let before = first.cookie("__Host-tt_session").unwrap();
        if by_http {
            let body = json!({"user": email, "role": role});
            order(&operator, "set-role", &body).await.expect(200);
        } else {
            assert!(cluster.admin(&["set-role", "--user", email, "--role", role]).0);
        }
        assert!(!first.is_in().await && !second.is_in().await, "{role}");
        assert_eq!(first.get("/v1/admin/reconcile").await.problem(401), "unauthorized");
        assert!(other.is_in().await, "nobody else is touched");
        first.sign_in(email, password).await.expect(200);
        second.sign_in(email, password).await.expect(200);
        assert_ne!(first.cookie("__Host-tt_session").unwrap(), before);
        assert_eq!(first.get("/v1/admin/reconcile").await.status, status);
        // The same once more is no change.
        assert!(cluster.admin(&["set-role", "--user", email, "--role", role]).0);
        assert!(first.is_in().await && second.is_in().await);
    }
    cluster.finish().await;
}

async fn bad_orders_are_refused(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let (operator, user) = (cluster.operator(), cluster.user(10));
    let email = &user.email;
    let grant = |credits: Value| json!({"user": email, "credits": credits, "reason": "x"});
    for (command, body, status, pointer) in [
        ("create-user", json!({"email": "nobody"}), 422, "/email"),
        ("create-user", json!({"email": "a@example.com", "role": "operator"}), 422, "/role"),
        ("create-user", json!({"email": email}), 409, ""),
        ("create-key", json!({"user": "nobody@example.com"}), 404, ""),
        ("create-key", json!({"user": 7}), 422, "/user"),
        ("set-role", json!({"user": email, "role": "root"}), 422, "/role"),
        ("set-role", json!({"user": email}), 422, "/role"),
        ("update-user", json!({"user": email}), 422, ""),
        ("update-user", json!({"user": email, "name": ""}), 422, "/name"),
        ("update-user", json!({"user": email, "name": "A", "email": "nobody"}), 422, "/email"),
        ("update-user", json!({"user": email, "name": "A", "email": operator.email}), 409, ""),
        ("update-user", json!({"user": "nobody@example.com", "name": "A"}), 404, ""),
        ("export-user", json!({"user": "nobody@example.com"}), 404, ""),
        ("export-user", json!({"user": email, "out": "/tmp/x.zip"}), 422, "/out"),
        ("delete-user", json!({"user": "nobody@example.com"}), 404, ""),
        ("delete-user", json!({}), 422, "/user"),
        ("grant-credits", grant(json!(0)), 422, "/credits"),
        ("grant-credits", grant(json!(-5)), 422, "/credits"),
        ("grant-credits", grant(json!(1.5)), 422, "/credits"),
        ("grant-credits", grant(json!(i64::MAX)), 422, "/credits"),
        ("grant-credits", grant(json!(1e30)), 422, "/credits"),
        ("grant-credits", json!({"user": email, "credits": 1, "reason": ""}), 422, "/reason"),
        ("grant-credits", json!([]), 422, ""),
    ] {
        let answer = order(&operator, command, &body).await;
        answer.problem(status);
        if status == 422 {
            assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{command} {body}");
        }
    }
    assert_eq!(user.credits().await, (10, 0));
    // Whatever was half right has changed nothing.
    let account = user.get("/v1/account").await.expect(200);
    assert_eq!((&account["email"], &account["name"]), (&json!(email), &json!("Test")));
    for id in ["exp_01980000000070008000000000000000", "none"] {
        operator.get(&format!("/v1/admin/exports/{id}")).await.problem(404);
    }
    cluster.finish().await;
}

async fn providers_are_switched(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let operator = cluster.operator();
    let shown = async || {
        let list = operator.get("/v1/admin/providers").await.expect(200);
        let (ok, same) = cluster.admin(&["providers", "list"]);
        assert!(ok && same == list, "{list} and {same}");
        let all = list["providers"].as_array().unwrap().clone();
        all.into_iter().find(|provider| provider["provider"] == "demo").unwrap()
    };
    assert_eq!(shown().await["on"], true);
    let body = json!({"target": "demo", "reason": "out of paint"});
    let off = order(&operator, "providers/off", &body).await.expect(200);
    assert_eq!((&off["off"], &off["reason"]), (&json!("demo"), &json!("out of paint")), "{off}");
    let demo = shown().await;
    assert_eq!((&demo["on"], &demo["off_reason"]), (&json!(false), &json!("out of paint")));
    for changed in [true, false] {
        let on = order(&operator, "providers/on", &json!({"target": "demo"})).await.expect(200);
        assert_eq!(on, json!({"on": "demo", "changed": changed}));
    }
    assert_eq!(shown().await["on"], true);
    for target in ["none", "demo/none", ""] {
        let body = json!({"target": target, "reason": "x"});
        let answer = order(&operator, "providers/off", &body).await;
        answer.problem(422);
        assert_eq!(answer.json()["errors"][0]["pointer"], "/target");
    }
    let database = cluster.database().await;
    let sql = "SELECT action AS line FROM audit_events WHERE user_id IS NULL AND actor_id IS NOT \
               NULL ORDER BY id";
    assert_eq!(database.lines(sql).await, ["provider_off", "provider_on", "provider_on"]);
    database.close().await;
    cluster.finish().await;
}

async fn people_get_what_they_write_for(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let (operator, user) = (cluster.operator(), cluster.user(0));
    let database = cluster.database().await;
    let id = user.get("/v1/account").await.expect(200)["id"].as_str().unwrap().to_owned();
    // A correction.
    let to = format!("moved-{}", user.email);
    let body = json!({"user": user.email, "name": "Grace", "email": to});
    let said = order(&operator, "update-user", &body).await.expect(200);
    assert_eq!(said, json!({"id": id, "email": to, "name": "Grace"}));
    let account = user.get("/v1/account").await.expect(200);
    assert_eq!((&account["email"], &account["name"]), (&json!(to), &json!("Grace")));
    let said = order(&operator, "update-user", &json!({"user": to, "name": null})).await;
    assert_eq!(said.expect(200), json!({"id": id, "email": to, "name": null}));
    let (ok, _) = cluster.admin(&["update-user", "--user", &to, "--name", "Ada"]);
    assert!(ok);
    copied(&operator, &user, &to).await;
    let made = ["user_made nobody here", "key_made nobody here"];
    let changed = ["account_changed", "email_changed", "account_changed"];
    let mut expected = made.map(str::to_owned).to_vec();
    expected.extend(changed.map(|action| format!("{action} somebody 127.0.0.1")));
    expected.push("account_changed nobody here".to_owned());
    expected.extend(
        ["export_asked", "operator_read"].map(|action| format!("{action} somebody 127.0.0.1")),
    );
    expected.push("export_fetched nobody 127.0.0.1".to_owned());
    assert_eq!(actions(&database, &id).await, expected);
    // The end.
    let deleted = order(&operator, "delete-user", &json!({"user": to})).await;
    let place = deleted.header("location").unwrap().to_owned();
    let erasure = deleted.expect(202);
    assert_eq!(erasure["url"], format!("{}{place}", cluster.base), "{erasure}");
    let names: Vec<_> = erasure.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["id", "status", "token", "url"]);
    within(Duration::from_secs(10), "the key is refused", async || {
        (user.get("/v1/account").await.status == 401).then_some(())
    })
    .await;
    let receipt = erased(&cluster, &erasure).await;
    assert_eq!((&receipt["asked_by"], &receipt["status"]), (&json!("operator"), &json!("erased")));
    order(&operator, "delete-user", &json!({"user": to})).await.problem(404);
    // That it was done stays, and by whom; from where does not.
    let expected: Vec<_> = expected
        .iter()
        .map(|line| line.replace("127.0.0.1", "here"))
        .chain(["account_deleted somebody here".to_owned()])
        .collect();
    assert_eq!(actions(&database, &id).await, expected);
    database.close().await;
    cluster.finish().await;
}

/// Asks for a copy of everything about the user, who is called Ada, and looks into it.
async fn copied(operator: &Api, user: &Api, email: &str) {
    let asked = order(operator, "export-user", &json!({"user": email})).await;
    let place = asked.header("location").unwrap().to_owned();
    let export = asked.expect(202);
    assert_eq!(place, format!("/v1/admin/exports/{}", export["id"].as_str().unwrap()));
    // A look at what is not ready opens nothing; only the last one is noted.
    let ready = within(Duration::from_secs(120), "the export is ready", async || {
        let export = operator.get(&place).await.expect(200);
        assert_ne!(export["status"], "failed", "{export}");
        (export["status"] == "ready").then_some(export)
    })
    .await;
    let file = Answer::to(operator.http.get(ready["url"].as_str().unwrap())).await.unwrap();
    assert_eq!((file.status.as_u16(), &ready["bytes"]), (200, &json!(file.bytes.len())));
    let entries = unzip(&file.bytes);
    let (_, account) = entries.iter().find(|(name, _)| name == "account.json").unwrap();
    let account: Value = serde_json::from_slice(account).unwrap();
    assert_eq!((&account["email"], &account["name"]), (&json!(email), &json!("Ada")));
    // It is among their own, and nobody else's.
    let own = user.get("/v1/account/exports").await.expect(200);
    assert_eq!(own["data"][0]["id"], export["id"], "{own}");
    assert_eq!(user.get(&place).await.problem(403), "forbidden");
}
