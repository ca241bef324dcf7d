//! Every route against six identities: nobody, a bad key, another user, the right user with a key
//! that lacks the scope, the right user, an operator.
//!
//! What is asked comes from the running server's own description: a route that is added without an
//! expected answer here fails the test, and so does an answer for a route that is gone. Routes that
//! are not described (pages, the operations port) are listed beside it.

mod table;
mod world;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::harness::{Answer, Backend, Cluster};
use table::{Identity, Kind, ROUTES, Route, UNDESCRIBED};
use world::World;

on_both!(every_route_answers_every_identity_as_it_should);

/// The methods that a path of the description may have.
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

async fn every_route_answers_every_identity_as_it_should(backend: Backend) {
    let world = World::new(backend).await;
    let described = described(&world.cluster).await;
    let expected: BTreeSet<String> = ROUTES.iter().map(Route::name).collect();
    assert_eq!(expected.len(), ROUTES.len(), "a route stands twice in the table");
    let without: Vec<_> = described.difference(&expected).collect();
    assert!(without.is_empty(), "no expected answers are written down for {without:?}");
    let gone: Vec<_> = expected.difference(&described).collect();
    assert!(gone.is_empty(), "these routes are not described any more: {gone:?}");
    let mut faults = Vec::new();
    for route in ROUTES.iter().chain(UNDESCRIBED) {
        faults.extend(check(&world, route).await);
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    nothing_else_answers(&world, &described).await;
    world.cluster.finish().await;
}

/// `METHOD path` of everything in the description.
async fn described(cluster: &Cluster) -> BTreeSet<String> {
    let request = cluster.http.get(format!("{}/openapi.json", cluster.base));
    let document = Answer::to(request).await.unwrap().expect(200);
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|m| METHODS.contains(&m.as_str())) {
            found.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

/// Asks as each identity; what was wrong with the answers.
async fn check(world: &World, route: &Route) -> Vec<String> {
    let mut faults = Vec::new();
    let target = world.target(route).await;
    // The right user comes last: a deletion that works leaves nothing for the others to fail at.
    for identity in Identity::ALL {
        let request = world.request(route, &target, identity);
        let answer = Answer::to(request).await.unwrap();
        let status = answer.status.as_u16();
        let wanted = route.expected(identity);
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        let place = format!("{} as {identity:?}", route.name());
        if !wanted.contains(&status) {
            faults.push(format!("{place}: {status} instead of {wanted:?}: {text:.300}"));
            continue;
        }
        if status >= 400 {
            let code = answer.problem(status);
            let right = match (route.kind, status) {
                (Kind::Operator, 403) => "forbidden",
                (Kind::Person, 403) => "reauthentication_required",
                (Kind::Confirmed, 403) if identity != Identity::Unscoped => {
                    "reauthentication_required"
                }
                (Kind::Thing | Kind::Own | Kind::Shared | Kind::Confirmed, 403) => {
                    "insufficient_scope"
                }
                _ => code.as_str(),
            };
            if code != right {
                faults.push(format!("{place}: {status} has the code {code}"));
            }
        }
        if matches!(identity, Identity::Other | Identity::Operator)
            && matches!(route.kind, Kind::Thing | Kind::Own)
            && let Some(mark) = world.marks.iter().find(|mark| text.contains(mark.as_str()))
        {
            faults.push(format!("{place}: shows {mark}, which is the right user's: {text:.300}"));
        }
    }
    faults
}

/// A method that is not described for a path is refused with a list of those that are.
async fn nothing_else_answers(world: &World, described: &BTreeSet<String>) {
    for path in described.iter().map(|name| name.split_once(' ').unwrap().1) {
        let url = format!("{}{}", world.cluster.base, path.replace(['{', '}'], "x"));
        for method in METHODS {
            let name = method.to_uppercase();
            // A HEAD is a GET without its body.
            let known = described.contains(&format!("{name} {path}"))
                || (name == "HEAD" && described.contains(&format!("GET {path}")));
            if known {
                continue;
            }
            let request =
                world.cluster.http.request(Method::from_bytes(name.as_bytes()).unwrap(), &url);
            let answer = Answer::to(request.bearer_auth(&world.operator.key)).await.unwrap();
            assert_eq!(answer.status, 405, "{name} {path}");
            let allow = answer.header("allow").unwrap_or_default();
            for one in allow.split(',').map(str::trim).filter(|one| *one != "HEAD") {
                assert!(
                    described.contains(&format!("{one} {path}")),
                    "{name} {path}: Allow: {allow}"
                );
            }
            assert!(!allow.is_empty(), "{name} {path} does not say what is allowed");
        }
    }
}

/// What a request needs besides its route: parameters for the path, a query, and a body.
#[derive(Debug, Default)]
pub(crate) struct Target {
    /// The path with ids in it, and a query.
    path: String,
    body: Option<Value>,
}
