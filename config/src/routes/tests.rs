//! Breakers that processes share through the database, here one of SQLite.

use std::time::Duration;

use entities::routing::{Cause, Trouble, switch_off, switch_on};

use super::*;

const FAILED: Report = Report::Failed(Trouble::Unavailable);

async fn database(folder: &std::path::Path) -> Db {
    let db = Db::connect(&format!("sqlite://{}/test.db", folder.display()), 2).await.unwrap();
    migration::up(db.write()).await.unwrap();
    db
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not happen: {what}");
}

#[tokio::test]
async fn what_one_process_learns_all_know_and_one_tries() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path()).await;
    let clock = Clock::system(0);
    let one = Routes::start(db.clone(), clock.clone());
    let other = Routes::start(db.clone(), clock.clone());
    one.ready().await;
    other.ready().await;
    // Three here and two there: together they are enough.
    for routes in [&one, &one, &one, &other, &other] {
        assert!(!routes.is_troubled("fal"));
        routes.report("fal", "m", FAILED);
    }
    for routes in [&one, &other] {
        eventually("both know", || matches!(routes.standing("fal", "m"), Standing::Shut(_))).await;
        assert_eq!(routes.standing("fal", "another"), Standing::Ready);
        assert!(routes.is_troubled("fal") && !routes.is_troubled("kieai"));
        assert!(!routes.probe("fal", "m").await, "it is too early");
    }
    for routes in [&one, &other] {
        eventually("it is half open", || routes.standing("fal", "m") == Standing::HalfOpen).await;
    }
    let tries = [one.probe("fal", "m").await, other.probe("fal", "m").await];
    assert_eq!(tries, [true, false], "one try a second");
    one.report("fal", "m", Report::Accepted);
    for routes in [&one, &other] {
        eventually("it is closed", || routes.standing("fal", "m") == Standing::Ready).await;
    }
}

#[tokio::test]
async fn without_a_database_a_process_has_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path()).await;
    let routes = Routes::start(db.clone(), Clock::system(0));
    routes.ready().await;
    db.close().await;
    for _ in 0..5 {
        routes.report("fal", "m", FAILED);
    }
    assert!(matches!(routes.standing("fal", "m"), Standing::Shut(_)));
    assert!(!routes.probe("fal", "m").await);
}

#[tokio::test]
async fn operators_switch_providers_and_routes() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path()).await;
    let clock = Clock::system(0);
    let routes = Routes::start(db.clone(), clock.clone());
    routes.ready().await;
    switch_off(db.write(), "fal", Some("m"), "too dear").await.unwrap();
    eventually("the route is off", || routes.is_off("fal", "m")).await;
    assert!(!routes.is_off("fal", "n") && routes.is_troubled("fal"));
    assert_eq!(routes.standing("fal", "m"), Standing::Off);
    switch_off(db.write(), "fal", None, "closed on Sundays").await.unwrap();
    switch_off(db.write(), "fal", None, "closed for good").await.unwrap();
    eventually("the provider is off", || routes.is_off("fal", "n")).await;
    let keys = [RouteKey::new("fal", "m"), RouteKey::new("fal", "n")].into();
    let env = BTreeMap::from([("FAL_KEY".to_owned(), "x".to_owned())]);
    let sources =
        crate::settings::Sources { file: None, env, mode: crate::settings::Mode::Embedded };
    let settings = crate::settings::Settings::load(sources).unwrap().providers;
    routes.report("fal", "n", Report::Account);
    let (board, given_up) = (routes.board(), BTreeMap::new());
    let known = Known { board: &board, given_up: &given_up, routes: &keys, settings: &settings };
    let seen = overview(known);
    let fal = seen.iter().find(|state| state.provider == "fal").unwrap();
    assert_eq!((fal.on, fal.off_reason.as_deref()), (false, Some("closed for good")));
    assert!(fal.account_problem && fal.needs_key.is_none() && !fal.routes[1].on);
    assert_eq!(fal.routes[0].off_reason.as_deref(), Some("too dear"));
    assert_eq!((fal.routes[1].breaker, fal.routes[1].cause), ("open", Some(Cause::Account)));
    let kie = seen.iter().find(|state| state.provider == "kieai").unwrap();
    assert_eq!((kie.on, kie.needs_key), (false, Some("KIE_API_KEY")));
    let tx = db.begin().await.unwrap();
    assert!(switch_on(&tx, "fal", None, clock.now()).await.unwrap());
    assert!(!switch_on(&tx, "fal", None, clock.now()).await.unwrap(), "it was on");
    tx.commit().await.unwrap();
    eventually("the provider is on", || !routes.is_off("fal", "n")).await;
    assert!(routes.is_off("fal", "m"), "its route has its own switch");
}
