//! Together: pictures at once, videos to look at.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{Asked, failure, not_found};
use crate::huggingface::{fault::Failure, run::Stage};

impl Asked<'_> {
    pub(super) async fn together(&self, path: &str) -> Response {
        let model = self.body["model"].as_str().unwrap_or_default().to_owned();
        let (run, fault) = match self.accept(&model, &self.body) {
            Ok(accepted) => accepted,
            Err(refused) => return failure(&refused),
        };
        if path == "v2/videos" {
            let answer = json!({"id": run.id, "status": "queued", "model": model});
            return self.answer(fault, Json(answer).into_response()).await;
        }
        run.ended().await;
        let answer = match run.stage() {
            Stage::Done { media, .. } if self.body["response_format"] == "base64" => {
                let text = STANDARD.encode(&media.bytes);
                Json(json!({"data": [{"index": 0, "b64_json": text}]})).into_response()
            }
            Stage::Done { .. } => {
                Json(json!({"data": [{"index": 0, "url": self.place(&run)}]})).into_response()
            }
            Stage::Failed(text) => {
                let error = json!({"error": {"message": text, "type": "server_error"}});
                failure(&Failure::json(422, error))
            }
            Stage::Running => failure(&Failure::page(504)),
        };
        self.answer(fault, answer).await
    }

    pub(super) fn together_look(&self, path: &str) -> Response {
        let run = path.strip_prefix("v2/videos/").and_then(|id| self.hf.find(id));
        let Some(run) = run.filter(|run| !run.is_expired()) else { return not_found() };
        if let Some(fault) = self.look_fault(&run) {
            return failure(&fault);
        }
        let mut body = json!({"id": run.id, "object": "video"});
        match run.stage() {
            Stage::Running => body["status"] = json!("in_progress"),
            Stage::Done { .. } => {
                body["status"] = json!("completed");
                body["outputs"] = json!({"video_url": self.place(&run), "cost": 1});
            }
            Stage::Failed(text) => {
                body["status"] = json!("failed");
                body["error"] = json!({"message": text, "code": "failed"});
            }
        }
        Json(body).into_response()
    }
}
