//! What the real Google has not: looking at what it did, and telling it what to do next.

use axum::{
    Json, Router,
    extract::State,
    response::IntoResponse,
    routing::{delete, get, post},
};
use http::StatusCode;
use serde_json::json;

use super::{Google, Person, fault::Fault};
use crate::faults::Rule;

/// | route | |
/// |---|---|
/// | `GET /requests` | everything that reached the token endpoint |
/// | `POST /person` | who comes to the consent page from now on |
/// | `POST /rules`, `DELETE /rules` | what shall go wrong |
/// | `POST /rotate` | the next key signs |
pub(super) fn router() -> Router<Google> {
    Router::new()
        .route("/requests", get(requests))
        .route("/person", post(person))
        .route("/rules", post(add).merge(delete(clear)))
        .route("/rotate", post(rotate))
}

async fn requests(State(google): State<Google>) -> impl IntoResponse {
    Json(json!({"exchanges": google.exchanges(), "key_reads": google.key_reads()}))
}

async fn person(State(google): State<Google>, Json(person): Json<Person>) -> StatusCode {
    google.set_person(person);
    StatusCode::NO_CONTENT
}

async fn add(State(google): State<Google>, Json(rule): Json<Rule<Fault>>) -> StatusCode {
    google.rules().add(rule);
    StatusCode::NO_CONTENT
}

async fn clear(State(google): State<Google>) -> StatusCode {
    google.rules().clear();
    StatusCode::NO_CONTENT
}

async fn rotate(State(google): State<Google>) -> StatusCode {
    google.rotate();
    StatusCode::NO_CONTENT
}
