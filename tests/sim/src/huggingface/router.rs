//! The router and the providers behind it.

use std::{collections::HashMap, sync::Arc, sync::atomic::Ordering, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::{Value, json};

use super::{
    HuggingFace, TOKEN, admin,
    fault::{Failure, Fault, MediaFault, SubmitFault},
    hub::{self, is_video},
    run::{Run, Stage},
};
use crate::{record::authorization, serve::lost};

pub(super) fn router(hf: HuggingFace) -> Router {
    Router::new()
        .route("/api/models/{owner}/{name}", get(hub::model))
        .route("/files/{id}/{name}", get(file))
        .nest("/admin", admin::router())
        .fallback(route)
        .with_state(hf)
}

/// A call, as far as all providers are alike.
struct Asked<'a> {
    hf: &'a HuggingFace,
    headers: &'a HeaderMap,
    body: Value,
    queue: bool,
}

fn failure(failure: &Failure) -> Response {
    let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match &failure.body {
        Value::String(page) => {
            (status, [(header::CONTENT_TYPE, "text/html")], page.clone()).into_response()
        }
        body => (status, Json(body)).into_response(),
    };
    if let Some(seconds) = failure.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn not_found() -> Response {
    failure(&Failure::json(404, json!({"status": "NOT_FOUND"})))
}

async fn route(
    State(hf): State<HuggingFace>,
    method: Method,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let expected = format!("Bearer {TOKEN}");
    if headers.get(header::AUTHORIZATION).is_none_or(|token| token != expected.as_str()) {
        return failure(&Failure::error(401, "Invalid username or password."));
    }
    let queue = query.get("_subdomain").is_some_and(|name| name == "queue");
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let asked = Asked { hf: &hf, headers: &headers, body, queue };
    let path = uri.path().trim_matches('/');
    let (provider, rest) = path.split_once('/').unwrap_or((path, ""));
    match (provider, method.as_str()) {
        ("hf-inference", "POST") => asked.hf_inference(rest).await,
        ("fal-ai", "POST") => asked.fal(rest).await,
        ("fal-ai", "GET") if queue => asked.fal_look(rest),
        ("together", "POST") => asked.together(rest).await,
        ("together", "GET") => asked.together_look(rest),
        ("replicate", "POST") => asked.replicate(rest).await,
        ("replicate", "GET") => asked.replicate_look(rest),
        ("wavespeed", "POST") => asked.wavespeed(rest).await,
        ("wavespeed", "GET") => asked.wavespeed_look(rest),
        _ => not_found(),
    }
}

impl Asked<'_> {
    /// Accepts a call with this input, or refuses it; `Ok` has the fault of the answer.
    fn accept(
        &self,
        model: &str,
        input: &Value,
    ) -> Result<(Arc<Run>, Option<SubmitFault>), Failure> {
        let text = input["prompt"].as_str().unwrap_or_default();
        if text.is_empty() {
            let detail =
                json!([{"loc": ["body", "prompt"], "msg": "field required", "type": "missing"}]);
            return Err(Failure::json(422, json!({"detail": detail})));
        }
        if self.hf.is_locked() {
            return Err(Failure::depleted());
        }
        let fault = self.hf.0.rules.take(text, |fault| match fault {
            Fault::Submit(fault) => Some(fault.clone()),
            _ => None,
        });
        match fault {
            Some(SubmitFault::Refuse(refusal)) => Err(refusal),
            fault => {
                let run = Run::start(self.hf, model, input, authorization(self.headers));
                Ok((run, fault))
            }
        }
    }

    /// The answer to a call that was accepted, unless something is wrong with it.
    async fn answer(&self, fault: Option<SubmitFault>, answer: Response) -> Response {
        match fault {
            Some(SubmitFault::LoseAnswer) => lost(),
            Some(SubmitFault::Page(status)) => failure(&Failure::page(status)),
            Some(SubmitFault::Late(millis)) => {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                answer
            }
            _ => answer,
        }
    }

    /// Raw bytes, when they are made.
    async fn hf_inference(&self, path: &str) -> Response {
        let Some(model) = path.strip_prefix("models/") else { return not_found() };
        let mut input = self.body["parameters"].clone();
        input["prompt"] = self.body["inputs"].clone();
        let (run, fault) = match self.accept(model, &input) {
            Ok(accepted) => accepted,
            Err(refused) => return failure(&refused),
        };
        run.ended().await;
        let answer = match run.stage() {
            Stage::Done { media, .. } => match &fault {
                Some(SubmitFault::Base64) => {
                    let text = STANDARD.encode(&media.bytes);
                    Json(json!({"data": [{"b64_json": text}]})).into_response()
                }
                Some(SubmitFault::Output) => {
                    Json(json!({"output": [self.place(&run)]})).into_response()
                }
                _ => ([(header::CONTENT_TYPE, media.content_type)], media.bytes).into_response(),
            },
            Stage::Failed(text) => failure(&Failure::error(500, &text)),
            Stage::Running => failure(&Failure::page(504)),
        };
        self.answer(fault, answer).await
    }

    /// The whole rest of the path is the model: the provider's own id begins with `fal-ai/` too.
    async fn fal(&self, model: &str) -> Response {
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

    fn fal_look(&self, path: &str) -> Response {
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
                let kind = if text.contains("NSFW") { "content_policy_violation" } else { "other" };
                let detail = json!([{"loc": ["body", "prompt"], "msg": text, "type": kind}]);
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

    async fn together(&self, path: &str) -> Response {
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

    fn together_look(&self, path: &str) -> Response {
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

    async fn replicate(&self, path: &str) -> Response {
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

    fn replicate_look(&self, path: &str) -> Response {
        let run = path.strip_prefix("v1/predictions/").and_then(|id| self.hf.find(id));
        let Some(run) = run.filter(|run| !run.is_expired()) else { return not_found() };
        match self.look_fault(&run) {
            Some(fault) => failure(&fault),
            None => Json(self.prediction(&run)).into_response(),
        }
    }

    async fn wavespeed(&self, path: &str) -> Response {
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

    fn wavespeed_look(&self, path: &str) -> Response {
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

    fn look_fault(&self, run: &Run) -> Option<Failure> {
        self.hf.0.rules.take(&run.text, |fault| match fault {
            Fault::Look(fault) => Some(fault.clone()),
            _ => None,
        })
    }

    /// Where a file is: on the provider's own servers.
    fn place(&self, run: &Run) -> String {
        let elsewhere = self.hf.0.rules.take(&run.text, |fault| match fault {
            Fault::Media(MediaFault::Elsewhere(base)) => Some(base.clone()),
            _ => None,
        });
        let base = elsewhere.unwrap_or_else(|| self.hf.base());
        format!("{base}/files/{}/0", run.id)
    }
}

async fn file(
    State(hf): State<HuggingFace>,
    Path((id, _)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if headers.contains_key(header::AUTHORIZATION) {
        hf.0.leaks.fetch_add(1, Ordering::SeqCst);
        return StatusCode::BAD_REQUEST.into_response();
    }
    let Some(run) = hf.find(&id) else { return not_found() };
    let gone = hf.0.rules.take(&run.text, |fault| match fault {
        Fault::Media(MediaFault::Gone) => Some(()),
        _ => None,
    });
    match run.media().filter(|_| gone.is_none()) {
        Some(media) => ([(header::CONTENT_TYPE, media.content_type)], media.bytes).into_response(),
        None => not_found(),
    }
}
