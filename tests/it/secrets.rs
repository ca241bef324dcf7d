//! Secrets are planted in every place where one is configured or sent, and every flow is gone
//! through, right and wrong. Then none of them, in no form in which it is usually written, stands
//! in a log, an answer that is an error, a metric, the settings as shown, or an export.
//!
//! Logs are looked at as they are by default, and at their most talkative.

mod flows;
mod plant;

use crate::harness::{Backend, Cluster, Options};
use flows::{Seen, go_through_everything};
use plant::Plant;

on_both!(nothing_shows_a_secret_by_default, nothing_shows_a_secret_at_its_most_talkative);

/// What is logged unless somebody says otherwise.
const DEFAULT: &str = "info,sqlx=warn,sea_orm=warn,sea_orm_migration=warn";

async fn nothing_shows_a_secret_by_default(backend: Backend) {
    nothing_shows_a_secret(backend, DEFAULT).await;
}

async fn nothing_shows_a_secret_at_its_most_talkative(backend: Backend) {
    nothing_shows_a_secret(backend, "trace").await;
}

async fn nothing_shows_a_secret(backend: Backend, filter: &str) {
    let mut plant = Plant::new(backend).await;
    let mut env = plant.settings();
    env.push(("RUST_LOG", filter.to_owned()));
    let options = Options {
        env,
        database_password: Some(plant.make("the password of the database")),
        worker_args: &["workers", "--pool", "demo=8", "--pool", "fal=2", "--pool", "kieai=2"],
        ..Options::default()
    };
    let cluster = Cluster::start(backend, options).await;
    let mut seen = go_through_everything(&cluster, &mut plant).await;
    assert!(plant.secrets.len() >= 30, "only {} secrets are planted", plant.secrets.len());
    seen.add("the logs", cluster.logs().as_bytes());
    seen.look_at_what_operators_see(&cluster, &mut plant).await;
    can_see(&seen, &cluster);
    let shown = seen.shows(&plant);
    assert!(shown.is_empty(), "{} places show a secret:\n{}", shown.len(), shown.join("\n"));
    cluster.finish().await;
}

/// The search must be able to find something: what has to be there is there.
fn can_see(seen: &Seen, cluster: &Cluster) {
    assert!(seen.errors > 40, "only {} errors were looked at", seen.errors);
    for (place, text) in [
        ("the logs", "answered"),
        ("/metrics", "tiktomato_http_requests_total"),
        ("check-config", cluster.base.trim_start_matches("http://")),
        ("the export of a developer: jobs.json", "demo/sketch"),
        ("the export of a developer: api_keys.json", "ends_with"),
        ("the export of a person: account.json", "\"has_password\": true"),
        ("the export of a person: audit.json", "sign_in"),
    ] {
        assert!(seen.holds(place, text), "{place} does not hold {text}");
    }
}
