//! Wavespeed: everything is looked at, and wrapped.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::{Asked, failure, not_found};
use crate::huggingface::run::Stage;

impl Asked<'_> {
    pub(super) async fn wavespeed(&self, path: &str) -> Response {
        let Some(model) = path.strip_prefix("api/v3/") else { return not_found() };
        let (run, fault) = match self.accept(model, &self.body) {
            Ok(accepted) => accepted,
            Err(refused) => return failure(&refused),
        };
        let place = format!("https://api.wavespeed.ai/api/v3/predictions/{}/result", run.id);
        let data = json!({"id": run.id, "status": "created", "urls": {"get": place}});
        let answer = json!({"code": 200, "message": "success", "data": data});
        self.answer(fault, Json(answer).into_response()).await
    }

    pub(super) fn wavespeed_look(&self, path: &str) -> Response {
        let id = path.strip_prefix("api/v3/predictions/").and_then(|id| id.strip_suffix("/result"));
        let run = id.and_then(|id| self.hf.find(id)).filter(|run| !run.is_expired());
        let Some(run) = run else { return not_found() };
        if let Some(fault) = self.look_fault(&run) {
            return failure(&fault);
        }
        let mut data = json!({"id": run.id, "status": "processing", "outputs": [], "error": ""});
        match run.stage() {
            Stage::Running => {}
            Stage::Done { .. } => {
                data["status"] = json!("completed");
                data["outputs"] = json!([self.place(&run)]);
            }
            Stage::Failed(text) => {
                data["status"] = json!("failed");
                data["error"] = json!(text);
            }
        }
        Json(json!({"code": 200, "message": "success", "data": data})).into_response()
    }
}
