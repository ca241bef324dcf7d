//! What no real service has: looking at what it did, and telling it what to do next.

use axum::{
    Json, Router,
    extract::{Path, State},
    response::IntoResponse,
    routing::{delete, get, post},
};
use http::StatusCode;
use serde_json::json;

use super::{Fal, fault::Fault};
use crate::faults::Rule;

/// | route | |
/// |---|---|
/// | `GET /requests` | everything that was accepted, with what it costs |
/// | `POST /rules`, `DELETE /rules` | what shall go wrong |
/// | `POST /hold/{true,false}` | new requests wait until `POST /finish` |
/// | `POST /finish` | ends every request |
/// | `POST /lock/{true,false}` | the account |
/// | `POST /expire` | results are gone |
/// | `POST /rotate/{true,false}` | a new key; whether the old one stays published |
/// | `POST /deliver/{id}` | a callback once more |
pub(super) fn router() -> Router<Fal> {
    Router::new()
        .route("/requests", get(requests))
        .route("/rules", post(add).merge(delete(clear)))
        .route("/hold/{on}", post(hold))
        .route("/finish", post(finish))
        .route("/lock/{on}", post(lock))
        .route("/expire", post(expire))
        .route("/rotate/{keep}", post(rotate))
        .route("/deliver/{id}", post(deliver))
}

async fn requests(State(fal): State<Fal>) -> impl IntoResponse {
    let requests = fal.accepted();
    let billed: f64 = requests.iter().map(|request| request.billed_units).sum();
    Json(json!({"requests": requests, "billed_units": billed, "key_reads": fal.key_reads()}))
}

async fn add(State(fal): State<Fal>, Json(rule): Json<Rule<Fault>>) -> StatusCode {
    fal.rules().add(rule);
    StatusCode::NO_CONTENT
}

async fn clear(State(fal): State<Fal>) -> StatusCode {
    fal.rules().clear();
    StatusCode::NO_CONTENT
}

async fn hold(State(fal): State<Fal>, Path(on): Path<bool>) -> StatusCode {
    fal.hold(on);
    StatusCode::NO_CONTENT
}

async fn finish(State(fal): State<Fal>) -> StatusCode {
    fal.let_finish().await;
    StatusCode::NO_CONTENT
}

async fn lock(State(fal): State<Fal>, Path(on): Path<bool>) -> StatusCode {
    fal.lock(on);
    StatusCode::NO_CONTENT
}

async fn expire(State(fal): State<Fal>) -> StatusCode {
    fal.expire();
    StatusCode::NO_CONTENT
}

async fn rotate(State(fal): State<Fal>, Path(keep): Path<bool>) -> StatusCode {
    match fal.rotate(keep) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn deliver(State(fal): State<Fal>, Path(id): Path<String>) -> impl IntoResponse {
    match fal.deliver_again(&id).await {
        Ok(status) => Json(json!({"status": status})).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
