//! The HTTP side: what is asked, and how it is answered.

use std::{
    collections::HashMap,
    sync::{PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::{
    BURST, KEY, Kie, LOOKS, admin,
    fault::{CreateFault, Fault, MediaFault, Refusal},
    run::{accept, shown},
    upload,
};
use crate::{
    input,
    record::authorization,
    serve::{LARGEST_BODY, lost},
};

pub(super) fn router(kie: Kie) -> Router {
    let api = Router::new()
        .route("/jobs/createTask", post(create))
        .route("/jobs/recordInfo", get(record_info))
        .route("/chat/credit", get(credit))
        .layer(middleware::from_fn_with_state(kie.clone(), gateway));
    Router::new()
        .nest("/api/v1", api)
        .route("/files/{id}/{name}", get(file))
        .route(
            "/api/file-base64-upload",
            post(upload::put).layer(middleware::from_fn_with_state(kie.clone(), gateway)),
        )
        .route("/uploads/{*path}", get(upload::get))
        .nest("/admin", admin::router())
        // A file may come in base64.
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(kie)
}

/// What stands in front of the service lets in only clients that say who they are.
async fn gateway(State(kie): State<Kie>, request: Request, next: Next) -> Response {
    let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let nobody = |agent: &str| agent.trim().is_empty() || agent.starts_with("python-");
    if kie.0.blocked.load(Ordering::SeqCst) || agent.is_none_or(nobody) {
        return (StatusCode::FORBIDDEN, "error code: 1010").into_response();
    }
    next.run(request).await
}

pub(super) fn refuse(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(refusal.body())).into_response();
    if let Some(seconds) = refusal.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn good(data: &Value) -> Response {
    Json(json!({"code": 200, "msg": "success", "data": data})).into_response()
}

/// `Err`: this caller is nobody.
pub(super) fn let_in(headers: &HeaderMap) -> Result<(), Refusal> {
    let expected = format!("Bearer {KEY}");
    let known = headers.get(header::AUTHORIZATION).is_some_and(|key| key == expected.as_str());
    let nobody = Refusal::inside_200(401, "You do not have access permissions");
    known.then_some(()).ok_or(nobody)
}

async fn create(State(kie): State<Kie>, headers: HeaderMap, body: Bytes) -> Response {
    kie.0.creates.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    if let Err(nobody) = let_in(&headers) {
        return refuse(&nobody);
    }
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (model, input) = (request["model"].as_str().unwrap_or_default(), &request["input"]);
    let prompt = input["prompt"].as_str().unwrap_or_default();
    if model.is_empty() || prompt.is_empty() || prompt.chars().count() > 5_000 {
        return refuse(&Refusal::inside_200(
            422,
            "input.prompt is required, up to 5000 characters",
        ));
    }
    // It takes addresses alone.
    let places = input::places(input);
    let address = |place: &(String, String)| place.1.starts_with("http");
    if (places.is_empty() && input::wants_picture(model)) || !places.iter().all(address) {
        return refuse(&Refusal::inside_200(422, "input.image_url is required, and must be a URL"));
    }
    if kie.0.locked.load(Ordering::SeqCst) {
        let empty = "Your current balance isn't enough to run this request.";
        return refuse(&Refusal::inside_200(402, empty));
    }
    if kie.too_many_tasks() {
        let text = format!("more than {BURST} requests in 10 seconds");
        return refuse(&Refusal::inside_200(429, &text).with_status(429));
    }
    let fault = kie.0.rules.take(prompt, |fault| match fault {
        Fault::Create(fault) => Some(fault.clone()),
        _ => None,
    });
    if let Some(CreateFault::Refuse(refusal)) = &fault {
        return refuse(refusal);
    }
    let task = accept(&kie, model, input, &request, authorization(&headers));
    match fault {
        Some(CreateFault::LoseAnswer) => return lost(),
        Some(CreateFault::Page(status)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            let kind = [(header::CONTENT_TYPE, "text/html")];
            return (status, kind, "<html><body><h1>Bad gateway</h1></body></html>")
                .into_response();
        }
        Some(CreateFault::NoId) => return good(&json!({})),
        Some(CreateFault::Late(millis)) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        Some(CreateFault::Refuse(_)) | None => {}
    }
    good(&json!({"taskId": task.id}))
}

async fn record_info(
    State(kie): State<Kie>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    if let Err(nobody) = let_in(&headers) {
        return refuse(&nobody);
    }
    if kie.too_many_looks() {
        let text = format!("more than {LOOKS} queries in a second");
        return refuse(&Refusal::inside_200(429, &text).with_status(429));
    }
    let Some(id) = query.get("taskId").filter(|id| !id.is_empty()) else {
        return refuse(&Refusal::inside_200(400, "taskId is required"));
    };
    let Some(task) = kie.find(id).filter(|task| !task.is_expired()) else {
        return refuse(&Refusal::inside_200(422, "recordInfo is null"));
    };
    let fault = kie.0.rules.take(&task.text, |fault| match fault {
        Fault::Look(refusal) => Some(refusal.clone()),
        _ => None,
    });
    match fault {
        Some(refusal) => refuse(&refusal),
        None => good(&shown(&kie, &task)),
    }
}

async fn credit(State(kie): State<Kie>, headers: HeaderMap) -> Response {
    if let Err(nobody) = let_in(&headers) {
        return refuse(&nobody);
    }
    let billed: f64 = kie.accepted().iter().map(|entry| entry.billed_units).sum();
    let left = if kie.0.locked.load(Ordering::SeqCst) { 0.0 } else { 10_000.0 - billed };
    good(&json!(left))
}

async fn file(
    State(kie): State<Kie>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    // Whoever shows our key to a file server has given it away.
    if headers.contains_key(header::AUTHORIZATION) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let not_found = || StatusCode::NOT_FOUND.into_response();
    let index = name.split('.').next().and_then(|index| index.parse().ok());
    let (Some(task), Some(index)) = (kie.find(&id), index) else { return not_found() };
    let Some(media) = task.media(index).filter(|_| !task.is_expired()) else { return not_found() };
    let fault = kie.0.rules.take(&task.text, |fault| match fault {
        Fault::Media(MediaFault::Elsewhere(_)) => None,
        Fault::Media(fault) => Some(fault.clone()),
        _ => None,
    });
    let kind = [(header::CONTENT_TYPE, media.content_type)];
    match fault {
        Some(MediaFault::Gone) => not_found(),
        Some(MediaFault::Garbage) => (kind, "this is no picture").into_response(),
        Some(MediaFault::Elsewhere(_)) | None => (kind, media.bytes).into_response(),
    }
}
