//! Replicate: a prediction, which may be waited for.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Asked, failure, not_found};
use crate::huggingface::{
    hub::is_video,
    run::{Run, Stage},
};

impl Asked<'_> {
    pub(super) async fn replicate(&self, path: &str) -> Response {
        let named =
            path.strip_prefix("v1/models/").and_then(|rest| rest.strip_suffix("/predictions"));
        let version = self.body["version"].as_str().filter(|_| path == "v1/predictions");
        let Some(model) = named.or(version) else { return not_found() };
        let (run, fault) = match self.accept(model, &self.body["input"]) {
            Ok(accepted) => accepted,
            Err(refused) => return failure(&refused),
        };
        let patience = self.headers.get("prefer").and_then(|wait| wait.to_str().ok());
        let wait = match patience {
            // As long as it takes, up to a minute.
            Some("wait") => 60,
            // Pictures are usually made in so short a time, videos are not.
            Some(wait) if !is_video(model) => {
                wait.strip_prefix("wait=").and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
            }
            Some(_) | None => 0,
        };
        drop(tokio::time::timeout(Duration::from_secs(wait), run.ended()).await);
        let answer = (StatusCode::CREATED, Json(self.prediction(&run))).into_response();
        self.answer(fault, answer).await
    }

    fn prediction(&self, run: &Run) -> Value {
        let mut body = json!({
            "id": run.id, "status": "processing", "output": null, "error": null,
            "urls": {"get": format!("https://api.replicate.com/v1/predictions/{}", run.id)},
        });
        match run.stage() {
            Stage::Running => {}
            Stage::Done { .. } => {
                body["status"] = json!("succeeded");
                body["output"] = json!([self.place(run)]);
            }
            Stage::Failed(text) => {
                body["status"] = json!("failed");
                body["error"] = json!(text);
            }
        }
        body
    }

    pub(super) fn replicate_look(&self, path: &str) -> Response {
        let run = path.strip_prefix("v1/predictions/").and_then(|id| self.hf.find(id));
        let Some(run) = run.filter(|run| !run.is_expired()) else { return not_found() };
        match self.look_fault(&run) {
            Some(fault) => failure(&fault),
            None => Json(self.prediction(&run)).into_response(),
        }
    }
}
