//! Files for inputs: taken as base64, kept, and read from where the answer says. A file of the same
//! name is written over.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::{
    Kie,
    fault::{Fault, Refusal},
    http::{let_in, refuse},
};

/// A file.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    content_type: String,
    bytes: Bytes,
}

pub(super) async fn put(
    State(kie): State<Kie>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if let Err(nobody) = let_in(&headers) {
        return refuse(&nobody);
    }
    let fault = kie.0.rules.take("", |fault| match fault {
        Fault::Upload(refusal) => Some(refusal.clone()),
        _ => None,
    });
    if let Some(refusal) = fault {
        return refuse(&refusal);
    }
    let folder = body["uploadPath"].as_str().unwrap_or_default().trim_matches('/');
    let Some(upload) = read(&body).filter(|_| !folder.is_empty()) else {
        return refuse(&Refusal::inside_200(400, "base64Data and uploadPath are required"));
    };
    let random = || uuid::Uuid::new_v4().simple().to_string();
    let name = body["fileName"].as_str().map_or_else(random, str::to_owned);
    let path = format!("{folder}/{name}");
    let data = json!({
        "fileName": name, "filePath": path, "downloadUrl": format!("{}/uploads/{path}", kie.base()),
        "fileSize": upload.bytes.len(), "mimeType": upload.content_type,
        "uploadedAt": "2026-11-27T00:00:00.000Z",
    });
    kie.uploads().insert(path, upload);
    Json(json!({"success": true, "code": 200, "msg": "File uploaded successfully", "data": data}))
        .into_response()
}

/// Plain base64, or a `data:` URI.
fn read(body: &Value) -> Option<Upload> {
    let text = body["base64Data"].as_str()?;
    let (content_type, data) = match text.strip_prefix("data:") {
        Some(rest) => rest.split_once(";base64,")?,
        None => ("application/octet-stream", text),
    };
    let bytes = STANDARD.decode(data).ok().filter(|bytes| !bytes.is_empty())?;
    Some(Upload { content_type: content_type.to_owned(), bytes: bytes.into() })
}

pub(super) async fn get(State(kie): State<Kie>, Path(path): Path<String>) -> Response {
    match kie.uploads().get(&path).cloned() {
        Some(file) => ([(header::CONTENT_TYPE, file.content_type)], file.bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
