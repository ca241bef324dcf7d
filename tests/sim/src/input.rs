//! The files of an input, read as a service's model reads them: followed, or decoded. What cannot
//! be read makes the run fail, as it does at the service.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// How a file came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// By a link that was followed.
    Link,
    /// In the input itself.
    Data,
}

/// A file of an input that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRead {
    /// The input's field.
    pub field: String,
    /// How it came.
    pub way: Way,
    /// Its SHA-256, in hex.
    pub sha256: String,
}

/// Why a file could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It did not come.
    NotFetched,
    /// It is no picture.
    NoPicture,
}

/// Whether a model of this name works on a picture.
#[must_use]
pub fn wants_picture(model: &str) -> bool {
    let model = model.to_lowercase();
    ["image-to-", "edit", "i2v", "kontext"].iter().any(|word| model.contains(word))
}

/// The files that an input names: its texts under names that speak of images, and not of sizes.
#[must_use]
pub fn places(input: &Value) -> Vec<(String, String)> {
    let fields = input.as_object().into_iter().flatten();
    let media = fields.filter(|(name, _)| name.contains("image") && !name.contains("size"));
    let mut places = Vec::new();
    for (name, value) in media {
        let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let texts = items.iter().filter_map(Value::as_str);
        places.extend(texts.map(|text| (name.clone(), text.to_owned())));
    }
    places
}

/// Reads all of them.
///
/// # Errors
/// The first that cannot be read, with its field.
pub async fn read(
    client: &reqwest::Client,
    input: &Value,
) -> Result<Vec<FileRead>, (String, Unreadable)> {
    let mut files = Vec::new();
    for (field, place) in places(input) {
        let (way, bytes) = match place.strip_prefix("data:") {
            Some(rest) => (Way::Data, decoded(rest)),
            None => (Way::Link, followed(client, &place).await),
        };
        let Some(bytes) = bytes else { return Err((field, Unreadable::NotFetched)) };
        if image::load_from_memory(&bytes).is_err() {
            return Err((field, Unreadable::NoPicture));
        }
        files.push(FileRead { field, way, sha256: hex::encode(Sha256::digest(&bytes)) });
    }
    Ok(files)
}

fn decoded(rest: &str) -> Option<Vec<u8>> {
    let (_, text) = rest.split_once(";base64,")?;
    STANDARD.decode(text).ok()
}

async fn followed(client: &reqwest::Client, url: &str) -> Option<Vec<u8>> {
    let answer = client.get(url).send().await.ok()?;
    let bytes = answer.error_for_status().ok()?.bytes().await.ok()?;
    Some(bytes.to_vec())
}
