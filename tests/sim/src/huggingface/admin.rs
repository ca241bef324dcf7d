//! What no real service has: looking at what it did, and telling it what to do next.

use axum::{
    Json, Router,
    extract::{Path, State},
    response::IntoResponse,
    routing::{delete, get, post, put},
};
use http::StatusCode;
use serde_json::json;

use super::{HuggingFace, Shape, fault::Fault};
use crate::faults::Rule;

/// | route | |
/// |---|---|
/// | `GET /requests` | everything that was accepted, with what it costs |
/// | `POST /rules`, `DELETE /rules` | what shall go wrong |
/// | `PUT /shape` | how the hub answers |
/// | `POST /hold/{true,false}` | new calls wait until `POST /finish` |
/// | `POST /finish` | ends every call |
/// | `POST /lock/{true,false}` | the account |
/// | `POST /expire` | results are gone |
pub(super) fn router() -> Router<HuggingFace> {
    Router::new()
        .route("/requests", get(requests))
        .route("/rules", post(add).merge(delete(clear)))
        .route("/shape", put(shape))
        .route("/hold/{on}", post(hold))
        .route("/finish", post(finish))
        .route("/lock/{on}", post(lock))
        .route("/expire", post(expire))
}

async fn requests(State(hf): State<HuggingFace>) -> impl IntoResponse {
    let requests = hf.accepted();
    let billed: f64 = requests.iter().map(|request| request.billed_units).sum();
    let (hub_reads, leaks) = (hf.hub_reads(), hf.leaks());
    let body = json!({
        "requests": requests, "billed_units": billed, "hub_reads": hub_reads, "leaks": leaks,
    });
    Json(body)
}

async fn add(State(hf): State<HuggingFace>, Json(rule): Json<Rule<Fault>>) -> StatusCode {
    hf.rules().add(rule);
    StatusCode::NO_CONTENT
}

async fn clear(State(hf): State<HuggingFace>) -> StatusCode {
    hf.rules().clear();
    StatusCode::NO_CONTENT
}

async fn shape(State(hf): State<HuggingFace>, Json(shape): Json<Shape>) -> StatusCode {
    hf.shape(shape);
    StatusCode::NO_CONTENT
}

async fn hold(State(hf): State<HuggingFace>, Path(on): Path<bool>) -> StatusCode {
    hf.hold(on);
    StatusCode::NO_CONTENT
}

async fn finish(State(hf): State<HuggingFace>) -> StatusCode {
    hf.let_finish().await;
    StatusCode::NO_CONTENT
}

async fn lock(State(hf): State<HuggingFace>, Path(on): Path<bool>) -> StatusCode {
    hf.lock(on);
    StatusCode::NO_CONTENT
}

async fn expire(State(hf): State<HuggingFace>) -> StatusCode {
    hf.expire();
    StatusCode::NO_CONTENT
}
