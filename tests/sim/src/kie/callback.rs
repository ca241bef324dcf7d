//! Callbacks: the same data as a look, signed in part, and sent a few times while nobody takes
//! them. How often the service itself tries is not known.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use serde_json::{Value, json};

use super::{
    Kie, WEBHOOK_KEY,
    fault::{CallbackFault, Fault},
    now_ms,
    run::shown,
    task::{End, Task},
};

/// How often a callback that is not taken is sent.
pub const TRIES: usize = 3;
/// How soon it is sent again.
const AGAIN: Duration = Duration::from_millis(500);

/// A lie does not wait for the end. `true`: it was told.
pub(super) async fn early(kie: &Kie, task: &Arc<Task>) -> bool {
    let lie = kie.0.rules.take(&task.text, |fault| match fault {
        Fault::Callback(lie @ CallbackFault::Lie(_)) => Some(lie.clone()),
        _ => None,
    });
    match &lie {
        None => false,
        Some(_) => {
            deliver(kie, task, lie.as_ref()).await;
            true
        }
    }
}

/// Reports the end of a task, if somebody wants to know.
pub(super) async fn report(kie: &Kie, task: &Arc<Task>) {
    let fault = kie.0.rules.take(&task.text, |fault| match fault {
        Fault::Callback(fault) => Some(fault.clone()),
        _ => None,
    });
    match &fault {
        Some(CallbackFault::Missing) => return,
        Some(CallbackFault::Late(millis)) => {
            tokio::time::sleep(Duration::from_millis(*millis)).await;
        }
        _ => {}
    }
    let times = if fault == Some(CallbackFault::Twice) { 2 } else { 1 };
    for _ in 0..times {
        deliver(kie, task, fault.as_ref()).await;
    }
}

async fn deliver(kie: &Kie, task: &Task, fault: Option<&CallbackFault>) {
    let Some(url) = &task.callback else { return };
    for _ in 0..TRIES {
        let (headers, body) = made(kie, task, fault);
        let mut request = kie.0.client.post(url).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let status = request.body(body).send().await.map_or(0, |answer| answer.status().as_u16());
        kie.0.record.change(&task.id, |entry| entry.deliveries.push(status));
        if (200..300).contains(&status) {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Headers and body of a task's callback.
pub(super) fn made(
    kie: &Kie,
    task: &Task,
    fault: Option<&CallbackFault>,
) -> (Vec<(String, String)>, String) {
    let mut data = shown(kie, task);
    let mut body = match task.end() {
        Some(End::Fail { .. }) => json!({"code": 501, "msg": "Playground task failed."}),
        _ => json!({"code": 200, "msg": "Playground task completed successfully."}),
    };
    let mut id = task.id.clone();
    match fault {
        Some(CallbackFault::Lie(base)) => {
            data["state"] = json!("success");
            let lies = json!({"resultUrls": [format!("{base}/lies.png")]});
            data["resultJson"] = json!(lies.to_string());
        }
        Some(CallbackFault::OtherTask(other)) => {
            id.clone_from(other);
            data["taskId"] = json!(other);
        }
        Some(CallbackFault::SnakeCase) => {
            data["taskId"] = Value::Null;
            data["task_id"] = json!(id);
        }
        Some(CallbackFault::TopLevel) => {
            data["taskId"] = Value::Null;
            body["taskId"] = json!(id);
        }
        _ => {}
    }
    body["data"] = data;
    let mut headers = Vec::new();
    if kie.0.signed.load(Ordering::SeqCst) {
        let forged = fault == Some(&CallbackFault::Forged);
        let key = if forged { "somebody else's" } else { WEBHOOK_KEY };
        headers = signed(key, &id, now_ms() / 1_000);
    }
    (headers, body.to_string())
}

/// The headers that sign a callback about a task, at this second.
#[must_use]
pub fn signed(key: &str, task_id: &str, at: i64) -> Vec<(String, String)> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let signature = hmac::sign(&key, format!("{task_id}.{at}").as_bytes());
    vec![
        ("x-webhook-timestamp".to_owned(), at.to_string()),
        ("x-webhook-signature".to_owned(), STANDARD.encode(signature)),
    ]
}
