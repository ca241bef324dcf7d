//! What Hugging Face's simulator does besides what all do ([`crate::admin`]).

use axum::{Json, Router, extract::State, routing::put};
use http::StatusCode;

use super::{HuggingFace, Shape, fault::Fault};
use crate::{
    admin::{self, Simulated},
    faults::Rules,
    record::Entry,
};

impl Simulated for HuggingFace {
    type Fault = Fault;

    fn rules(&self) -> &Rules<Fault> {
        self.rules()
    }

    fn accepted(&self) -> Vec<Entry> {
        self.accepted()
    }

    fn counted(&self) -> Vec<(&'static str, usize)> {
        vec![("hub_reads", self.hub_reads()), ("leaks", self.leaks())]
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
/// | `PUT /shape` | how the hub answers |
pub(super) fn router() -> Router<HuggingFace> {
    admin::router::<HuggingFace>().route("/shape", put(shape))
}

async fn shape(State(hf): State<HuggingFace>, Json(shape): Json<Shape>) -> StatusCode {
    hf.shape(shape);
    StatusCode::NO_CONTENT
}
