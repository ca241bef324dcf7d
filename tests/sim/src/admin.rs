//! What no real service has: looking at what it did, and telling it what to do next. Each simulator
//! adds what it alone can do.
//!
//! | route | |
//! |---|---|
//! | `GET /requests` | everything that was accepted, with what it costs |
//! | `POST /rules`, `DELETE /rules` | what shall go wrong |
//! | `POST /hold/{true,false}` | what is accepted from now on waits until `POST /finish` |
//! | `POST /finish` | ends everything that was accepted |
//! | `POST /lock/{true,false}` | the account |
//! | `POST /expire` | results are gone |

use std::io;

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{delete, get, post},
};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{
    faults::{Rule, Rules},
    record::Entry,
};

/// A service that is simulated.
pub(crate) trait Simulated: Clone + Send + Sync + 'static {
    /// What can go wrong there.
    type Fault: Clone + DeserializeOwned + Send;

    fn rules(&self) -> &Rules<Self::Fault>;
    fn accepted(&self) -> Vec<Entry>;
    /// What it has counted besides.
    fn counted(&self) -> Vec<(&'static str, usize)>;
    fn hold(&self, hold: bool);
    fn lock(&self, lock: bool);
    fn let_finish(&self) -> impl Future<Output = ()> + Send;
    fn expire(&self);
}

/// The routes that all simulators have.
pub(crate) fn router<S: Simulated>() -> Router<S> {
    Router::new()
        .route("/requests", get(requests::<S>))
        .route("/rules", post(add::<S>).merge(delete(clear::<S>)))
        .route("/hold/{on}", post(hold::<S>))
        .route("/finish", post(finish::<S>))
        .route("/lock/{on}", post(lock::<S>))
        .route("/expire", post(expire::<S>))
}

async fn requests<S: Simulated>(State(service): State<S>) -> Json<Map<String, Value>> {
    let requests = service.accepted();
    let billed: f64 = requests.iter().map(|request| request.billed_units).sum();
    let mut all = Map::new();
    all.insert("requests".to_owned(), json!(requests));
    all.insert("billed_units".to_owned(), json!(billed));
    all.extend(service.counted().into_iter().map(|(name, count)| (name.to_owned(), json!(count))));
    Json(all)
}

async fn add<S: Simulated>(
    State(service): State<S>,
    Json(rule): Json<Rule<S::Fault>>,
) -> StatusCode {
    service.rules().add(rule);
    StatusCode::NO_CONTENT
}

async fn clear<S: Simulated>(State(service): State<S>) -> StatusCode {
    service.rules().clear();
    StatusCode::NO_CONTENT
}

async fn hold<S: Simulated>(State(service): State<S>, Path(on): Path<bool>) -> StatusCode {
    service.hold(on);
    StatusCode::NO_CONTENT
}

async fn finish<S: Simulated>(State(service): State<S>) -> StatusCode {
    service.let_finish().await;
    StatusCode::NO_CONTENT
}

async fn lock<S: Simulated>(State(service): State<S>, Path(on): Path<bool>) -> StatusCode {
    service.lock(on);
    StatusCode::NO_CONTENT
}

async fn expire<S: Simulated>(State(service): State<S>) -> StatusCode {
    service.expire();
    StatusCode::NO_CONTENT
}

/// The client with which a simulator reports to whoever asked to be called.
#[expect(clippy::disallowed_methods, reason = "it calls whoever asked to be called")]
pub(crate) fn reporter() -> io::Result<reqwest::Client> {
    // Another test may have done it.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(std::time::Duration::from_secs(15))
        .build()
        .map_err(io::Error::other)
}
