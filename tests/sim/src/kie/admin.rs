//! What no real service has: looking at what it did, and telling it what to do next.

use axum::{
    Json, Router,
    extract::{Path, State},
    response::IntoResponse,
    routing::{delete, get, post},
};
use http::StatusCode;
use serde_json::json;

use super::{Kie, fault::Fault};
use crate::faults::Rule;

/// | route | |
/// |---|---|
/// | `GET /requests` | everything that was accepted, with what it costs |
/// | `POST /rules`, `DELETE /rules` | what shall go wrong |
/// | `POST /hold/{true,false}` | new tasks wait until `POST /finish` |
/// | `POST /finish` | ends every task |
/// | `POST /lock/{true,false}` | the account |
/// | `POST /sign/{true,false}` | whether callbacks are signed |
/// | `POST /expire` | results are gone |
pub(super) fn router() -> Router<Kie> {
    Router::new()
        .route("/requests", get(requests))
        .route("/rules", post(add).merge(delete(clear)))
        .route("/hold/{on}", post(hold))
        .route("/finish", post(finish))
        .route("/lock/{on}", post(lock))
        .route("/sign/{on}", post(sign))
        .route("/expire", post(expire))
}

async fn requests(State(kie): State<Kie>) -> impl IntoResponse {
    let requests = kie.accepted();
    let billed: f64 = requests.iter().map(|request| request.billed_units).sum();
    Json(json!({"requests": requests, "billed_units": billed, "refused": kie.refused()}))
}

async fn add(State(kie): State<Kie>, Json(rule): Json<Rule<Fault>>) -> StatusCode {
    kie.rules().add(rule);
    StatusCode::NO_CONTENT
}

async fn clear(State(kie): State<Kie>) -> StatusCode {
    kie.rules().clear();
    StatusCode::NO_CONTENT
}

async fn hold(State(kie): State<Kie>, Path(on): Path<bool>) -> StatusCode {
    kie.hold(on);
    StatusCode::NO_CONTENT
}

async fn finish(State(kie): State<Kie>) -> StatusCode {
    kie.let_finish().await;
    StatusCode::NO_CONTENT
}

async fn lock(State(kie): State<Kie>, Path(on): Path<bool>) -> StatusCode {
    kie.lock(on);
    StatusCode::NO_CONTENT
}

async fn sign(State(kie): State<Kie>, Path(on): Path<bool>) -> StatusCode {
    kie.sign(on);
    StatusCode::NO_CONTENT
}

async fn expire(State(kie): State<Kie>) -> StatusCode {
    kie.expire();
    StatusCode::NO_CONTENT
}
