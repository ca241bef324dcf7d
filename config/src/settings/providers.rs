//! The section about outside providers: keys, addresses, and where their media may be read from.

use secrecy::SecretString;
use serde::Serialize;

use super::{
    reader::{Reader, from_str},
    shown,
    urls::BaseUrl,
};
use crate::net::Origins;

/// Outside providers.
#[derive(Debug, Clone, Serialize)]
pub struct Providers {
    /// Whether the demo provider answers with the result where it can.
    pub demo_at_once: bool,
    /// The key for fal.ai.
    #[serde(serialize_with = "shown::secret")]
    pub fal_key: Option<SecretString>,
    /// fal.ai's queue.
    pub fal_url: BaseUrl,
    /// Where media of fal.ai is.
    pub fal_media_hosts: Origins,
    /// Our own account at fal.ai.
    #[serde(serialize_with = "shown::or_not_set")]
    pub fal_user_id: Option<String>,
    /// The keys that sign fal.ai's callbacks.
    pub fal_jwks_url: BaseUrl,
    /// fal.ai's platform API.
    pub fal_api_url: BaseUrl,
    /// The key for that.
    #[serde(serialize_with = "shown::secret")]
    pub fal_admin_key: Option<SecretString>,
    /// The token for Hugging Face.
    #[serde(serialize_with = "shown::secret")]
    pub hf_token: Option<SecretString>,
    /// Hugging Face's router.
    pub hf_url: BaseUrl,
    /// Hugging Face's hub, which knows who serves a model.
    pub hf_hub_url: BaseUrl,
    /// Where media of the providers behind Hugging Face is.
    pub hf_media_hosts: Origins,
    /// The key for kie.ai.
    #[serde(serialize_with = "shown::secret")]
    pub kie_api_key: Option<SecretString>,
    /// The key that callbacks of kie.ai are signed with.
    #[serde(serialize_with = "shown::secret")]
    pub kie_webhook_key: Option<SecretString>,
    /// kie.ai's API.
    pub kie_url: BaseUrl,
    /// Where kie.ai takes files.
    pub kie_upload_url: BaseUrl,
    /// Where media of kie.ai is.
    pub kie_media_hosts: Origins,
}

/// Whether a provider's models are offered under these settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// They are.
    Yes,
    /// Not without this environment variable.
    NeedsKey(&'static str),
    /// There is no provider of this name.
    Unknown,
}

impl Providers {
    /// Every provider.
    pub const NAMES: [&'static str; 4] = ["demo", "fal", "huggingface", "kieai"];

    /// Whether the models of the provider called `name` are offered.
    #[must_use]
    pub fn offer(&self, name: &str) -> Offer {
        let (key, variable) = match name {
            "demo" => return Offer::Yes,
            "fal" => (&self.fal_key, "FAL_KEY"),
            "huggingface" => (&self.hf_token, "HF_TOKEN"),
            "kieai" => (&self.kie_api_key, "KIE_API_KEY"),
            _ => return Offer::Unknown,
        };
        if key.is_some() { Offer::Yes } else { Offer::NeedsKey(variable) }
    }

    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let demo_at_once = reader.required("providers.demo_at_once", from_str("true or false"));
        let fal_key = reader.secret("providers.fal_key");
        let fal_url = reader.required("providers.fal_url", str::parse);
        let fal_media_hosts = origins(reader, "providers.fal_media_hosts");
        let fal_user_id = reader.optional("providers.fal_user_id", |text| Ok(text.to_owned()));
        let fal_jwks_url = reader.required("providers.fal_jwks_url", str::parse);
        let fal_api_url = reader.required("providers.fal_api_url", str::parse);
        let fal_admin_key = reader.secret("providers.fal_admin_key");
        let hf_token = reader.secret("providers.hf_token");
        let hf_url = reader.required("providers.hf_url", str::parse);
        let hf_hub_url = reader.required("providers.hf_hub_url", str::parse);
        let hf_media_hosts = origins(reader, "providers.hf_media_hosts");
        let kie_api_key = reader.secret("providers.kie_api_key");
        let kie_webhook_key = reader.secret("providers.kie_webhook_key");
        let kie_url = reader.required("providers.kie_url", str::parse);
        let kie_upload_url = reader.required("providers.kie_upload_url", str::parse);
        let kie_media_hosts = origins(reader, "providers.kie_media_hosts");
        Some(Self {
            demo_at_once: demo_at_once?,
            fal_key: fal_key?,
            fal_url: fal_url?,
            fal_media_hosts: fal_media_hosts?,
            fal_user_id: fal_user_id?,
            fal_jwks_url: fal_jwks_url?,
            fal_api_url: fal_api_url?,
            fal_admin_key: fal_admin_key?,
            hf_token: hf_token?,
            hf_url: hf_url?,
            hf_hub_url: hf_hub_url?,
            hf_media_hosts: hf_media_hosts?,
            kie_api_key: kie_api_key?,
            kie_webhook_key: kie_webhook_key?,
            kie_url: kie_url?,
            kie_upload_url: kie_upload_url?,
            kie_media_hosts: kie_media_hosts?,
        })
    }
}

fn origins(reader: &mut Reader, key: &'static str) -> Option<Origins> {
    let (words, place) = reader.list(key)?;
    match Origins::parse(&words) {
        Ok(origins) => Some(origins),
        Err(problem) => {
            reader.bad(key, place, problem);
            None
        }
    }
}
