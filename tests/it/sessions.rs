//! Sessions: what they are, how long they last, and how they end.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, Backend, Cluster, Options};

on_both!(
    a_sign_in_is_a_new_session,
    sessions_are_listed_and_ended_at_once,
    sessions_end_by_themselves,
    other_sites_pages_are_refused,
    only_https_is_told_where_it_is,
);

const PASSWORD: &str = "correct horse battery";
const SESSION: &str = "__Host-tt_session";

async fn a_sign_in_is_a_new_session(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let email = "rotate@example.com";
    let browser = cluster.person(email, PASSWORD).await;
    let first = browser.cookie(SESSION).unwrap();
    assert_eq!(first.len(), 64);
    browser.sign_in(email, PASSWORD).await.expect(200);
    let second = browser.cookie(SESSION).unwrap();
    assert_ne!(first, second);
    // A cookie that somebody planted is never the one that a sign-in makes good.
    let victim = cluster.browser();
    let planted = "ab".repeat(32);
    victim.plant(SESSION, &planted);
    victim.sign_in(email, PASSWORD).await.expect(200);
    assert_ne!(victim.cookie(SESSION).unwrap(), planted);
    let elsewhere = cluster.browser();
    for dead in [first.as_str(), &planted, "", "x", &"A".repeat(64), &second.to_uppercase()] {
        elsewhere.plant(SESSION, dead);
        assert!(!elsewhere.is_in().await, "{dead}");
    }
    // Nothing that is stored is the cookie.
    let database = cluster.database().await;
    let sql = format!(
        "SELECT count(*) AS n FROM sessions WHERE hash = {}",
        match backend {
            Backend::Embedded => format!("X'{second}'"),
            Backend::Distributed => format!("'\\x{second}'"),
        }
    );
    assert_eq!(database.number(&sql).await, 0);
    assert_eq!(database.number("SELECT count(*) AS n FROM sessions").await, 2);
    database.close().await;
    assert!(browser.is_in().await);
    browser.post("/v1/auth/sign-out", &json!({})).await.expect(204);
    elsewhere.plant(SESSION, &second);
    assert!(!elsewhere.is_in().await, "signed out is signed out");
    // A key and a cookie at once: the key decides.
    let request = victim.request(Method::GET, "/v1/sessions").bearer_auth("tt_live_nonsense");
    assert_eq!(victim.send(request).await.problem(401), "unauthorized");
    cluster.finish().await;
}

async fn sessions_are_listed_and_ended_at_once(backend: Backend) {
    let gateways = if backend == Backend::Distributed { 2 } else { 1 };
    let cluster = Cluster::start(backend, Options { gateways, ..Options::default() }).await;
    let email = "list@example.com";
    let browser = cluster.person(email, PASSWORD).await;
    let (second, third) = (cluster.browser(), cluster.browser());
    second.sign_in(email, PASSWORD).await.expect(200);
    third.sign_in(email, PASSWORD).await.expect(200);
    let stranger = cluster.person("stranger@example.com", PASSWORD).await;
    let list = browser.get("/v1/sessions").await.expect(200);
    assert_eq!(list["object"], "list");
    let sessions = list["data"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 3);
    let current: Vec<bool> = sessions.iter().map(|s| s["current"].as_bool().unwrap()).collect();
    assert_eq!(current, [false, false, true], "newest first");
    assert_eq!(sessions[0]["address"], "127.0.0.1");
    assert_eq!(sessions[0]["method"], "password");
    let path = format!("/v1/sessions/{}", sessions[1]["id"].as_str().unwrap());
    assert_eq!(stranger.delete(&path).await.problem(404), "not_found");
    assert!(second.is_in().await);
    browser.delete(&path).await.expect(204);
    // At once, at every gateway.
    for n in 0..gateways {
        let base = cluster.base_of(n);
        let request = cluster.http.get(format!("{base}/v1/sessions"));
        let request = request.header("cookie", second.cookie_header().unwrap());
        assert_eq!(Answer::to(request).await.unwrap().status, 401);
    }
    assert_eq!(browser.delete(&path).await.problem(404), "not_found");
    assert_eq!(browser.delete("/v1/sessions/ses_x").await.problem(404), "not_found");
    browser.delete("/v1/sessions").await.expect(204);
    assert!(browser.is_in().await && !third.is_in().await && stranger.is_in().await);
    cluster.finish().await;
}

async fn sessions_end_by_themselves(backend: Backend) {
    let env = vec![
        ("TIKTOMATO__ACCOUNTS__SESSION_IDLE_DAYS", "3".to_owned()),
        ("TIKTOMATO__ACCOUNTS__SESSION_DAYS", "7".to_owned()),
    ];
    let mut cluster = Cluster::start(backend, Options { env, ..Options::default() }).await;
    let (idle, busy) = {
        let idle = cluster.person("time@example.com", PASSWORD).await;
        let busy = cluster.browser();
        busy.sign_in("time@example.com", PASSWORD).await.expect(200);
        (idle, busy)
    };
    let day = 86_400;
    for (days, idle_in, busy_in) in
        [(2, false, true), (4, false, true), (6, false, true), (8, false, false)]
    {
        cluster.stop().await;
        cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", &(days * day).to_string());
        cluster.start_all().await;
        assert_eq!(busy.is_in().await, busy_in, "day {days}");
        if days > 2 {
            assert_eq!(idle.is_in().await, idle_in, "day {days}");
        }
    }
    cluster.finish().await;
}

async fn other_sites_pages_are_refused(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let browser = cluster.person("site@example.com", PASSWORD).await;
    let cookies = browser.cookie_header().unwrap();
    let from = |method: Method, path: &str, headers: &[(&str, &str)]| {
        let request = cluster.http.request(method, format!("{}{path}", cluster.base));
        headers.iter().fold(request.header("cookie", &cookies), |request, (name, value)| {
            request.header(*name, *value)
        })
    };
    let elsewhere: [&[(&str, &str)]; 4] = [
        &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ];
    for headers in elsewhere {
        for (method, path) in [
            (Method::POST, "/v1/auth/sign-out"),
            (Method::DELETE, "/v1/sessions"),
            (Method::POST, "/v1/jobs"),
            (Method::POST, "/sign-in"),
            (Method::POST, "/sign-out"),
        ] {
            let answer = Answer::to(from(method.clone(), path, headers)).await.unwrap();
            assert_eq!(answer.problem(403), "cross_site", "{method} {path} {headers:?}");
        }
        let answer = Answer::to(from(Method::GET, "/v1/sessions", headers)).await.unwrap();
        assert_eq!(answer.status, 200, "reading changes nothing, and the page cannot see it");
        assert!(answer.header("access-control-allow-origin").is_none());
    }
    assert!(browser.is_in().await);
    let own = cluster.base.clone();
    let answer =
        Answer::to(from(Method::DELETE, "/v1/sessions", &[("origin", &own)])).await.unwrap();
    assert_eq!(answer.status, 204);
    // A key is a proof of its own.
    let user = cluster.user(10);
    let request =
        user.request(Method::POST, "/v1/jobs/quote").header("origin", "https://evil.example");
    let answer = Answer::to(request.json(&crate::harness::sketch(&json!({})))).await.unwrap();
    assert_eq!(answer.status, 200);
    let answer = Answer::to(from(Method::POST, "/v1/auth/sign-out", &[])).await.unwrap();
    assert_eq!(answer.status, 204, "a program says nothing about sites");
    cluster.finish().await;
}

async fn only_https_is_told_where_it_is(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let header = async |cluster: &Cluster| {
        let answer = cluster.browser().get("/sign-in").await;
        answer.header("strict-transport-security").map(str::to_owned)
    };
    assert_eq!(header(&cluster).await, None);
    cluster.stop().await;
    cluster.set("TIKTOMATO__GATEWAY__PUBLIC_URL", "https://images.example.com");
    cluster.start_all().await;
    assert_eq!(header(&cluster).await.as_deref(), Some("max-age=31536000"));
    cluster.set("TIKTOMATO__GATEWAY__PUBLIC_URL", &cluster.base.clone());
    cluster.finish().await;
}
