//! The HTTP side: queue, media and public keys.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Query, State},
    response::{IntoResponse as _, Response},
    routing::{delete, get},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use serde_json::{Value, json};

use super::{
    Fal, admin,
    fault::{Failure, Fault, MediaFault, SubmitFault},
    request::{New, Outcome, Request, Stage},
    run,
};
use crate::{
    record::{Entry, authorization},
    serve::{LARGEST_BODY, lost},
};

pub(super) fn router(fal: Fal) -> Router {
    Router::new()
        .route("/.well-known/jwks.json", get(keys))
        .route("/files/{id}/{name}", get(file))
        .route("/v1/models/requests/{id}/payloads", delete(forget))
        .nest("/admin", admin::router())
        .fallback(queue)
        // An input may hold a file.
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(fal)
}

async fn keys(State(fal): State<Fal>) -> Response {
    fal.0.key_reads.fetch_add(1, Ordering::SeqCst);
    let set = fal.signer().key_set();
    axum::Json(set).into_response()
}

async fn file(State(fal): State<Fal>, Path((id, name)): Path<(String, String)>) -> Response {
    let not_found = || StatusCode::NOT_FOUND.into_response();
    let index = name.split('.').next().and_then(|index| index.parse().ok());
    let (Some(request), Some(index)) = (fal.find(&id), index) else { return not_found() };
    let Some(media) = request.media(index) else { return not_found() };
    let kind = [(header::CONTENT_TYPE, media.content_type)];
    let fault = fal.0.rules.take(&request.text, |fault| match fault {
        Fault::Media(MediaFault::Elsewhere(_)) => None,
        Fault::Media(fault) => Some(fault.clone()),
        _ => None,
    });
    match fault {
        Some(MediaFault::Gone) => not_found(),
        Some(MediaFault::Garbage) => (kind, "this is no picture").into_response(),
        Some(MediaFault::Redirect(to)) => {
            (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
        }
        Some(MediaFault::Busy(until)) => {
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, until)]).into_response()
        }
        Some(MediaFault::Torn) => {
            let half = media.bytes.slice(..media.bytes.len() / 2);
            // Hyper closes a connection whose body is shorter than was promised.
            let length = [(header::CONTENT_LENGTH, media.bytes.len().to_string())];
            (kind, length, Body::from_stream(Half(Some(half)))).into_response()
        }
        Some(MediaFault::Elsewhere(_)) | None => (kind, media.bytes).into_response(),
    }
}

/// The first half of a file, then an error.
struct Half(Option<Bytes>);

impl futures::Stream for Half {
    type Item = std::io::Result<Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let torn = || std::io::Error::other("torn");
        std::task::Poll::Ready(Some(self.0.take().ok_or_else(torn)))
    }
}

/// The platform API: words and files of a request are deleted.
async fn forget(State(fal): State<Fal>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let expected = format!("Key {}", fal.0.key);
    if headers.get(header::AUTHORIZATION).is_none_or(|key| key != expected.as_str()) {
        return reply(401, &[], &json!({"error": {"type": "authorization_error"}}));
    }
    let Some(request) = fal.find(&id) else {
        return reply(404, &[], &json!({"error": {"type": "not_found"}}));
    };
    let results: Vec<Value> = (0..request.forget())
        .map(|n| json!({"link": format!("{}/files/{id}/{n}.jpg", fal.base()), "exception": null}))
        .collect();
    fal.0.record.change(&id, |entry| entry.input = Value::Null);
    reply(200, &[], &json!({"cdn_delete_results": results}))
}

/// `/{owner}/{app}[/path]` takes submits; below `requests/{id}` is the rest. The sub-path may be
/// there too: older documentation has it.
async fn queue(
    State(fal): State<Fal>,
    method: Method,
    uri: Uri,
    query: Query<std::collections::HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let expected = format!("Key {}", fal.0.key);
    if headers.get(header::AUTHORIZATION).is_none_or(|key| key != expected.as_str()) {
        return failure(&Failure::text(
            401,
            "Cannot access application. Authentication is required",
        ));
    }
    let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    match parts.iter().position(|part| *part == "requests") {
        None if method == Method::POST && parts.len() >= 2 => {
            submit(&fal, &parts.join("/"), &query, &headers, &body).await
        }
        Some(at) if at >= 2 && parts.len() > at + 1 => {
            let known = fal.find(parts[at + 1]);
            let owner = parts[..2].join("/");
            let request = known.filter(|request| request.model.starts_with(&owner));
            let Some(request) = request else {
                return reply(404, &[], &json!({"status": "NOT_FOUND"}));
            };
            match (method.as_str(), parts.get(at + 2).copied()) {
                ("GET", Some("status")) => status(&fal, &request),
                ("GET", None | Some("response")) => result(&request),
                ("PUT", Some("cancel")) => cancel(&request),
                _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
            }
        }
        _ => failure(&Failure::text(404, "Application not found")),
    }
}

async fn submit(
    fal: &Fal,
    model: &str,
    query: &std::collections::HashMap<String, String>,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    let Ok(input @ Value::Object(_)) = serde_json::from_slice::<Value>(body) else {
        return failure(&Failure::text(422, "the body is no JSON object"));
    };
    let text = input["prompt"].as_str().unwrap_or_default().to_owned();
    if fal.0.locked.load(Ordering::SeqCst) {
        return failure(&Failure::locked());
    }
    let fault = fal.0.rules.take(&text, |fault| match fault {
        Fault::Submit(fault) => Some(fault.clone()),
        _ => None,
    });
    if let Some(SubmitFault::Refuse(refusal)) = &fault {
        return failure(refusal);
    }
    let seconds = headers.get("x-fal-request-start-timeout").and_then(|v| v.to_str().ok());
    let seconds = seconds.and_then(|text| text.parse::<f64>().ok());
    if seconds.is_some_and(|seconds| seconds <= 0.1) {
        return failure(&Failure::typed(400, "bad_request"));
    }
    let request = Arc::new(Request::new(New {
        id: uuid::Uuid::new_v4().to_string(),
        model: model.to_owned(),
        input: input.clone(),
        callback: query.get("fal_webhook").cloned(),
        start_timeout: seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()),
        held: fal.0.held.load(Ordering::SeqCst),
    }));
    fal.0.record.accept(Entry {
        id: request.id.clone(),
        model: model.to_owned(),
        input,
        files: Vec::new(),
        authorization: authorization(headers),
        callback: request.callback.clone(),
        ended: None,
        ended_at: None,
        billed_units: 0.0,
        deliveries: Vec::new(),
    });
    fal.requests().insert(request.id.clone(), Arc::clone(&request));
    tokio::spawn(run::run(fal.clone(), Arc::clone(&request)));
    accepted(fal, &request, fault).await
}

async fn accepted(fal: &Fal, request: &Request, fault: Option<SubmitFault>) -> Response {
    let mut answer = links(&fal.base(), request);
    answer["status"] = json!("IN_QUEUE");
    answer["queue_position"] = json!(fal.waiting().saturating_sub(1));
    let id = request.id.as_str();
    match fault {
        Some(SubmitFault::LoseAnswer) => return lost(),
        Some(SubmitFault::Late(millis)) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        Some(SubmitFault::Garbage) => return "<html>Gateway</html>".into_response(),
        Some(SubmitFault::Links(base)) => {
            let more = links(&base, request);
            answer = json!({"request_id": id, "status_url": more["status_url"],
                "response_url": more["response_url"], "cancel_url": more["cancel_url"]});
        }
        Some(SubmitFault::NoLinks) => {
            answer = json!({"request_id": id, "gateway_request_id": id});
        }
        Some(SubmitFault::OldLinks) => {
            let full = format!("{}/{}/requests/{id}", fal.base(), request.model);
            answer = json!({"request_id": id, "status_url": format!("{full}/status"),
                "response_url": format!("{full}/response"), "cancel_url": format!("{full}/cancel")});
        }
        Some(SubmitFault::Refuse(_)) | None => {}
    }
    reply(200, &[("x-fal-request-id", id)], &answer)
}

fn links(base: &str, request: &Request) -> Value {
    let mut parts = request.model.split('/');
    let count = if matches!(parts.next(), Some("workflows" | "comfy")) { 3 } else { 2 };
    let app: Vec<&str> = request.model.split('/').take(count).collect();
    let at = format!("{base}/{}/requests/{}", app.join("/"), request.id);
    json!({
        "request_id": request.id, "response_url": at, "status_url": format!("{at}/status"),
        "cancel_url": format!("{at}/cancel"),
    })
}

fn status(fal: &Fal, request: &Request) -> Response {
    let fault = fal.0.rules.take(&request.text, |fault| match fault {
        Fault::Look(fault) => Some(fault.clone()),
        _ => None,
    });
    if let Some(fault) = fault {
        return failure(&fault);
    }
    let mut answer = links(&fal.base(), request);
    let code = match request.stage() {
        Stage::Queued => {
            answer["status"] = json!("IN_QUEUE");
            answer["queue_position"] = json!(fal.waiting().saturating_sub(1));
            202
        }
        Stage::Running => {
            answer["status"] = json!("IN_PROGRESS");
            answer["logs"] = Value::Null;
            202
        }
        Stage::Completed => {
            answer["status"] = json!("COMPLETED");
            answer["logs"] = json!([]);
            let seconds = request.accepted_at.elapsed().as_secs_f64();
            answer["metrics"] = json!({"inference_time": seconds});
            if let Some(Outcome::Error(failure, true)) = request.outcome() {
                answer["error"] = json!(format!("Invalid status code: {}", failure.status));
                if let Some(kind) = failure.body["error_type"].as_str() {
                    answer["error_type"] = json!(kind);
                }
            }
            200
        }
    };
    reply(code, &[], &answer)
}

fn result(request: &Request) -> Response {
    let units = request.units().to_string();
    let headers = [("x-fal-billable-units", units.as_str()), ("x-fal-request-id", &request.id)];
    match request.outcome() {
        None => reply(400, &[], &json!({"detail": "Request is still in progress"})),
        Some(_) if request.is_expired() => reply(404, &[], &json!({"status": "NOT_FOUND"})),
        Some(Outcome::Output(output)) => reply(200, &headers, &output),
        Some(Outcome::Error(mut error, _)) => {
            let more = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
            error.headers.extend(more);
            failure(&error)
        }
    }
}

fn cancel(request: &Request) -> Response {
    if request.stage() == Stage::Completed {
        return reply(400, &[], &json!({"status": "ALREADY_COMPLETED"}));
    }
    request.ask_to_cancel();
    reply(202, &[], &json!({"status": "CANCELLATION_REQUESTED"}))
}

pub(super) fn failure(failure: &Failure) -> Response {
    let headers: Vec<(&str, &str)> =
        failure.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    match &failure.body {
        Value::String(text) => {
            let status = StatusCode::from_u16(failure.status);
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, text.clone()).into_response()
        }
        body => reply(failure.status, &headers, body),
    }
}

fn reply(status: u16, headers: &[(&str, &str)], body: &Value) -> Response {
    let mut response = axum::Json(body).into_response();
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
