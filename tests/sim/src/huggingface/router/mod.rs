//! The router and the providers behind it, of which each answers in its own way; Hugging Face's own
//! is here.

mod fal;
mod replicate;
mod together;
mod wavespeed;

use std::{collections::HashMap, sync::Arc, sync::atomic::Ordering, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::{Value, json};

use super::{
    HuggingFace, TOKEN, admin,
    fault::{Failure, Fault, MediaFault, SubmitFault},
    hub,
    run::{Run, Stage},
};
use crate::{
    record::authorization,
    serve::{LARGEST_BODY, lost},
};

pub(super) fn router(hf: HuggingFace) -> Router {
    Router::new()
        .route("/api/models/{owner}/{name}", get(hub::model))
        .route("/files/{id}/{name}", get(file))
        .nest("/admin", admin::router())
        .fallback(route)
        // An input may hold a file.
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
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
