//! The end of an account: nothing of the person is left anywhere, the books stay right, whatever runs
//! or dies meanwhile.

use std::time::Duration;

use image::ImageFormat;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    exports::exported,
    fal_faults::Scene,
    harness::{Answer, Api, Backend, Cluster, Options, eventually, files, sketch, within},
    uploads::{data_uri, picture},
};

on_both!(
    nothing_is_left_of_a_deleted_account,
    it_ends_although_everything_dies,
    copies_at_a_provider_are_deleted,
    whoever_comes_again_finds_nothing,
);

/// The receipt once everything is erased. A scheduler that was killed while it sent the last mail
/// has that mail for two minutes more.
pub(crate) async fn erased(cluster: &Cluster, erasure: &Value) -> Value {
    let path = format!(
        "{}/v1/erasures/{}?token={}",
        cluster.base,
        erasure["id"].as_str().unwrap(),
        erasure["token"].as_str().unwrap()
    );
    within(Duration::from_secs(240), "the account is erased", async || {
        let answer = Answer::to(cluster.http.get(&path)).await.ok()?;
        let receipt = (answer.status == 200).then(|| answer.json())?;
        (receipt["status"] == "erased").then_some(receipt)
    })
    .await
}

/// Words that are nowhere else, one for each field that takes text.
const WORDS: [&str; 9] = [
    "quaggaprompt",
    "okapimetaname",
    "okapimetavalue",
    "narwhalidempotency",
    "dugongreason",
    "axolotlname",
    "tapirrunning",
    "ibexfailed",
    "manateequeued",
];

/// Somebody with something in every field.
async fn plant(cluster: &Cluster) -> Api {
    let user = cluster.user(0);
    let update = ["update-user", "--user", &user.email, "--name", "Axolotlname Person"];
    let (ok, said) = cluster.admin(&update);
    assert!(ok && said["name"] == "Axolotlname Person", "{said}");
    let grant =
        ["grant-credits", "--user", &user.email, "--credits", "50000", "--reason", "dugongreason"];
    assert!(cluster.admin(&grant).0);
    let mut body = sketch(&json!({"prompt": "a quaggaprompt at noon"}));
    body["metadata"] = json!({"okapimetaname": "okapimetavalue"});
    body["input"]["image"] = json!(data_uri(&picture([7, 7, 7], ImageFormat::Png)));
    let job = user.post_once("narwhalidempotency", &body).await.expect(202);
    user.until(job["id"].as_str().unwrap(), "succeeded").await;
    let failed = user.submit(&json!({"prompt": "ibexfailed", "fail": "rejected"})).await;
    user.ended(&failed).await;
    let bytes = picture([1, 2, 3], ImageFormat::Png);
    let upload = user.request(Method::POST, "/v1/uploads").body(bytes);
    Answer::to(upload).await.unwrap().expect(201);
    user
}

async fn nothing_is_left_of_a_deleted_account(backend: Backend) {
    // Without the demo account, whose sample would lie among the files.
    let env = vec![("TIKTOMATO__DEMO__ENABLED", "false".to_owned())];
    let cluster = Cluster::start(backend, Options { env, ..Options::default() }).await;
    let other = cluster.user(10_000);
    let kept = other.submit(&json!({"prompt": "what stays"})).await;
    other.until(&kept, "succeeded").await;
    let user = plant(&cluster).await;
    exported(&user).await;
    let running = user.submit(&json!({"prompt": "tapirrunning", "delay_seconds": 600})).await;
    user.until(&running, "running").await;
    let mut queued = Vec::new();
    for n in 0..30 {
        let input = json!({"prompt": format!("manateequeued {n}"), "delay_seconds": 600});
        queued.push(user.submit(&input).await);
    }
    let found = cluster.traces(&WORDS).await;
    for word in WORDS {
        assert!(found.iter().any(|trace| trace.word == word), "{word} was not planted: {found:?}");
    }

    let (ok, erasure) = cluster.admin(&["delete-user", "--user", &user.email]);
    assert!(ok, "{erasure}");
    // At once nobody can act for the account.
    eventually("the key is refused", async || {
        (user.get("/v1/jobs").await.status == 401).then_some(())
    })
    .await;
    let receipt = erased(&cluster, &erasure).await;
    assert_eq!(receipt["asked_by"], "operator", "{receipt}");
    assert_eq!(receipt["erased"]["jobs"], 33, "{receipt}");
    assert_eq!(receipt["erased"]["api_keys"], 1, "{receipt}");
    assert_eq!(receipt["erased"]["uploads"], 2, "{receipt}");
    assert_eq!(receipt["erased"]["exports"], 1, "{receipt}");
    for time in ["requested_at", "drained_at", "erased_at"] {
        assert!(receipt[time].is_string(), "{receipt}");
    }
    let mut words = WORDS.to_vec();
    let local = user.email.split('@').next().unwrap().to_owned();
    words.extend([user.email.as_str(), &local, "axolotlname person"]);
    cluster.nowhere(&words).await;
    // The receipt needs its token.
    let path = format!("{}/v1/erasures/{}", cluster.base, erasure["id"].as_str().unwrap());
    Answer::to(cluster.http.get(&path)).await.unwrap().problem(404);
    Answer::to(cluster.http.get(format!("{path}?token=x"))).await.unwrap().problem(404);
    // Nobody else lost anything, and only their files are left.
    assert_eq!(other.job(&kept).await["output"].as_array().unwrap().len(), 1);
    let left = files(&cluster.data().join("media"));
    let left: Vec<_> =
        left.iter().filter(|file| !file.to_string_lossy().contains("/staging/probe-")).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    // The ledger stays, and the report is content.
    let database = cluster.database().await;
    let grants = "SELECT count(*) AS n FROM ledger_entries WHERE kind = 'grant' AND amount = 50000";
    assert_eq!(database.number(grants).await, 1);
    database.close().await;
    let (ok, report) = cluster.admin(&["privacy-report"]);
    assert!(ok, "{report}");
    // There is no such account any more, for operators either; the address is free.
    assert!(!cluster.admin_fails(&["delete-user", "--user", &user.email]).is_empty());
    let (ok, again) = cluster.admin(&["create-user", "--email", &user.email]);
    assert!(ok && again["email"] == user.email.as_str(), "{again}");
    cluster.finish().await;
}

async fn it_ends_although_everything_dies(backend: Backend) {
    let env = vec![("TIKTOMATO__SCHEDULER__LEASE_SECONDS", "1".to_owned())];
    let mut cluster = Cluster::start(backend, Options { env, ..Options::default() }).await;
    let user = plant(&cluster).await;
    let mut jobs = Vec::new();
    for _ in 0..20 {
        jobs.push(user.submit(&json!({"prompt": "tapirrunning"})).await);
    }
    for job in &jobs {
        user.ended(job).await;
    }
    let (ok, erasure) = cluster.admin(&["delete-user", "--user", &user.email]);
    assert!(ok, "{erasure}");
    let names = cluster.names();
    for round in 0..8_u64 {
        tokio::time::sleep(Duration::from_millis(150 * round)).await;
        for name in &names {
            cluster.kill(name);
        }
        cluster.start_all().await;
    }
    let receipt = erased(&cluster, &erasure).await;
    assert_eq!(receipt["erased"]["jobs"], 22, "each is counted once: {receipt}");
    let mut words: Vec<&str> = WORDS.to_vec();
    words.push(&user.email);
    cluster.nowhere(&words).await;
    cluster.finish().await;
}

async fn copies_at_a_provider_are_deleted(backend: Backend) {
    let scene = Scene::new(backend).await;
    scene.succeeds("a quaggaprompt for fal", json!({})).await;
    let sent = &scene.fal.accepted()[0];
    assert!(sent.input.to_string().contains("quaggaprompt"), "{sent:?}");
    let file = format!("{}/files/{}/0.jpg", scene.fal.base(), sent.id);
    assert_eq!(Answer::to(scene.user.http.get(&file)).await.unwrap().status, 200);
    let (ok, erasure) = scene.cluster.admin(&["delete-user", "--user", &scene.user.email]);
    assert!(ok, "{erasure}");
    erased(&scene.cluster, &erasure).await;
    let receipt = eventually("fal.ai has deleted its copy", async || {
        let receipt = erased(&scene.cluster, &erasure).await;
        (receipt["provider_copies"]["open"] == 0).then_some(receipt)
    })
    .await;
    let copies = &receipt["provider_copies"];
    assert_eq!((&copies["asked"], &copies["deleted"]), (&json!(1), &json!(1)), "{receipt}");
    assert_eq!(scene.fal.accepted()[0].input, Value::Null);
    assert_eq!(Answer::to(scene.user.http.get(&file)).await.unwrap().status, 404);
    scene.finish().await;
}

async fn whoever_comes_again_finds_nothing(backend: Backend) {
    let env = vec![("TIKTOMATO__ACCOUNTS__FREE_CREDITS", "500".to_owned())];
    let cluster = Cluster::start(backend, Options { env, ..Options::default() }).await;
    let (email, password) = ("kakapo-returns@example.com", "a long kakapo password");
    let browser = cluster.person(email, password).await;
    assert_eq!(browser.get("/v1/credits").await.expect(200)["available"], 500);
    let body = sketch(&json!({"prompt": "quaggaprompt"}));
    let job = browser.post("/v1/jobs", &body).await.expect(202);
    eventually("the job ends", async || {
        let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
        (browser.get(&path).await.expect(200)["status"] == "succeeded").then_some(())
    })
    .await;
    let delete = |body: Value| browser.request(Method::DELETE, "/v1/account").json(&body);
    let wrong = browser.send(delete(json!({"password": "not the password"}))).await;
    assert_eq!(wrong.problem(403), "reauthentication_required");
    let receipt = browser.send(delete(json!({"password": password}))).await;
    let place = receipt.header("location").unwrap().to_owned();
    let receipt = receipt.expect(202);
    assert_eq!(receipt["asked_by"], "owner", "{receipt}");
    assert_eq!(receipt["url"], format!("{}{place}", cluster.base), "{receipt}");
    browser.get("/v1/account").await.problem(401);
    let done = erased(&cluster, &receipt).await;
    assert_eq!(done["token"], Value::Null, "it is shown once: {done}");
    assert_eq!(done["erased"]["sessions"], 1, "{done}");
    cluster.nowhere(&["kakapo-returns", "kakapo password", "quaggaprompt"]).await;
    // The same address may have an account again: empty, and without a second gift.
    let again = cluster.person(email, password).await;
    assert_eq!(again.get("/v1/credits").await.expect(200)["available"], 0);
    for list in ["/v1/jobs", "/v1/credits/entries", "/v1/account/exports", "/v1/keys"] {
        assert_eq!(again.get(list).await.expect(200)["data"], json!([]), "{list}");
    }
    let other = cluster.person("somebody-else@example.com", password).await;
    assert_eq!(other.get("/v1/credits").await.expect(200)["available"], 500);
    cluster.finish().await;
}
