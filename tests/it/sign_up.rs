//! Signing up: a mail, a proof, an account; and nothing of anybody who is too young.

use serde_json::{Value, json};

use crate::harness::{Answer, Backend, Cluster, Options, eventually, sign_up};

on_both!(
    an_account_is_made_by_a_link_and_granted_once,
    a_known_address_answers_like_an_unknown_one,
    nothing_of_somebody_too_young_is_kept,
    what_cannot_be_used_is_refused,
    pages_do_the_same,
    a_mail_that_failed_comes_again,
);

const PASSWORD: &str = "correct horse battery";

async fn an_account_is_made_by_a_link_and_granted_once(backend: Backend) {
    let env = vec![("TIKTOMATO__ACCOUNTS__FREE_CREDITS", "70".to_owned())];
    let cluster = Cluster::start(backend, Options { env, ..Options::default() }).await;
    let browser = cluster.browser();
    let answer = browser.post("/v1/auth/sign-up", &sign_up("New@Example.com", PASSWORD)).await;
    assert_eq!(answer.expect(202)["status"], "mail_sent");
    // No account before the proof: the right password opens nothing.
    assert_eq!(
        browser.sign_in("new@example.com", PASSWORD).await.problem(401),
        "wrong_credentials"
    );
    let token = cluster.mail("new@example.com", 1).await.token();
    let changed = format!("{}x", &token[..token.len() - 1]);
    for bad in ["", "x", "x.y", &changed, &token[1..]] {
        let answer = browser.post("/v1/auth/verify", &json!({"token": bad})).await;
        assert!(answer.status.is_client_error(), "{bad}: {answer:?}");
    }
    // A link of one kind opens nothing of another.
    let other = json!({"token": token, "password": PASSWORD});
    assert_eq!(browser.post("/v1/auth/reset", &other).await.problem(403), "link_invalid");
    // Twice at the same time: one of them works.
    let body = json!({"token": token});
    let (a, b) = tokio::join!(
        browser.post("/v1/auth/verify", &body),
        browser.post("/v1/auth/verify", &body)
    );
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 403]);
    assert!(!browser.is_in().await, "a proof signs nobody in");
    assert_eq!(browser.post("/v1/auth/verify", &body).await.problem(403), "link_invalid");
    browser.sign_in("NEW@example.com ", PASSWORD).await.expect(200);
    assert_eq!(browser.get("/v1/credits").await.expect(200)["available"], 70);
    // A session can do what a key can.
    let job = browser.post("/v1/jobs", &crate::harness::sketch(&json!({}))).await.expect(202);
    let id = job["id"].as_str().unwrap().to_owned();
    eventually("the job ends", async || {
        let job = browser.get(&format!("/v1/jobs/{id}")).await.expect(200);
        (job["status"] == "succeeded").then_some(())
    })
    .await;
    assert!(!cluster.logs().contains(PASSWORD) && !cluster.logs().contains(&token));
    cluster.finish().await;
}

/// The answer without what is different every time.
fn plain(answer: &Answer) -> (u16, Value, Vec<String>) {
    let mut body = answer.json();
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
    }
    let mut headers: Vec<String> =
        answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
    headers.sort();
    (answer.status.as_u16(), body, headers)
}

async fn a_known_address_answers_like_an_unknown_one(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let owner = cluster.person("known@example.com", PASSWORD).await;
    let stranger = cluster.browser();
    for (path, body) in [
        ("/v1/auth/sign-up", sign_up("EMAIL", "another password")),
        ("/v1/auth/sign-in", json!({"email": "EMAIL", "password": "a wrong password"})),
        ("/v1/auth/forgot", json!({"email": "EMAIL"})),
    ] {
        let ask = async |email: &str| {
            let mut body = body.clone();
            body["email"] = json!(email);
            plain(&stranger.post(path, &body).await)
        };
        assert_eq!(ask("known@example.com").await, ask("unknown@example.com").await, "{path}");
    }
    // The owner is told, and nothing has changed.
    let told = cluster.mail("known@example.com", 2).await;
    assert_eq!(told.subject, "You have an account already");
    assert!(!told.text.contains("token="), "{told:?}");
    assert_eq!(cluster.mail("known@example.com", 3).await.subject, "Choose a new password");
    assert_eq!(cluster.mail("unknown@example.com", 1).await.subject, "Confirm your address");
    assert!(owner.is_in().await);
    owner.sign_in("known@example.com", PASSWORD).await.expect(200);
    assert_eq!(cluster.mails("unknown@example.com").len(), 1, "no reset for nobody");
    // However often a stranger asks, a mailbox is not flooded, and the answer stays the same.
    for _ in 0..8 {
        stranger.post("/v1/auth/forgot", &json!({"email": "known@example.com"})).await.expect(202);
    }
    let database = cluster.database().await;
    eventually("all mails have gone out", async || {
        let waiting = database.number("SELECT count(*) AS n FROM mails").await;
        (waiting == 0).then_some(())
    })
    .await;
    assert!(cluster.mails("known@example.com").len() <= 6);
    database.close().await;
    cluster.finish().await;
}

async fn nothing_of_somebody_too_young_is_kept(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let child = cluster.browser();
    let mut body = sign_up("child.of.somebody@example.com", PASSWORD);
    body["name"] = json!("Childname");
    body["birth_date"] = json!("2020-05-17");
    assert_eq!(child.post("/v1/auth/sign-up", &body).await.problem(403), "too_young");
    // Another date is not believed in this browser.
    body["birth_date"] = json!("1980-05-17");
    assert_eq!(child.post("/v1/auth/sign-up", &body).await.problem(403), "too_young");
    let cookie = child.cookie_header().unwrap();
    assert_eq!(cookie, "__Host-tt_age=1", "it says nothing more");
    let database = cluster.database().await;
    cluster.stop().await;
    cluster.start_all().await;
    for table in ["users", "sign_ups", "mails", "throttles", "audit_events", "sessions"] {
        let sql = format!("SELECT count(*) AS n FROM {table}");
        // The demo account, and that its key was made.
        let demo = backend == Backend::Embedded && ["users", "audit_events"].contains(&table);
        let expected = i64::from(demo);
        assert_eq!(database.number(&sql).await, expected, "{table}");
    }
    let came = "SELECT count(*) AS n FROM usage_log WHERE route LIKE '/v1/auth%'";
    assert_eq!(database.number(came).await, 0, "not even that they came");
    database.close().await;
    let logs = cluster.logs();
    cluster.stop().await;
    for word in ["child.of.somebody", "Childname", "2020-05-17", "1980-05-17"] {
        assert!(!logs.contains(word), "{word}");
        for entry in std::fs::read_dir(cluster.data()).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                let bytes = std::fs::read(entry.path()).unwrap();
                let found = bytes.windows(word.len()).any(|part| part == word.as_bytes());
                assert!(!found, "{word} is in {:?}", entry.path());
            }
        }
    }
    cluster.start_all().await;
    // A date of birth is kept of nobody.
    let grown = cluster.browser();
    let mut body = sign_up("grown@example.com", PASSWORD);
    body["birth_date"] = json!("1971-04-03");
    grown.post("/v1/auth/sign-up", &body).await.expect(202);
    cluster.mail("grown@example.com", 1).await;
    let database = cluster.database().await;
    let lines =
        database.lines("SELECT email || ' ' || coalesce(name, '') AS line FROM sign_ups").await;
    assert_eq!(lines, ["grown@example.com Test"]);
    database.close().await;
    cluster.finish().await;
}

async fn what_cannot_be_used_is_refused(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let browser = cluster.browser();
    for (name, value) in [
        ("email", json!("nobody")),
        ("email", json!("a b@example.com")),
        ("email", json!("a<b@example.com")),
        ("email", json!("a@b@example.com")),
        ("email", json!(7)),
        ("email", json!(null)),
        ("email", json!(format!("{}@example.com", "a".repeat(260)))),
        ("password", json!("short")),
        ("password", json!("password123")),
        ("password", json!("x1y2z3".repeat(40))),
        ("name", json!("x".repeat(101))),
        ("name", json!("a\u{7}b")),
        ("birth_date", json!("31.12.1990")),
        ("birth_date", json!("2990-12-31")),
        ("birth_date", json!("1990-02-30")),
        ("birth_date", json!("")),
        ("admin", json!(true)),
    ] {
        let mut body = sign_up("fine@example.com", PASSWORD);
        body[name] = value.clone();
        let answer = browser.post("/v1/auth/sign-up", &body).await;
        assert_eq!(answer.problem(422), "invalid_input", "{name} {value}");
        let problem = answer.json();
        assert_eq!(problem["errors"][0]["pointer"], format!("/{name}"), "{problem}");
        assert!(!problem.to_string().contains("password123"), "{problem}");
    }
    let missing = browser.post("/v1/auth/sign-up", &json!({})).await;
    assert_eq!(missing.json()["errors"].as_array().unwrap().len(), 3, "{missing:?}");
    let database = cluster.database().await;
    assert_eq!(database.number("SELECT count(*) AS n FROM sign_ups").await, 0);
    database.close().await;
    cluster.finish().await;
}

async fn pages_do_the_same(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let browser = cluster.browser();
    for path in
        ["/sign-up", "/sign-in", "/forgot", "/reset?token=x", "/verify?token=x", "/auth/google/age"]
    {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let text = String::from_utf8(page.bytes).unwrap();
        assert!(
            !text.contains("<script") && !text.contains("http://") && !text.contains("https://")
        );
    }
    let email = "page@example.com";
    let fields =
        [("email", email), ("password", "short"), ("name", ""), ("birth_date", "1990-12-31")];
    let page = browser.form("/sign-up", &fields).await;
    let text = String::from_utf8(page.bytes.clone()).unwrap();
    assert_eq!(page.status, 422);
    assert!(text.contains("Password must have 8 to 200 characters."), "{text}");
    let fields = [
        ("email", email),
        ("password", PASSWORD),
        ("name", "<b>P</b>"),
        ("birth_date", "1990-12-31"),
    ];
    assert_eq!(browser.form("/sign-up", &fields).await.status, 200);
    let mail = cluster.mail(email, 1).await;
    let token = mail.token();
    assert!(mail.text.contains(&format!("{}/verify?token={token}", cluster.base)), "{mail:?}");
    // Programs that look at mails open links: that changes nothing.
    for _ in 0..2 {
        let page = browser.get(&format!("/verify?token={token}")).await;
        assert!(String::from_utf8(page.bytes).unwrap().contains(&token));
    }
    let planted = browser.get("/verify?token=%22%3E%3Cscript%3E").await;
    assert!(!String::from_utf8(planted.bytes).unwrap().contains("<script"));
    assert_eq!(browser.form("/verify", &[("token", &token)]).await.status, 200);
    assert_eq!(browser.form("/verify", &[("token", &token)]).await.status, 403);
    let wrong = browser.form("/sign-in", &[("email", email), ("password", "wrong one")]).await;
    assert_eq!(wrong.status, 401);
    let signed_in = browser.form("/sign-in", &[("email", email), ("password", PASSWORD)]).await;
    assert_eq!(
        (signed_in.status.as_u16(), signed_in.header("location")),
        (303, Some("/signed-in"))
    );
    let page = browser.follow(&signed_in).await;
    assert!(String::from_utf8(page.bytes).unwrap().contains(email));
    assert_eq!(browser.form("/sign-out", &[]).await.status, 200);
    assert!(!browser.is_in().await);
    cluster.finish().await;
}

async fn a_mail_that_failed_comes_again(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    // A file where the folder should be: nothing can be sent.
    let folder = cluster.data().join("mail");
    std::fs::create_dir_all(cluster.data()).unwrap();
    std::fs::write(&folder, b"in the way").unwrap();
    let browser = cluster.browser();
    browser.post("/v1/auth/sign-up", &sign_up("late@example.com", PASSWORD)).await.expect(202);
    let database = cluster.database().await;
    eventually("a first try has failed", async || {
        let tried = "SELECT count(*) AS n FROM mails WHERE attempts > 0";
        (database.number(tried).await == 1).then_some(())
    })
    .await;
    std::fs::remove_file(&folder).unwrap();
    let token = cluster.mail("late@example.com", 1).await.token();
    browser.post("/v1/auth/verify", &json!({"token": token})).await.expect(200);
    eventually("it waits no more", async || {
        (database.number("SELECT count(*) AS n FROM mails").await == 0).then_some(())
    })
    .await;
    database.close().await;
    cluster.finish().await;
}
