//! fal.ai: a queue, or an answer when it is made.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde_json::json;

use super::{Asked, failure, not_found};
use crate::huggingface::{
    fault::{Failure, Fault},
    run::{Run, Stage, UNREAD},
};

impl Asked<'_> {
    /// The whole rest of the path is the model: the provider's own id begins with `fal-ai/` too.
    pub(super) async fn fal(&self, model: &str) -> Response {
        if !model.starts_with("fal-ai/") {
            return failure(&Failure::json(404, json!({"detail": "Application not found"})));
        }
        let (run, fault) = match self.accept(model, &self.body) {
            Ok(accepted) => accepted,
            Err(refused) => return failure(&refused),
        };
        if !self.queue {
            run.ended().await;
            return self.answer(fault, self.fal_result(&run)).await;
        }
        // Their own address: our token must not go there.
        let place = format!("https://queue.fal.run{}", run.path);
        let answer = json!({"status": "IN_QUEUE", "request_id": run.id, "response_url": place,
            "status_url": format!("{place}/status"), "queue_position": 0});
        self.answer(fault, Json(answer).into_response()).await
    }

    pub(super) fn fal_look(&self, path: &str) -> Response {
        let (place, is_status) = match path.strip_suffix("/status") {
            Some(place) => (place, true),
            None => (path, false),
        };
        let run = place.rsplit('/').next().and_then(|id| self.hf.find(id));
        let Some(run) = run.filter(|run| run.path.trim_start_matches('/') == place) else {
            return not_found();
        };
        if let Some(fault) = self.look_fault(&run).filter(|_| is_status) {
            return failure(&fault);
        }
        if !is_status {
            let fault = self.hf.0.rules.take(&run.text, |fault| match fault {
                Fault::Result(fault) => Some(fault.clone()),
                _ => None,
            });
            return match fault {
                Some(fault) => failure(&fault),
                None => self.fal_result(&run),
            };
        }
        match run.stage() {
            Stage::Running => {
                let body = json!({"status": "IN_PROGRESS", "request_id": run.id, "logs": null});
                (StatusCode::ACCEPTED, Json(body)).into_response()
            }
            Stage::Done { .. } | Stage::Failed(_) => {
                Json(json!({"status": "COMPLETED", "request_id": run.id, "logs": []}))
                    .into_response()
            }
        }
    }

    fn fal_result(&self, run: &Run) -> Response {
        match run.stage() {
            _ if run.is_expired() => not_found(),
            Stage::Running => {
                failure(&Failure::json(400, json!({"detail": "Request is still in progress"})))
            }
            Stage::Failed(text) => {
                let (field, kind) = if text.contains("NSFW") {
                    ("prompt", "content_policy_violation")
                } else if text.starts_with(UNREAD) {
                    ("image_url", "file_download_error")
                } else {
                    ("prompt", "other")
                };
                let detail = json!([{"loc": ["body", field], "msg": text, "type": kind}]);
                failure(&Failure::json(422, json!({"detail": detail})))
            }
            Stage::Done { media, black } => {
                let file = json!({"url": self.place(run), "content_type": media.content_type});
                if media.content_type == "image/gif" {
                    return Json(json!({"video": file})).into_response();
                }
                let body =
                    json!({"images": [file], "has_nsfw_concepts": [black], "seed": u64::MAX});
                Json(body).into_response()
            }
        }
    }
}
