//! The five attacks of Sudhodanan and Paverd, "Pre-hijacked accounts" (USENIX Security 2022).

use serde_json::json;
use sim::google::Person;

use super::{PASSWORD, Scene};
use crate::harness::{Backend, eventually, sign_up};

on_both!(nobody_prepares_an_account_for_its_owner, nothing_that_was_prepared_outlives_a_reset,);

async fn nobody_prepares_an_account_for_its_owner(backend: Backend) {
    let scene = Scene::new(backend).await;
    let cluster = &scene.cluster;
    // Classic-federated merge: the attacker signs up first, with a password of their own. The owner
    // comes by Google.
    let email = "merge@example.com";
    let attacker = cluster.browser();
    attacker.post("/v1/auth/sign-up", &sign_up(email, PASSWORD)).await.expect(202);
    let trap = cluster.mail(email, 1).await.token();
    scene.google.set_person(Person::new("6001", email));
    let owner = cluster.browser();
    scene.signs_up(&owner).await;
    assert_eq!(attacker.sign_in(email, PASSWORD).await.problem(401), "wrong_credentials");
    // Not even by the link that waits in the owner's mailbox.
    let body = json!({"token": trap});
    assert_eq!(owner.post("/v1/auth/verify", &body).await.problem(403), "link_invalid");
    assert_eq!(attacker.sign_in(email, PASSWORD).await.problem(401), "wrong_credentials");

    // Unexpired session: the attacker stays signed in while the owner takes the account back.
    let email = "session@example.com";
    let attacker = cluster.person(email, PASSWORD).await;
    let (ok, key) = cluster.admin(&["create-key", "--user", email]);
    assert!(ok);
    let database = cluster.database().await;
    let unproven = format!("UPDATE users SET email_verified_at = NULL WHERE email = '{email}'");
    assert_eq!(database.write(&unproven).await, 1);
    scene.google.set_person(Person::new("6002", email));
    let owner = cluster.browser();
    scene.comes_in(&owner).await;
    assert!(!attacker.is_in().await);
    assert_eq!(attacker.sign_in(email, PASSWORD).await.problem(401), "wrong_credentials");
    eventually("the attacker's key is refused", async || {
        let request = cluster.http.get(format!("{}/v1/credits", cluster.base));
        let request = request.bearer_auth(key["key"].as_str().unwrap());
        (request.send().await.unwrap().status() == 401).then_some(())
    })
    .await;

    database.close().await;
    scene.cluster.finish().await;
}

async fn nothing_that_was_prepared_outlives_a_reset(backend: Backend) {
    let scene = Scene::new(backend).await;
    let cluster = &scene.cluster;
    let database = cluster.database().await;
    // Trojan identifier: the attacker's own Google account is joined to the owner's address.
    let email = "trojan@example.com";
    let attacker = cluster.person(email, PASSWORD).await;
    let id = format!("SELECT id FROM users WHERE email = '{email}'");
    let planted = format!(
        "INSERT INTO identities SELECT id, 'google', '6666', id, 'attacker@example.com', created_at \
         FROM users WHERE email = '{email}'"
    );
    assert_eq!(database.write(&planted).await, 1);
    database
        .write(&format!("UPDATE users SET email_verified_at = NULL WHERE email = '{email}'"))
        .await;
    let owner = cluster.browser();
    owner.post("/v1/auth/forgot", &json!({"email": email})).await.expect(202);
    let token = cluster.mail(email, 2).await.token();
    let body = json!({"token": token, "password": "the owner's own one"});
    owner.post("/v1/auth/reset", &body).await.expect(200);
    assert!(!attacker.is_in().await);
    scene.google.set_person(Person::new("6666", "attacker@example.com"));
    let answer = scene.come_back(&attacker).await;
    assert_eq!(answer.header("location"), Some("/auth/google/age"), "it is somebody else now");
    let left = format!("SELECT count(*) AS n FROM identities WHERE user_id = ({id})");
    assert_eq!(database.number(&left).await, 0);

    // Unexpired change of address: a link that the attacker asked for is still open.
    let email = "change@example.com";
    cluster.person(email, PASSWORD).await;
    let planted = format!(
        "INSERT INTO mail_tokens SELECT id, id, 'change_email', 'attacker@example.com', created_at, \
         created_at + 86400000000 FROM users WHERE email = '{email}'"
    );
    assert_eq!(database.write(&planted).await, 1);
    let owner = cluster.browser();
    owner.post("/v1/auth/forgot", &json!({"email": email})).await.expect(202);
    let token = cluster.mail(email, 2).await.token();
    let body = json!({"token": token, "password": "the owner's own one"});
    owner.post("/v1/auth/reset", &body).await.expect(200);
    assert_eq!(database.number("SELECT count(*) AS n FROM mail_tokens").await, 0);

    // Non-verifying identity provider: it vouches for an address that it has not checked.
    let email = "idp@example.com";
    let mut person = Person::new("6005", email);
    person.email_verified = Some(json!(false));
    scene.google.set_person(person);
    let attacker = cluster.browser();
    assert_eq!(scene.come_back(&attacker).await.problem(403), "google_refused");
    let owner = cluster.person(email, PASSWORD).await;
    assert_eq!(scene.come_back(&attacker).await.problem(403), "google_refused");
    assert!(owner.is_in().await);
    database.close().await;
    scene.cluster.finish().await;
}
