//! Where an answer has its media: bytes in it, or addresses.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use url::Url;

use crate::providers::{Artifact, ArtifactSource};

/// Files at these addresses, if there are any and all of them are addresses.
pub(in super::super) fn at(files: &[String]) -> Option<Vec<Artifact>> {
    let files = files.iter().map(|file| {
        let source = ArtifactSource::Url(Url::parse(file).ok()?);
        Some(Artifact { content_type: None, source })
    });
    files.collect::<Option<Vec<_>>>().filter(|files| !files.is_empty())
}

/// The media of a JSON answer, in whichever field a provider has them. A picture that the content
/// rules have blacked out is none.
pub(super) fn media(body: &Value) -> Option<Vec<Artifact>> {
    if let Some(data) = body["data"].as_array() {
        return all(data.iter().map(|file| match file["b64_json"].as_str() {
            Some(text) => bytes(text),
            None => located(file),
        }));
    }
    if let files @ [_, ..] = urls(&body["output"]).as_slice() {
        return at(files);
    }
    let flagged = |index: usize| match &body["has_nsfw_concepts"] {
        Value::Array(flags) => flags.get(index).and_then(Value::as_bool).unwrap_or(false),
        flag => flag.as_bool().unwrap_or(false),
    };
    let many = body["images"].as_array().or_else(|| body["videos"].as_array());
    let one = [&body["image"], &body["video"]].into_iter().find(|file| file.is_object());
    let files: Vec<&Value> = many.into_iter().flatten().chain(one).collect();
    let kept = files.iter().enumerate().filter(|(index, _)| !flagged(*index));
    all(kept.map(|(_, file)| located(file)))
}

fn all(files: impl Iterator<Item = Option<Artifact>>) -> Option<Vec<Artifact>> {
    files.collect::<Option<Vec<_>>>().filter(|files| !files.is_empty())
}

fn located(file: &Value) -> Option<Artifact> {
    let url = file["url"].as_str().or_else(|| file.as_str())?;
    let content_type = file["content_type"].as_str().map(str::to_owned);
    Some(Artifact { content_type, source: ArtifactSource::Url(Url::parse(url).ok()?) })
}

fn bytes(text: &str) -> Option<Artifact> {
    let text = text.split_once("base64,").map_or(text, |(_, text)| text);
    let bytes = STANDARD.decode(text.trim()).ok()?;
    Some(Artifact { content_type: None, source: ArtifactSource::Bytes(bytes.into()) })
}

/// One address, or a list of them.
pub(super) fn urls(value: &Value) -> Vec<String> {
    match value {
        Value::String(url) => vec![url.clone()],
        Value::Array(urls) => {
            urls.iter().filter_map(|url| url.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}
