//! Signing in with Google: who comes in, and who does not; `prepared` has the attacks by which
//! somebody prepares an account for its owner, `leaving` the end of an account.

mod leaving;
mod prepared;

use reqwest::Method;
use serde_json::{Value, json};
use sim::{
    faults::Rule,
    google::{
        self, CLIENT_ID, CLIENT_SECRET, Google, Person,
        fault::{Fault, TokenFault},
    },
    serve::Server,
};

use crate::harness::{Answer, Backend, Browser, Cluster, Options, eventually};

on_both!(
    somebody_new_is_asked_their_age_and_known_from_then_on,
    every_bad_token_is_refused,
    what_goes_wrong_lets_nobody_in,
    keys_rotate,
    an_account_is_joined_only_when_both_sides_are_proven,
    without_settings_it_is_not_offered,
);

const PASSWORD: &str = "correct horse battery";

struct Scene {
    cluster: Cluster,
    google: Google,
    _server: Server,
}

impl Scene {
    async fn new(backend: Backend) -> Self {
        Self::with(backend, &[]).await
    }

    async fn with(backend: Backend, more: &[(&'static str, &str)]) -> Self {
        let (google, server) = google::start(0).await.unwrap();
        let mut env = vec![
            ("TIKTOMATO__GOOGLE__CLIENT_ID", CLIENT_ID.to_owned()),
            ("TIKTOMATO__GOOGLE__CLIENT_SECRET", CLIENT_SECRET.to_owned()),
            ("TIKTOMATO__GOOGLE__ISSUER", google.base()),
            ("TIKTOMATO__ACCOUNTS__FREE_CREDITS", "25".to_owned()),
        ];
        env.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let cluster = Cluster::start(backend, Options { env, ..Options::default() }).await;
        Self { cluster, google, _server: server }
    }

    /// Goes to Google and back; where the platform leads then.
    async fn come_back(&self, browser: &Browser) -> Answer {
        let away = browser.get("/auth/google").await;
        assert_eq!(away.status, 303, "{away:?}");
        let back = self.consent(&away).await;
        browser.get(&back).await
    }

    /// What Google's page leads back to.
    async fn consent(&self, away: &Answer) -> String {
        let there = self.cluster.browser().get(away.header("location").unwrap()).await;
        assert_eq!(there.status, 302, "{there:?}");
        there.header("location").unwrap().to_owned()
    }

    /// Comes in as somebody whom the platform knows.
    async fn comes_in(&self, browser: &Browser) {
        let answer = self.come_back(browser).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, Some("/signed-in")));
        assert!(browser.is_in().await);
    }

    /// Comes in as somebody new.
    async fn signs_up(&self, browser: &Browser) -> Value {
        let answer = self.come_back(browser).await;
        assert_eq!(answer.header("location"), Some("/auth/google/age"), "{answer:?}");
        assert!(!browser.is_in().await);
        let answer = browser.post("/v1/auth/google", &json!({"birth_date": "1990-12-31"})).await;
        let body = answer.expect(200);
        assert!(browser.is_in().await);
        body
    }

    async fn count(&self, table: &str) -> i64 {
        let database = self.cluster.database().await;
        let count = database.number(&format!("SELECT count(*) AS n FROM {table}")).await;
        database.close().await;
        count
    }
}

async fn somebody_new_is_asked_their_age_and_known_from_then_on(backend: Backend) {
    let scene = Scene::new(backend).await;
    scene.google.set_person(Person::new("1001", "Young@example.com"));
    let (users, events) = (scene.count("users").await, scene.count("audit_events").await);
    let child = scene.cluster.browser();
    let answer = scene.come_back(&child).await;
    assert_eq!(answer.header("location"), Some("/auth/google/age"));
    assert_eq!(scene.count("users").await, users, "no account before the question");
    let young = json!({"birth_date": "2020-01-01"});
    let unreadable = json!({"birth_date": "2020-02-31"});
    child.post("/v1/auth/google", &unreadable).await.problem(422);
    assert!(child.cookie("__Host-tt_newcomer").is_some(), "it may be said again");
    assert_eq!(child.post("/v1/auth/google", &young).await.problem(403), "too_young");
    assert_eq!(child.cookie("__Host-tt_newcomer"), None, "nothing is kept of a child");
    let older = json!({"birth_date": "1990-01-01"});
    assert_eq!(child.post("/v1/auth/google", &older).await.problem(403), "too_young");
    for (table, expected) in [("users", users), ("identities", 0), ("audit_events", events)] {
        assert_eq!(scene.count(table).await, expected, "{table}");
    }
    scene.google.set_person(Person::new("1002", "Grown@example.com"));
    let browser = scene.cluster.browser();
    let body = scene.signs_up(&browser).await;
    assert_eq!(body["user"]["email"], "grown@example.com");
    assert_eq!(browser.get("/v1/credits").await.expect(200)["available"], 25);
    // The address may change at Google: the subject says who it is.
    let mut person = Person::new("1002", "renamed@example.com");
    person.email_verified = Some(json!(false));
    scene.google.set_person(person);
    let again = scene.cluster.browser();
    scene.comes_in(&again).await;
    assert_eq!(again.get("/v1/credits").await.expect(200)["available"], 25, "no second grant");
    assert_eq!(scene.count("users").await, users + 1);
    // The page asks the same.
    scene.google.set_person(Person::new("1003", "page@example.com"));
    let page = scene.cluster.browser();
    scene.come_back(&page).await;
    let answer = page.form("/auth/google/age", &[("birth_date", "1990-12-31")]).await;
    assert_eq!(answer.header("location"), Some("/signed-in"), "{answer:?}");
    // Without Google there is no question to answer.
    let nobody = scene.cluster.browser();
    assert_eq!(nobody.post("/v1/auth/google", &older).await.problem(403), "google_refused");
    scene.cluster.finish().await;
}

async fn every_bad_token_is_refused(backend: Backend) {
    let scene = Scene::new(backend).await;
    scene.google.set_person(Person::new("2001", "token@example.com"));
    scene.signs_up(&scene.cluster.browser()).await;
    let (users, sessions) = (scene.count("users").await, scene.count("sessions").await);
    for fault in [
        TokenFault::Audience,
        TokenFault::Party,
        TokenFault::Audiences,
        TokenFault::Issuer,
        TokenFault::Nonce,
        TokenFault::NoNonce,
        TokenFault::Expired,
        TokenFault::NoExpiry,
        TokenFault::Future,
        TokenFault::Unsigned,
        TokenFault::Hmac,
        TokenFault::HmacSecret,
        TokenFault::ForeignKey,
        TokenFault::OwnKey,
        TokenFault::Changed,
        TokenFault::NoSubject,
        TokenFault::EmptySubject,
        TokenFault::LongSubject,
        TokenFault::Garbage,
    ] {
        scene.google.rules().add(Rule::once(Fault::Token(fault)));
        let browser = scene.cluster.browser();
        let answer = scene.come_back(&browser).await;
        assert_eq!(answer.problem(403), "google_refused", "{fault:?}");
        assert!(browser.cookie("__Host-tt_session").is_none(), "{fault:?}");
        assert!(browser.cookie("__Host-tt_newcomer").is_none(), "{fault:?}");
    }
    assert_eq!((scene.count("users").await, scene.count("sessions").await), (users, sessions));
    scene.google.rules().add(Rule::once(Fault::Token(TokenFault::OldIssuer)));
    scene.comes_in(&scene.cluster.browser()).await;
    scene.comes_in(&scene.cluster.browser()).await;
    scene.cluster.finish().await;
}

async fn what_goes_wrong_lets_nobody_in(backend: Backend) {
    let scene = Scene::new(backend).await;
    scene.google.set_person(Person::new("3001", "wrong@example.com"));
    scene.signs_up(&scene.cluster.browser()).await;
    for (fault, status, code) in [
        (Fault::Deny, 403, "google_refused"),
        (Fault::OtherState, 403, "google_refused"),
        (Fault::OtherIss, 403, "google_refused"),
        (Fault::RefuseCode, 403, "google_refused"),
        (Fault::NoIdToken, 403, "google_refused"),
        (Fault::TokenPage(502), 503, "unavailable"),
        (Fault::LoseToken, 503, "unavailable"),
    ] {
        scene.google.rules().add(Rule::once(fault.clone()));
        let browser = scene.cluster.browser();
        let answer = scene.come_back(&browser).await;
        assert_eq!(answer.problem(status), code, "{fault:?}");
        assert!(!browser.is_in().await, "{fault:?}");
    }
    // What one browser began, no other can end: neither by a link, nor with its own sign-in.
    let (victim, attacker) = (scene.cluster.browser(), scene.cluster.browser());
    let link = scene.consent(&attacker.get("/auth/google").await).await;
    assert_eq!(victim.get(&link).await.problem(403), "google_refused");
    victim.get("/auth/google").await;
    assert_eq!(victim.get(&link).await.problem(403), "google_refused");
    // A code works once, and a sign-in is over when it has ended.
    let browser = scene.cluster.browser();
    let link = scene.consent(&browser.get("/auth/google").await).await;
    let flow = browser.cookie("__Host-tt_google").unwrap();
    assert_eq!(browser.get(&link).await.status, 303);
    assert_eq!(browser.get(&link).await.problem(403), "google_refused");
    browser.plant("__Host-tt_google", &flow);
    assert_eq!(browser.get(&link).await.problem(403), "google_refused");
    let refused = scene.google.exchanges().iter().filter(|e| e.error.is_some()).count();
    assert!(refused >= 1, "the code was used up: {:?}", scene.google.exchanges());
    // Another sign-in's verifier does not fit the code.
    let browser = scene.cluster.browser();
    let link = scene.consent(&browser.get("/auth/google").await).await;
    let state = link.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let other = scene.consent(&browser.get("/auth/google").await).await;
    let theirs = other.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let mixed = link.replace(&state, theirs);
    assert_eq!(browser.get(&mixed).await.problem(403), "google_refused");
    for path in ["/auth/google/callback", "/auth/google/callback?code=x&state=y"] {
        assert_eq!(scene.cluster.browser().get(path).await.problem(403), "google_refused");
    }
    // People see a page.
    let request =
        victim.request(Method::GET, "/auth/google/callback").header("accept", "text/html");
    let page = victim.send(request).await;
    assert_eq!(page.status, 403);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(!scene.cluster.logs().contains(CLIENT_SECRET));
    scene.cluster.finish().await;
}

async fn keys_rotate(backend: Backend) {
    let scene = Scene::new(backend).await;
    scene.google.set_person(Person::new("4001", "keys@example.com"));
    scene.signs_up(&scene.cluster.browser()).await;
    for _ in 0..3 {
        scene.comes_in(&scene.cluster.browser()).await;
    }
    assert_eq!(scene.google.key_reads(), 1, "they are remembered");
    scene.google.rotate();
    // Unknown keys do not make us ask all the time, so it may take some seconds.
    eventually("the new key is known", async || {
        let browser = scene.cluster.browser();
        (scene.come_back(&browser).await.status == 303).then_some(())
    })
    .await;
    let reads = scene.google.key_reads();
    assert!(reads <= 4, "{reads}");
    scene.comes_in(&scene.cluster.browser()).await;
    assert_eq!(scene.google.key_reads(), reads);
    scene.cluster.finish().await;
}

async fn an_account_is_joined_only_when_both_sides_are_proven(backend: Backend) {
    let scene = Scene::new(backend).await;
    let email = "both@example.com";
    let owner = scene.cluster.person(email, PASSWORD).await;
    // Google has not checked the address, says nothing, or something else: nobody comes in.
    for said in [Some(json!(false)), None, Some(json!("false")), Some(json!(1)), Some(json!(null))]
    {
        let person = Person { email_verified: said.clone(), ..Person::new("5001", email) };
        scene.google.set_person(person);
        let browser = scene.cluster.browser();
        let answer = scene.come_back(&browser).await;
        assert_eq!(answer.problem(403), "google_refused", "{said:?}");
        let unknown = Person { email: None, email_verified: said, ..Person::new("5001", email) };
        scene.google.set_person(unknown);
        assert_eq!(scene.come_back(&browser).await.problem(403), "google_refused");
    }
    assert_eq!(scene.count("identities").await, 0);
    // It has, also where it says so as a text: the account is the same, and nothing of it is lost.
    scene
        .google
        .set_person(Person { email_verified: Some(json!("true")), ..Person::new("5001", email) });
    let browser = scene.cluster.browser();
    scene.comes_in(&browser).await;
    assert!(owner.is_in().await);
    assert_eq!(browser.get("/v1/sessions").await.expect(200)["data"].as_array().unwrap().len(), 2);
    owner.sign_in(email, PASSWORD).await.expect(200);
    assert_eq!(scene.cluster.mail(email, 2).await.subject, "Google can sign you in now");
    scene.cluster.finish().await;
}

async fn without_settings_it_is_not_offered(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let browser = cluster.browser();
    for path in ["/auth/google", "/auth/google/callback?code=x&state=y"] {
        assert_eq!(browser.get(path).await.problem(404), "not_configured", "{path}");
    }
    let body = json!({"birth_date": "1990-12-31"});
    assert_eq!(browser.post("/v1/auth/google", &body).await.problem(404), "not_configured");
    let page = browser.get("/sign-in").await;
    assert!(!String::from_utf8(page.bytes).unwrap().contains("Google"));
    cluster.finish().await;
}
