//! Where a request is asked about.
//!
//! The service says so in its answer to a submit. Its links are followed only to the configured
//! address, because every call carries the key; any other is replaced by the link that the
//! documentation describes.

use config::settings::BaseUrl;
use serde::{Deserialize, Serialize};
use url::Url;

use super::wire::Queued;
use crate::providers::Refusal;

/// The longest id that is believed.
const LONGEST_ID: usize = 128;

/// The links of one accepted request; kept with the attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Links {
    pub(super) status: Url,
    pub(super) response: Url,
    pub(super) cancel: Url,
}

/// A model's place in the service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endpoint<'a> {
    base: &'a BaseUrl,
    model: &'a str,
}

impl<'a> Endpoint<'a> {
    /// # Errors
    /// When `model` is not an endpoint's name: the catalogue is at fault.
    pub(super) fn new(base: &'a BaseUrl, model: &'a str) -> Result<Self, Refusal> {
        let fits = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if model.split('/').count() >= 2 && model.split('/').all(fits) {
            return Ok(Self { base, model });
        }
        Err(Refusal::Account(format!("the catalogue's {model:?} is no endpoint of fal.ai")))
    }

    /// Where to submit.
    pub(super) fn submit(self) -> Result<Url, Refusal> {
        self.at(&format!("/{}", self.model))
    }

    /// The links to a request: those that were returned, if they lead to the configured address.
    pub(super) fn links(self, queued: &Queued) -> Result<Links, Refusal> {
        let built = self.built(&queued.request_id)?;
        let choose = |returned: Option<&String>, built: Url| {
            let returned = returned.and_then(|text| Url::parse(text).ok());
            match returned.filter(|url| self.is_ours(url)) {
                Some(url) => url,
                None => built,
            }
        };
        Ok(Links {
            status: choose(queued.status_url.as_ref(), built.status),
            response: choose(queued.response_url.as_ref(), built.response),
            cancel: choose(queued.cancel_url.as_ref(), built.cancel),
        })
    }

    /// The links that were kept, as far as they still lead to the configured address.
    pub(super) fn kept(
        self,
        handle: &serde_json::Value,
        request_id: &str,
    ) -> Result<Links, Refusal> {
        let built = self.built(request_id)?;
        Ok(Links::deserialize(handle)
            .ok()
            .filter(|kept| {
                [&kept.status, &kept.response, &kept.cancel]
                    .into_iter()
                    .all(|url| self.is_ours(url))
            })
            .unwrap_or(built))
    }

    /// The links that the documentation describes: they leave out what follows `owner/app`.
    pub(super) fn built(self, request_id: &str) -> Result<Links, Refusal> {
        check_id(request_id)?;
        let parts = match self.model.split('/').next() {
            Some("workflows" | "comfy") => 3,
            _ => 2,
        };
        let app: Vec<&str> = self.model.split('/').take(parts).collect();
        let request = format!("/{}/requests/{request_id}", app.join("/"));
        Ok(Links {
            status: self.at(&format!("{request}/status"))?,
            response: self.at(&request)?,
            cancel: self.at(&format!("{request}/cancel"))?,
        })
    }

    fn at(self, path: &str) -> Result<Url, Refusal> {
        Url::parse(&self.base.at(path))
            .map_err(|error| Refusal::Unavailable(format!("the address is wrong: {error}")))
    }

    fn is_ours(self, url: &Url) -> bool {
        url.origin() == self.base.as_url().origin()
            && url.username().is_empty()
            && url.password().is_none()
    }
}

fn check_id(request_id: &str) -> Result<(), Refusal> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let length = request_id.len();
    if length == 0 || length > LONGEST_ID || !request_id.bytes().all(fits) {
        return Err(Refusal::Unknown("fal.ai gives no such request ids".to_owned()));
    }
    Ok(())
}

/// Where a request's words and files are deleted, on the platform API.
pub(super) fn payloads(api: &BaseUrl, request_id: &str) -> Result<Url, Refusal> {
    check_id(request_id)?;
    Url::parse(&api.at(&format!("/v1/models/requests/{request_id}/payloads")))
        .map_err(|error| Refusal::Unavailable(format!("the address is wrong: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn links(model: &str, answer: serde_json::Value) -> Links {
        let base = "https://queue.fal.run".parse().unwrap();
        let queued: Queued = serde_json::from_value(answer).unwrap();
        Endpoint::new(&base, model).unwrap().links(&queued).unwrap()
    }

    #[test]
    fn built_links_leave_the_sub_path_out() {
        let at = |model| links(model, json!({"request_id": "r-1"})).response.to_string();
        assert_eq!(at("fal-ai/flux/dev"), "https://queue.fal.run/fal-ai/flux/requests/r-1");
        assert_eq!(at("fal-ai/flux"), "https://queue.fal.run/fal-ai/flux/requests/r-1");
        assert_eq!(at("workflows/me/x/y"), "https://queue.fal.run/workflows/me/x/requests/r-1");
    }

    #[test]
    fn the_key_goes_to_the_configured_address_only() {
        let ours = "https://queue.fal.run/fal-ai/flux/dev/requests/r-1/response";
        for (returned, followed) in [
            (json!(ours), true),
            (json!("https://queue.fal.run.evil.com/x"), false),
            (json!("https://queue.fal.run@evil.com/x"), false),
            (json!("http://queue.fal.run/x"), false),
            (json!("https://queue.fal.run:8443/x"), false),
            (json!("https://me:pw@queue.fal.run/x"), false),
            (json!("//evil.com/x"), false),
            (json!(null), false),
            (json!(7), false),
        ] {
            let answer = json!({"request_id": "r-1", "response_url": returned});
            let chosen = links("fal-ai/flux/dev", answer).response;
            let built = "https://queue.fal.run/fal-ai/flux/requests/r-1";
            assert_eq!(chosen.as_str(), if followed { ours } else { built }, "{returned}");
        }
        // What was kept is checked again: the settings may have changed since.
        let base = "https://queue.falrun.com".parse().unwrap();
        let kept = serde_json::to_value(links("a/b", json!({"request_id": "r-1"}))).unwrap();
        let again = Endpoint::new(&base, "a/b").unwrap().kept(&kept, "r-1").unwrap();
        assert_eq!(again.status.as_str(), "https://queue.falrun.com/a/b/requests/r-1/status");
    }

    #[test]
    fn strange_names_are_refused() {
        let base = "https://queue.fal.run".parse().unwrap();
        for model in ["", "flux", "a/../b", "a//b", "/a/b", "a/b?x", "a/b c"] {
            assert!(Endpoint::new(&base, model).is_err(), "{model}");
        }
        let endpoint = Endpoint::new(&base, "a/b").unwrap();
        for id in ["", "../x", "a/b", "a?b", "\"\n{", &"x".repeat(129)] {
            assert!(endpoint.built(id).is_err(), "{id}");
        }
    }
}
