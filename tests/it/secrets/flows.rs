//! Every flow, right and wrong, with secrets wherever something can be written; and what could be
//! seen meanwhile.

use std::{collections::BTreeMap, time::Duration};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::plant::Plant;
use crate::harness::{
    Answer, Api, Backend, Cluster, eventually, run, sign_up, sketch, unzip, within,
};

/// Places that begin so are files of somebody's export.
const EXPORT: &str = "the export of ";

/// What could be seen, by place.
#[derive(Default)]
pub(crate) struct Seen {
    places: BTreeMap<String, Vec<u8>>,
    /// How many answers were errors.
    pub(crate) errors: usize,
}

impl Seen {
    pub(crate) fn add(&mut self, place: &str, bytes: &[u8]) {
        let all = self.places.entry(place.to_owned()).or_default();
        all.extend_from_slice(bytes);
        all.push(b'\n');
    }

    pub(crate) fn holds(&self, place: &str, text: &str) -> bool {
        self.places.get(place).is_some_and(|bytes| String::from_utf8_lossy(bytes).contains(text))
    }

    /// Sends it; an error's head and body are kept.
    pub(crate) async fn ask(&mut self, what: &str, request: RequestBuilder) -> Answer {
        let answer = Answer::to(request).await.unwrap();
        if answer.status.as_u16() >= 400 {
            self.errors += 1;
            let place = format!("the error of {what}");
            self.add(&place, format!("{:?}", answer.headers).as_bytes());
            self.add(&place, &answer.bytes);
        }
        answer
    }

    pub(crate) async fn look_at_what_operators_see(
        &mut self,
        cluster: &Cluster,
        plant: &mut Plant,
    ) {
        for ops in cluster.ops() {
            for path in ["/metrics", "/readyz", "/livez"] {
                let answer = Answer::to(cluster.http.get(format!("{ops}{path}"))).await.unwrap();
                self.add(path, &answer.bytes);
            }
        }
        let mut env = cluster.env().clone();
        env.push(("TIKTOMATO__MAIL__SMTP_URL".into(), plant.smtp()));
        let shown = run(&["check-config"], &env);
        self.add("check-config", &[shown.stdout, shown.stderr].concat());
        for command in [&["reconcile"][..], &["grant-credits", "--user", "nobody"][..]] {
            let arguments: Vec<&str> = ["admin"].iter().chain(command).copied().collect();
            let shown = run(&arguments, cluster.env());
            self.add("admin commands", &[shown.stdout, shown.stderr].concat());
        }
    }

    /// Where a secret is shown, and which.
    pub(crate) fn shows(&self, plant: &Plant) -> Vec<String> {
        let mut shown = Vec::new();
        for (place, bytes) in &self.places {
            let text = String::from_utf8_lossy(bytes);
            for secret in plant.secrets.iter().filter(|s| !(s.own && place.starts_with(EXPORT))) {
                for form in secret.forms() {
                    let Some(at) = text.find(&form) else { continue };
                    let from = text.floor_char_boundary(at.saturating_sub(200));
                    let to = text.ceil_char_boundary(at + form.len() + 60);
                    shown.push(format!("{place} shows {}: {}", secret.what, &text[from..to]));
                    break;
                }
            }
        }
        shown
    }
}

/// All of them.
pub(crate) async fn go_through_everything(cluster: &Cluster, plant: &mut Plant) -> Seen {
    let mut seen = Seen::default();
    let user = cluster.user(10_000);
    plant.note("a user's API key", &user.key);
    keys(&mut seen, plant, &user).await;
    jobs(&mut seen, plant, &user).await;
    odd_bodies(&mut seen, plant, &user).await;
    odd_addresses(&mut seen, plant, &user).await;
    callbacks(&mut seen, plant, &user).await;
    operators(&mut seen, plant, cluster, &user).await;
    let request = |method, path: &str| user.request(method, path);
    export(&mut seen, plant, cluster, "a developer", request).await;
    people(&mut seen, plant, cluster).await;
    seen
}

async fn keys(seen: &mut Seen, plant: &mut Plant, user: &Api) {
    let get = |path: &str| user.http.get(format!("{}{path}", user.base));
    let wrong = plant.make("a key of no form");
    seen.ask("a key of no form", get("/v1/jobs").bearer_auth(&wrong)).await;
    let unknown = format!("{}x", &user.key[..user.key.len() - 1]);
    plant.note("a key with a typo", &unknown);
    seen.ask("a key with a typo", get("/v1/jobs").bearer_auth(&unknown)).await;
    let basic = plant.make("a password in a Basic header");
    seen.ask("Basic", get("/v1/jobs").basic_auth("someone", Some(&basic))).await;
    let other = plant.make("a secret in a header of the client's");
    let request = get("/v1/jobs").header("X-Secret", &other).header("X-Request-Id", "not one!");
    seen.ask("a header of the client's", request).await;
    let cookie = plant.make("a cookie");
    let request = get("/v1/jobs").header(
        "Cookie",
        format!("__Host-tt_session={cookie}; __Host-tt_device={cookie}; a={cookie}"),
    );
    seen.ask("a cookie", request).await;
    let name = plant.words("the name of a key");
    let new = json!({"name": name, "scopes": ["jobs:read"]});
    let made = user.request(Method::POST, "/v1/keys").json(&new);
    let made = seen.ask("a new key", made).await.expect(201);
    let secret = made["key"].as_str().unwrap();
    plant.note("a key that a user made", secret);
    seen.ask("too few scopes", get("/v1/keys").bearer_auth(secret)).await.problem(403);
    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    seen.ask("a key is revoked", user.request(Method::DELETE, &path)).await.expect(204);
    let odd = json!({"name": [name], "scopes": [name], "more": name});
    let request = user.request(Method::POST, "/v1/keys").json(&odd);
    seen.ask("an odd key", request).await.problem(422);
    let agent = plant.make("a User-Agent that is none");
    seen.ask("a User-Agent", get("/v1/jobs").header("User-Agent", &agent)).await;
}

async fn jobs(seen: &mut Seen, plant: &mut Plant, user: &Api) {
    let prompt = plant.words("a prompt");
    let metadata = plant.words("metadata");
    let once = plant.make("an Idempotency-Key");
    let mut body = sketch(&json!({"prompt": prompt}));
    body["metadata"] = json!({ "order": metadata });
    let submit = |body: &Value| {
        user.request(Method::POST, "/v1/jobs").header("Idempotency-Key", &once).json(body)
    };
    let job = seen.ask("a submit", submit(&body)).await.expect(202);
    let id = job["id"].as_str().unwrap();
    let job = user.until(id, "succeeded").await;
    seen.ask("a submit that is repeated", submit(&body)).await.expect(202);
    body["max_credits"] = json!(1);
    seen.ask("a key that is used again", submit(&body)).await.problem(422);
    let url = job["output"][0]["url"].as_str().unwrap();
    let signature = url.split("sig=").nth(1).unwrap().split('&').next().unwrap();
    plant.note("the signature of a link", signature);
    seen.ask("a file", user.http.get(url)).await;
    let wrong = plant.make("a signature that does not fit");
    seen.ask("a wrong link", user.http.get(url.replace(signature, &wrong))).await.problem(403);
    for (what, fail) in [
        ("a rejected prompt", "rejected"),
        ("a moderated prompt", "moderated"),
        ("a lost call", "unknown"),
    ] {
        let prompt = plant.words(what);
        let body = sketch(&json!({"prompt": prompt, "fail": fail}));
        let answer = seen.ask(what, user.request(Method::POST, "/v1/jobs").json(&body)).await;
        tried(user, &answer.expect(202)).await;
    }
    // A provider that cannot be reached, with its key.
    for model in ["fal/flux-schnell", "qwen/qwen-image", "kling/kling-3.0"] {
        let prompt = plant.words("a prompt for a provider that is away");
        let body = json!({"model": model, "input": {"prompt": prompt}});
        let job =
            seen.ask("a provider that is away", user.request(Method::POST, "/v1/jobs").json(&body));
        let job = job.await.expect(202);
        if !model.starts_with("qwen") {
            tried(user, &job).await;
        }
    }
    seen.ask("a deletion", user.request(Method::DELETE, &format!("/v1/jobs/{id}"))).await;
    seen.ask("a job that is gone", user.request(Method::GET, &format!("/v1/jobs/{id}"))).await;
}

/// A worker has called the provider, or tried to.
async fn tried(user: &Api, job: &Value) {
    eventually("a provider is called", async || {
        let job = user.job(job["id"].as_str().unwrap()).await;
        (job["attempts"] != json!([])).then_some(())
    })
    .await;
}

async fn odd_bodies(seen: &mut Seen, plant: &mut Plant, user: &Api) {
    let post = |text: String| {
        let request = user.request(Method::POST, "/v1/jobs");
        request.header("Content-Type", "application/json").body(text)
    };
    let text = plant.make("a prompt in broken JSON");
    for broken in [
        format!("{{\"model\": \"demo/sketch\", \"input\": {{\"prompt\": \"{text}\""),
        format!("{{\"prompt\": \"{text}\"}} {text}"),
        text.clone(),
        format!("\"{text}\\ud800\""),
        format!("[\"{text}\", 1e999]"),
    ] {
        seen.ask("broken JSON", post(broken)).await.problem(400);
    }
    let value = plant.make("a value of a wrong field");
    for wrong in [
        json!({"model": value, "input": {"prompt": value}}),
        json!({"model": "demo/sketch", "input": value}),
        json!({"model": "demo/sketch", "input": {"prompt": [value]}}),
        json!({"model": "demo/sketch", "input": {"prompt": "x", "seed": value}}),
        json!({"model": "demo/sketch", "input": {"prompt": "x", "format": value}}),
        json!({"model": "demo/sketch", "input": {"prompt": "x", "width": value}}),
        json!({"model": "demo/sketch", "input": {"prompt": "x"}, "password": value}),
        json!({"model": "demo/sketch", "input": {"prompt": "x"}, "max_credits": value}),
        json!({"model": "demo/sketch", "input": {"prompt": "x"}, "expires_in": value}),
        json!({"model": "demo/sketch", "input": {"prompt": "x"}, "metadata": {"a": [value]}}),
        json!({"model": "demo/sketch", "input": {"prompt": format!("{value}\0")}}),
        json!({"model": "demo/sketch", "input": {"prompt": value.repeat(200)}}),
    ] {
        for path in ["/v1/jobs", "/v1/jobs/quote"] {
            let request = user.request(Method::POST, path).json(&wrong);
            let answer = seen.ask("a wrong field", request).await;
            assert!(answer.status.is_client_error(), "{wrong}");
        }
    }
    let kind = plant.make("a body of another kind");
    let request = user.request(Method::POST, "/v1/jobs").header("Content-Type", "text/plain");
    seen.ask("a body of another kind", request.body(kind.clone())).await.problem(415);
    seen.ask("no picture", user.request(Method::POST, "/v1/uploads").body(kind.clone())).await;
    let form = format!(
        "--x\r\nContent-Disposition: form-data; name=\"{kind}\"; filename=\"{kind}\"\r\n\r\n{kind}\r\n--x--"
    );
    let request = user.request(Method::POST, "/v1/uploads");
    let request = request.header("Content-Type", "multipart/form-data; boundary=x").body(form);
    seen.ask("a form of another kind", request).await;
    // A file of the user's at an address that holds a password.
    let password = plant.make("a password in an address");
    for address in [
        format!("http://someone:{password}@127.0.0.1:9/a.png"),
        format!("http://127.0.0.1:9/{password}.png?token={password}"),
        format!("http://someone:{password}@files.invalid/a.png"),
        format!("data:image/png;base64,{password}"),
    ] {
        let input = json!({"prompt": "x", "image_url": address});
        let body = json!({"model": "fal/flux-dev-image", "input": input});
        let request = user.request(Method::POST, "/v1/jobs").json(&body);
        seen.ask("an address of a file", request).await.problem(422);
    }
}

async fn odd_addresses(seen: &mut Seen, plant: &mut Plant, user: &Api) {
    let part = plant.make("a part of a path");
    let query = plant.make("a value in a query");
    for path in [
        format!("/{part}"),
        format!("/v1/jobs/{part}"),
        format!("/v1/jobs/{part}/events"),
        format!("/v1/uploads/{part}"),
        format!("/v1/models/{part}/{part}"),
        format!("/media/{part}?exp=1&sig={query}"),
        format!("/v1/jobs?after={query}"),
        format!("/v1/jobs?model={query}"),
        format!("/v1/jobs?status={query}"),
        format!("/v1/jobs?limit={query}"),
        format!("/v1/credits?token={query}"),
        format!("/auth/google/callback?code={query}&state={query}"),
    ] {
        seen.ask("an odd address", user.request(Method::GET, &path)).await;
    }
}

async fn callbacks(seen: &mut Seen, plant: &mut Plant, user: &Api) {
    let mac = plant.make("the MAC of a callback");
    let body = plant.make("what a provider reports");
    let path = format!("/callbacks/fal/att_01980000000070008000000000000000?mac={mac}");
    let request = user.http.post(format!("{}{path}", user.base));
    let request = request.header("X-Fal-Webhook-Signature", &mac).json(&json!({"payload": body}));
    seen.ask("a callback of nobody's", request).await.problem(404);
}

/// What operators send and get, and what others send there.
async fn operators(seen: &mut Seen, plant: &mut Plant, cluster: &Cluster, user: &Api) {
    let operator = cluster.operator();
    plant.note("an operator's API key", &operator.key);
    let reason = plant.words("the reason of a grant");
    let once = plant.make("the name of a grant");
    let order = |api: &Api, command: &str, body: Value| {
        let request = api.request(Method::POST, &format!("/v1/admin/{command}"));
        request.header("Idempotency-Key", &once).json(&body)
    };
    let grant = json!({"user": user.email, "credits": 5, "reason": reason});
    seen.ask("a grant", order(&operator, "grant-credits", grant.clone())).await.expect(200);
    seen.ask("a grant by a user", order(user, "grant-credits", grant.clone())).await.problem(403);
    let other = json!({"user": user.email, "credits": 6, "reason": reason});
    seen.ask("another grant", order(&operator, "grant-credits", other)).await.problem(422);
    let made = order(&operator, "create-key", json!({"user": user.email}));
    let made = seen.ask("a key by an operator", made).await.expect(201);
    plant.note("a key that an operator made", made["key"].as_str().unwrap());
    let value = plant.make("a value that an operator mistyped");
    for (command, body) in [
        ("create-user", json!({"email": value})),
        ("create-user", json!({"email": [value], "name": {"a": value}})),
        ("create-key", json!({"user": format!("{value}@example.com")})),
        ("set-role", json!({"user": user.email, "role": value})),
        ("grant-credits", json!({"user": user.email, "credits": value, "reason": ""})),
    ] {
        let answer = seen.ask("a wrong order", order(&operator, command, body)).await;
        assert!(answer.status.is_client_error(), "{command}");
    }
    let path = format!("/v1/admin/users?email={value}@example.com");
    seen.ask("nobody", operator.request(Method::GET, &path)).await.problem(404);
}

/// Everything that is stored about somebody, as they get it. What the platform recognises them by is
/// stored, too, and noted as a secret.
async fn export(
    seen: &mut Seen,
    plant: &mut Plant,
    cluster: &Cluster,
    whose: &str,
    request: impl Fn(Method, &str) -> RequestBuilder,
) {
    let database = cluster.database().await;
    let hash = match cluster.backend {
        Backend::Embedded => "lower(hex(hash))",
        Backend::Distributed => "encode(hash, 'hex')",
    };
    for table in ["api_keys", "sessions"] {
        for hash in database.lines(&format!("SELECT {hash} AS line FROM {table}")).await {
            plant.note("the hash of a key or a cookie", &hash);
        }
    }
    let hashes = "SELECT password_hash AS line FROM users WHERE password_hash IS NOT NULL";
    for hash in database.lines(hashes).await {
        plant.note("the hash of a password", &hash);
    }
    database.close().await;
    let asked = seen.ask("an export", request(Method::POST, "/v1/account/exports")).await;
    let place = asked.header("location").unwrap().to_owned();
    asked.expect(202);
    let export = within(Duration::from_secs(120), "the export is ready", async || {
        let export = Answer::to(request(Method::GET, &place)).await.unwrap().expect(200);
        (export["status"] == "ready").then_some(export)
    })
    .await;
    let url = export["url"].as_str().unwrap();
    let signature = url.split("sig=").nth(1).unwrap().split('&').next().unwrap();
    plant.note("the signature of an export's link", signature);
    let file = seen.ask("an export's file", cluster.http.get(url)).await;
    assert_eq!(file.status, 200);
    for (name, bytes) in unzip(&file.bytes) {
        seen.add(&format!("{EXPORT}{whose}: {name}"), &bytes);
    }
}

/// Signing up, in and out, with a password forgotten on the way.
async fn people(seen: &mut Seen, plant: &mut Plant, cluster: &Cluster) {
    let browser = cluster.browser();
    let post = |path: &str, body: &Value| {
        browser.request(Method::POST, &format!("/v1/auth/{path}")).json(body)
    };
    let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
    let password = plant.make("a password");
    seen.ask("a sign-up", post("sign-up", &sign_up(&email, &password))).await.expect(202);
    let child = plant.make("a child's password");
    let mut young = sign_up("child@example.com", &child);
    young["birth_date"] = json!("2020-01-01");
    seen.ask("a child", post("sign-up", &young)).await.problem(403);
    let long = plant.make("a password that is too long").repeat(40);
    seen.ask("a bad sign-up", post("sign-up", &sign_up(&email, &long))).await.problem(422);
    let wrong = plant.make("a token that is none");
    for path in ["verify", "reset"] {
        let body = json!({"token": wrong, "password": wrong});
        let answer = seen.ask("a wrong token", post(path, &body)).await;
        assert!(answer.status.is_client_error(), "{path}");
    }
    let token = cluster.mail(&email, 1).await.token();
    plant.note("a token sent by mail", &token);
    for status in [200, 403] {
        let answer = seen.ask("a token by mail", post("verify", &json!({"token": token}))).await;
        assert_eq!(answer.status, status);
    }
    let guess = plant.make("a wrong password");
    for email in [email.as_str(), "nobody@example.com", &guess] {
        let body = json!({"email": email, "password": guess});
        let answer = seen.ask("a wrong password", post("sign-in", &body)).await;
        assert!(answer.status.is_client_error(), "{email}");
    }
    let odd = json!({"email": [guess], "password": {"a": guess}, "more": guess});
    seen.ask("an odd sign-in", post("sign-in", &odd)).await.problem(422);
    browser.sign_in(&email, &password).await.expect(200);
    let cookie = browser.cookie("__Host-tt_session").unwrap();
    plant.note("the cookie of a session", &cookie);
    seen.ask("a session", browser.request(Method::GET, "/v1/credits")).await.expect(200);
    let request = |method, path: &str| browser.request(method, path);
    export(seen, plant, cluster, "a person", request).await;
    let body = json!({"current_password": guess, "password": guess});
    seen.ask("a wrong old password", post("password", &body)).await;
    reset(seen, plant, cluster, &email).await;
    seen.ask("an old session", browser.request(Method::GET, "/v1/credits")).await.problem(401);
    let (code, state) = (plant.make("a code of Google's"), plant.make("a state for Google"));
    let path = format!("/auth/google/callback?code={code}&state={state}");
    seen.ask("a sign-in of Google's", browser.request(Method::GET, &path)).await;
}

async fn reset(seen: &mut Seen, plant: &mut Plant, cluster: &Cluster, email: &str) {
    let browser = cluster.browser();
    let post = |path: &str, body: &Value| {
        browser.request(Method::POST, &format!("/v1/auth/{path}")).json(body)
    };
    seen.ask("a forgotten password", post("forgot", &json!({"email": email}))).await.expect(202);
    // The second mail said that the export was ready.
    let token = cluster.mail(email, 3).await.token();
    plant.note("a token for a new password", &token);
    let password = plant.make("a new password");
    let short = json!({"token": token, "password": "short"});
    seen.ask("a short password", post("reset", &short)).await.problem(422);
    let body = json!({"token": token, "password": password});
    seen.ask("a new password", post("reset", &body)).await.expect(200);
    seen.ask("a token again", post("reset", &body)).await.problem(403);
}
