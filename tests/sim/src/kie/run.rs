//! A task on its way: accepted, made, ended; and as it is shown.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Kie, RUN, callback,
    fault::{Fault, MediaFault, RunFault},
    now_ms,
    task::{End, New, Task},
};
use crate::{
    input,
    media::{self, Media},
    record::Entry,
};

pub(super) fn accept(
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
        files: Vec::new(),
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
        _ => match made(&kie, &task).await {
            Ok(media) => (End::Success(vec![media]), task.credits),
            Err((code, text)) => (End::Fail { code: code.to_owned(), text }, 0.0),
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

/// Reads the files that it is to work on, and works; or its code and words for a failure.
async fn made(kie: &Kie, task: &Task) -> Result<Media, (&'static str, String)> {
    let read = input::read(&kie.0.client, &task.input).await;
    let read =
        read.map_err(|(field, _)| ("451", format!("{field}: Failed to fetch the image.")))?;
    kie.0.record.change(&task.id, |entry| entry.files = read);
    make(task).map_err(|error| ("422", error.to_string()))
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
