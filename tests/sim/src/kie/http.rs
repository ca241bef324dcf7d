//! The HTTP side: tasks and media.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::{
    BURST, KEY, Kie, LOOKS, RUN, admin, callback,
    fault::{CreateFault, Fault, MediaFault, Refusal, RunFault},
    now_ms,
    task::{End, New, Task},
};
use crate::{
    media::{self, Media},
    record::{Entry, authorization},
    serve::lost,
};

pub(super) fn router(kie: Kie) -> Router {
    let api = Router::new()
        .route("/jobs/createTask", post(create))
        .route("/jobs/recordInfo", get(record_info))
        .route("/chat/credit", get(credit))
        .layer(middleware::from_fn(gateway));
    Router::new()
        .nest("/api/v1", api)
        .route("/files/{id}/{name}", get(file))
        .nest("/admin", admin::router())
        .with_state(kie)
}

/// What stands in front of the service lets in only clients that say who they are.
async fn gateway(request: Request, next: Next) -> Response {
    let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    if agent.is_none_or(|agent| agent.trim().is_empty() || agent.starts_with("python-")) {
        return (StatusCode::FORBIDDEN, "error code: 1010").into_response();
    }
    next.run(request).await
}

fn refuse(refusal: &Refusal) -> Response {
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
fn let_in(headers: &HeaderMap) -> Result<(), Refusal> {
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

fn accept(
    kie: &Kie,
    model: &str,
    input: &Value,
    request: &Value,
    authorization: String,
) -> Arc<Task> {
    let slow =
        kie.0.rules.take(input["prompt"].as_str().unwrap_or_default(), |fault| match fault {
            Fault::Run(RunFault::Slow(millis)) => Some(Duration::from_millis(*millis)),
            _ => None,
        });
    let seconds = seconds(input);
    let task = Arc::new(Task::new(New {
        id: format!("task_{}", uuid::Uuid::new_v4().simple()),
        model: model.to_owned(),
        input: input.clone(),
        param: request.to_string(),
        callback: request["callBackUrl"].as_str().map(str::to_owned),
        created_ms: now_ms(),
        time: slow.unwrap_or(RUN),
        credits: if is_video(model) { 10.0 * f64::from(seconds) } else { 4.0 },
        held: kie.0.held.load(Ordering::SeqCst),
    }));
    kie.0.record.accept(Entry {
        id: task.id.clone(),
        model: model.to_owned(),
        input: input.clone(),
        authorization,
        callback: task.callback.clone(),
        ended: None,
        ended_at: None,
        billed_units: 0.0,
        deliveries: Vec::new(),
    });
    kie.tasks().insert(task.id.clone(), Arc::clone(&task));
    tokio::spawn(run(kie.clone(), Arc::clone(&task)));
    task
}

async fn run(kie: Kie, task: Arc<Task>) {
    let fault = kie.0.rules.take(&task.text, |fault| match fault {
        Fault::Run(RunFault::Slow(_)) => None,
        Fault::Run(fault) => Some(fault.clone()),
        _ => None,
    });
    let early = callback::early(&kie, &task).await;
    tokio::time::sleep(task.time).await;
    if fault == Some(RunFault::Stall) {
        return;
    }
    task.released().await;
    let (end, units) = match fault {
        Some(RunFault::Fail(code, text)) => (End::Fail { code, text }, 0.0),
        Some(RunFault::NoResult) => (End::Success(Vec::new()), task.credits),
        _ => match make(&task) {
            Ok(media) => (End::Success(vec![media]), task.credits),
            Err(error) => (End::Fail { code: "422".to_owned(), text: error.to_string() }, 0.0),
        },
    };
    let word = if matches!(end, End::Success(_)) { "succeeded" } else { "failed" };
    task.finish(end, now_ms());
    kie.0.record.change(&task.id, |entry| {
        entry.end(word, units);
    });
    if !early {
        callback::report(&kie, &task).await;
    }
}

fn make(task: &Task) -> image::ImageResult<Media> {
    if is_video(&task.model) {
        return media::film(&task.text, seconds(&task.input));
    }
    let jpeg = matches!(task.input["output_format"].as_str(), Some("jpeg" | "jpg"));
    media::picture(&task.text, 96, 64, jpeg, false)
}

fn is_video(model: &str) -> bool {
    model.contains("video")
}

fn seconds(input: &Value) -> u32 {
    let asked = match &input["duration"] {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        _ => None,
    };
    asked.unwrap_or(5).clamp(1, 20)
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

/// A task as looks and callbacks show it.
pub(super) fn shown(kie: &Kie, task: &Task) -> Value {
    let mut data = json!({
        "taskId": task.id, "model": task.model, "state": task.word(), "param": task.param,
        "resultJson": "", "failCode": "", "failMsg": "", "costTime": null,
        "createTime": task.created_ms, "updateTime": task.created_ms, "completeTime": null,
        "creditsConsumed": null,
    });
    match task.end() {
        Some(End::Success(media)) => {
            let result = if media.is_empty() {
                json!({})
            } else {
                json!({"resultUrls": urls(kie, task, &media)})
            };
            data["resultJson"] = json!(result.to_string());
            data["creditsConsumed"] = json!(task.credits);
        }
        Some(End::Fail { code, text }) => {
            data["resultJson"] = Value::Null;
            data["failCode"] = json!(code);
            data["failMsg"] = json!(text);
            data["creditsConsumed"] = json!(0);
        }
        None => {
            let empty = kie.0.rules.take(&task.text, |fault| match fault {
                Fault::EmptyResult(value) => Some(value.clone()),
                _ => None,
            });
            data["resultJson"] = empty.unwrap_or_else(|| json!(""));
            return data;
        }
    }
    let ended = task.ended_ms().unwrap_or(task.created_ms);
    data["costTime"] = json!(ended - task.created_ms);
    data["updateTime"] = json!(ended);
    data["completeTime"] = json!(ended);
    data
}

fn urls(kie: &Kie, task: &Task, media: &[Media]) -> Vec<String> {
    let elsewhere = kie.0.rules.take(&task.text, |fault| match fault {
        Fault::Media(MediaFault::Elsewhere(base)) => Some(base.clone()),
        _ => None,
    });
    let base = elsewhere.unwrap_or_else(|| kie.base());
    let url = |(index, media): (usize, &Media)| {
        format!("{base}/files/{}/{index}.{}", task.id, media.extension)
    };
    media.iter().enumerate().map(url).collect()
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
