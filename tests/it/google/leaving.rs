//! Somebody who came by Google, from an address, and wanted to have another e-mail address, leaves: the
//! identity, the address, both e-mail addresses and the log of requests are gone.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use sim::google::Person;

use super::Scene;
use crate::{
    erasure::erased,
    harness::{Backend, eventually, uuid_of, within},
};

on_both!(nothing_is_left_of_who_came_by_google);

/// What is nowhere else: the subject at Google, the name there, both addresses, and from where.
const WORDS: [&str; 5] =
    ["104729104729104729", "Dugong Person", "narwhal.person", "axolotl.pending", "203.0.113.77"];

async fn nothing_is_left_of_who_came_by_google(backend: Backend) {
    let proxies = ("TIKTOMATO__GATEWAY__TRUSTED_PROXIES", "127.0.0.0/8");
    let scene = Scene::with(backend, &[proxies]).await;
    let cluster = &scene.cluster;
    let mut person = Person::new(WORDS[0], "narwhal.person@example.com");
    person.name = Some(WORDS[1].to_owned());
    scene.google.set_person(person);
    let browser = cluster.browser();
    let from = |method: Method, path: &str| {
        browser.request(method, path).header("CF-Connecting-IP", WORDS[4])
    };
    let away = browser.get("/auth/google").await;
    let back = scene.consent(&away).await;
    browser.get(&back).await;
    let age = json!({"birth_date": "1990-12-31"});
    let made = browser.send(from(Method::POST, "/v1/auth/google").json(&age)).await.expect(200);
    let user = made["user"]["id"].as_str().unwrap().to_owned();
    let change = json!({"email": "axolotl.pending@example.com", "name": WORDS[1]});
    browser.send(from(Method::PATCH, "/v1/account").json(&change)).await.expect(200);
    cluster.mail("axolotl.pending@example.com", 1).await;
    let database = cluster.database().await;
    let logged = format!(
        "SELECT count(*) AS n FROM usage_log WHERE address = '{}' AND user_id = {}",
        WORDS[4],
        database.literal(uuid_of(&user))
    );
    eventually("the request is logged", async || {
        (database.number(&logged).await > 0).then_some(())
    })
    .await;
    database.close().await;
    let found = cluster.traces(&WORDS).await;
    for word in WORDS {
        assert!(found.iter().any(|trace| trace.word == word), "{word} was not planted: {found:?}");
    }
    for table in
        ["identities.subject", "mail_tokens.email", "usage_log.address", "audit_events.address"]
    {
        let place = format!("table {table}");
        assert!(found.iter().any(|trace| trace.place == place), "{table}: {found:?}");
    }

    // From elsewhere: what is logged of the deletion itself is another matter.
    let receipt = browser.delete("/v1/account").await.expect(202);
    erased(cluster, &receipt).await;
    // The limits of an address know it for some seconds.
    within(Duration::from_secs(90), "limits forget the address", async || {
        let found = cluster.traces(&WORDS).await;
        (!found.iter().any(|trace| trace.place.starts_with("redis "))).then_some(())
    })
    .await;
    cluster.nowhere(&WORDS).await;
    let (ok, report) = cluster.admin(&["privacy-report"]);
    assert!(ok, "{report:#}");
    // Google still knows them, and they are new here.
    let again = cluster.browser();
    scene.signs_up(&again).await;
    assert_eq!(again.get("/v1/credits").await.expect(200)["available"], 0, "no second gift");
    scene.cluster.finish().await;
}
