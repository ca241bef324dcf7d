//! Signing in with a password, and choosing a new one.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Answer, Backend, Browser, Cluster, eventually};

on_both!(
    guessing_is_slowed_down_and_locks_no_owner_out,
    a_reset_link_works_once_and_signs_everybody_out,
    a_password_is_changed_by_whoever_knows_it,
    a_reset_ends_what_signs_in_at_the_same_time,
    a_weaker_hash_is_made_anew,
    an_account_that_nobody_proved_is_emptied_by_its_owner,
);

const PASSWORD: &str = "correct horse battery";
const OTHER: &str = "staple of the sea";

async fn guessing_is_slowed_down_and_locks_no_owner_out(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let email = "guessed@example.com";
    let owner = cluster.person(email, PASSWORD).await;
    let attacker = cluster.browser();
    let refused = exhaust(&attacker, email).await;
    assert_eq!(refused.problem(429), "too_many_attempts");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    // Now even the right password is not looked at, so that nobody learns that it is right.
    assert_eq!(attacker.sign_in(email, PASSWORD).await.problem(429), "too_many_attempts");
    // An address without an account is slowed down in the same way.
    exhaust(&attacker, "nobody@example.com").await;
    // The owner's browser is known, although it comes from the same network.
    owner.post("/v1/auth/sign-out", &json!({})).await.expect(204);
    eventually("the network may try again", async || {
        (owner.sign_in(email, PASSWORD).await.status == 200).then_some(())
    })
    .await;
    // A mail always helps, in a browser that nobody knows.
    let fresh = cluster.browser();
    fresh.post("/v1/auth/forgot", &json!({"email": email})).await.expect(202);
    let token = cluster.mail(email, 2).await.token();
    fresh.post("/v1/auth/reset", &json!({"token": token, "password": OTHER})).await.expect(200);
    assert!(fresh.is_in().await);
    fresh.sign_in(email, OTHER).await.expect(200);
    // Somebody else's cookie does not help with this account.
    let stranger = cluster.person("stranger@example.com", PASSWORD).await;
    attacker.plant("__Host-tt_device", &stranger.cookie("__Host-tt_device").unwrap());
    exhaust(&attacker, email).await;
    assert_eq!(attacker.sign_in(email, OTHER).await.problem(429), "too_many_attempts");
    cluster.finish().await;
}

/// Guesses until it is told to wait.
async fn exhaust(browser: &Browser, email: &str) -> Answer {
    for n in 0..60 {
        let asked = Instant::now();
        let answer = browser.sign_in(email, &format!("guess number {n}")).await;
        let time = asked.elapsed();
        if answer.status == 429 {
            return answer;
        }
        assert_eq!(answer.problem(401), "wrong_credentials");
        // It comes at a round time, whatever was looked at.
        assert!(time >= Duration::from_millis(50), "{time:?}");
    }
    panic!("guessing goes on and on");
}

async fn a_reset_link_works_once_and_signs_everybody_out(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let email = "forgetful@example.com";
    let browser = cluster.person(email, PASSWORD).await;
    let ask = async |n: usize| {
        let asked = cluster.browser();
        asked.post("/v1/auth/forgot", &json!({"email": email})).await.expect(202);
        cluster.mail(email, n).await.token()
    };
    let (first, second) = (ask(2).await, ask(3).await);
    assert_ne!(first, second);
    let fresh = cluster.browser();
    let reset = async |token: &str, password: &str| {
        let body = json!({"token": token, "password": password});
        fresh.post("/v1/auth/reset", &body).await
    };
    assert_eq!(reset(&first, OTHER).await.problem(403), "link_invalid", "a later one replaced it");
    assert_eq!(reset(&second, "short").await.problem(422), "invalid_input");
    assert!(browser.is_in().await, "nothing has happened yet");
    reset(&second, OTHER).await.expect(200);
    assert!(fresh.is_in().await);
    assert!(!browser.is_in().await, "it is signed out at once");
    assert_eq!(reset(&second, "another password").await.problem(403), "link_invalid");
    assert_eq!(browser.sign_in(email, PASSWORD).await.problem(401), "wrong_credentials");
    browser.sign_in(email, OTHER).await.expect(200);
    assert_eq!(cluster.mail(email, 4).await.subject, "Your password was changed");
    // A link that nobody used in time.
    let late = ask(5).await;
    cluster.stop().await;
    cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", "3700");
    cluster.start_all().await;
    let body = json!({"token": late, "password": PASSWORD});
    assert_eq!(browser.post("/v1/auth/reset", &body).await.problem(403), "link_invalid");
    cluster.finish().await;
}

async fn a_password_is_changed_by_whoever_knows_it(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let email = "careful@example.com";
    let browser = cluster.person(email, PASSWORD).await;
    let elsewhere = cluster.browser();
    elsewhere.sign_in(email, PASSWORD).await.expect(200);
    let before = browser.cookie("__Host-tt_session").unwrap();
    let wrong = json!({"current_password": "not this one", "password": OTHER});
    assert_eq!(browser.post("/v1/auth/password", &wrong).await.problem(401), "wrong_credentials");
    let body = json!({"current_password": PASSWORD, "password": OTHER});
    browser.post("/v1/auth/password", &body).await.expect(200);
    let after = browser.cookie("__Host-tt_session").unwrap();
    assert_ne!(before, after, "a change of privilege is a new session");
    assert!(browser.is_in().await && !elsewhere.is_in().await);
    elsewhere.plant("__Host-tt_session", &before);
    assert!(!elsewhere.is_in().await, "the old cookie is worth nothing");
    elsewhere.sign_in(email, OTHER).await.expect(200);
    assert_eq!(elsewhere.sign_in(email, PASSWORD).await.problem(401), "wrong_credentials");
    cluster.finish().await;
}

/// Whoever knows the former password and signs in while the owner resets it: before the reset, and is
/// signed out by it, or after it, and is refused. Nobody stays in.
async fn a_reset_ends_what_signs_in_at_the_same_time(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    for round in 0..6 {
        let email = format!("raced-{round}@example.com");
        let email = email.as_str();
        cluster.person(email, PASSWORD).await;
        let owner = cluster.browser();
        owner.post("/v1/auth/forgot", &json!({"email": email})).await.expect(202);
        let token = cluster.mail(email, 2).await.token();
        let thieves: Vec<Browser> = (0..5).map(|_| cluster.browser()).collect();
        let body = json!({"token": token, "password": OTHER});
        let reset = owner.post("/v1/auth/reset", &body);
        let steal = async |thief: &Browser, n: u64| {
            // From well before to well after the reset, which takes as long as a sign-in.
            tokio::time::sleep(Duration::from_millis(n * 15)).await;
            thief.sign_in(email, PASSWORD).await.status.as_u16()
        };
        let steals = thieves.iter().zip(0..).map(|(thief, n)| steal(thief, n));
        let (reset, stolen) = futures::join!(reset, futures::future::join_all(steals));
        reset.expect(200);
        for (thief, status) in thieves.iter().zip(stolen) {
            assert!(matches!(status, 200 | 401), "{status}");
            assert!(!thief.is_in().await, "round {round}: {status}");
        }
        assert!(owner.is_in().await);
        assert_eq!(
            cluster.browser().sign_in(email, PASSWORD).await.problem(401),
            "wrong_credentials"
        );
    }
    cluster.finish().await;
}

async fn a_weaker_hash_is_made_anew(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let email = "old@example.com";
    let browser = cluster.person(email, PASSWORD).await;
    // Made with m=8192 and t=1 from the same password.
    let weak = "$argon2id$v=19$m=8192,t=1,p=1$AAECAwQFBgcICQoLDA0ODw$";
    let database = cluster.database().await;
    let hash = weak_hash();
    assert!(hash.starts_with(weak), "{hash}");
    let sql = format!("UPDATE users SET password_hash = '{hash}' WHERE email = '{email}'");
    assert_eq!(database.write(&sql).await, 1);
    let stored = format!("SELECT password_hash AS line FROM users WHERE email = '{email}'");
    assert_eq!(browser.sign_in(email, "wrong password").await.problem(401), "wrong_credentials");
    assert_eq!(database.lines(&stored).await, [hash]);
    browser.sign_in(email, PASSWORD).await.expect(200);
    let new = database.lines(&stored).await.remove(0);
    assert!(new.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{new}");
    browser.sign_in(email, PASSWORD).await.expect(200);
    assert_eq!(database.lines(&stored).await, [new], "once");
    database.close().await;
    cluster.finish().await;
}

/// The password's hash as an older program would have made it.
fn weak_hash() -> String {
    use argon2::{
        Algorithm, Argon2, Params, PasswordHasher as _, Version, password_hash::phc::PasswordHash,
    };
    let params = Params::new(8_192, 1, 1, None).unwrap();
    let salt: [u8; 16] = std::array::from_fn(|n| u8::try_from(n).unwrap());
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = hasher.hash_password_with_salt(PASSWORD.as_bytes(), &salt).unwrap();
    hash.to_string()
}

async fn an_account_that_nobody_proved_is_emptied_by_its_owner(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let email = "victim@example.com";
    let attacker = cluster.person(email, PASSWORD).await;
    let (ok, key) = cluster.admin(&["create-key", "--user", email]);
    assert!(ok);
    let key = key["key"].as_str().unwrap().to_owned();
    let database = cluster.database().await;
    let sql = format!("UPDATE users SET email_verified_at = NULL WHERE email = '{email}'");
    assert_eq!(database.write(&sql).await, 1);
    let owner = cluster.browser();
    owner.post("/v1/auth/forgot", &json!({"email": email})).await.expect(202);
    let token = cluster.mail(email, 2).await.token();
    owner.post("/v1/auth/reset", &json!({"token": token, "password": OTHER})).await.expect(200);
    assert!(owner.is_in().await && !attacker.is_in().await);
    assert_eq!(attacker.sign_in(email, PASSWORD).await.problem(401), "wrong_credentials");
    eventually("the stranger's key is refused", async || {
        let request = cluster.http.get(format!("{}/v1/credits", cluster.base)).bearer_auth(&key);
        (request.send().await.unwrap().status() == 401).then_some(())
    })
    .await;
    database.close().await;
    cluster.finish().await;
}
