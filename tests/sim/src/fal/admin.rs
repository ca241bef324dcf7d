//! What fal.ai's simulator does besides what all do ([`crate::admin`]).

use axum::{
    Json, Router,
    extract::{Path, State},
    response::IntoResponse,
    routing::post,
};
use http::StatusCode;
use serde_json::json;

use super::{Fal, fault::Fault};
use crate::{
    admin::{self, Simulated},
    faults::Rules,
    record::Entry,
};

impl Simulated for Fal {
    type Fault = Fault;

    fn rules(&self) -> &Rules<Fault> {
        self.rules()
    }

    fn accepted(&self) -> Vec<Entry> {
        self.accepted()
    }

    fn counted(&self) -> Vec<(&'static str, usize)> {
        vec![("key_reads", self.key_reads())]
    }

    fn hold(&self, hold: bool) {
        self.hold(hold);
    }

    fn lock(&self, lock: bool) {
        self.lock(lock);
    }

    async fn let_finish(&self) {
        self.let_finish().await;
    }

    fn expire(&self) {
        self.expire();
    }
}

/// | route | |
/// |---|---|
/// | `POST /rotate/{true,false}` | a new key; whether the old one stays published |
/// | `POST /deliver/{id}` | a callback once more |
pub(super) fn router() -> Router<Fal> {
    admin::router::<Fal>()
        .route("/rotate/{keep}", post(rotate))
        .route("/deliver/{id}", post(deliver))
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
