//! Files for inputs: kie.ai takes them, keeps them for a day or three, and names the place.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{
    KieProvider,
    errors::{self, Verdict},
};
use crate::providers::{InputFile, Refusal};

/// The folder that they are put in; a file of the same name there would be written over.
const FOLDER: &str = "images/tiktomato";

/// Where it is.
#[derive(Debug, Deserialize)]
struct Stored {
    #[serde(rename = "downloadUrl", alias = "download_url", alias = "fileUrl")]
    place: Url,
}

impl KieProvider {
    pub(super) async fn put(&self, file: &InputFile) -> Result<Url, Refusal> {
        let data = STANDARD.encode(&file.bytes);
        let extension = file.content_type.strip_prefix("image/").unwrap_or("bin");
        let body = json!({
            "base64Data": format!("data:{};base64,{data}", file.content_type),
            "uploadPath": FOLDER,
            "fileName": format!("{}.{extension}", file.name),
        });
        let request = self.client.post(self.uploads.at("/api/file-base64-upload")).json(&body);
        let answer = self.ask(request).await?;
        let verdict = errors::verdict(&answer);
        if let Verdict::Good(data) = &verdict {
            return match Stored::deserialize(data) {
                Ok(Stored { place }) if matches!(place.scheme(), "https" | "http") => Ok(place),
                _ => Err(Refusal::Unavailable("it does not say where the file is".to_owned())),
            };
        }
        Err(match errors::at_submit(&answer, &verdict) {
            // The file was looked at before; what it refuses here is not the user's input.
            Refusal::Rejected(words) => Refusal::Unavailable(format!("the file: {words}")),
            refusal => refusal,
        })
    }
}
