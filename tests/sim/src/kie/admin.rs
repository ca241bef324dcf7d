//! What kie.ai's simulator does besides what all do ([`crate::admin`]).

use axum::{
    Router,
    extract::{Path, State},
    routing::post,
};
use http::StatusCode;

use super::{Kie, fault::Fault};
use crate::{
    admin::{self, Simulated},
    faults::Rules,
    record::Entry,
};

impl Simulated for Kie {
    type Fault = Fault;

    fn rules(&self) -> &Rules<Fault> {
        self.rules()
    }

    fn accepted(&self) -> Vec<Entry> {
        self.accepted()
    }

    fn counted(&self) -> Vec<(&'static str, usize)> {
        vec![("refused", self.refused())]
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
/// | `POST /sign/{true,false}` | whether callbacks are signed |
pub(super) fn router() -> Router<Kie> {
    admin::router::<Kie>().route("/sign/{on}", post(sign))
}

async fn sign(State(kie): State<Kie>, Path(on): Path<bool>) -> StatusCode {
    kie.sign(on);
    StatusCode::NO_CONTENT
}
