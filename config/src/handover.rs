//! How media of an input reaches a provider: as a link of ours where the provider can follow one,
//! else as the bytes themselves, within what the provider takes.
//!
//! Decided from the settings alone, so that a submit refuses what a worker could not hand over.
//! Nothing is stored and nothing can fail.

use url::Url;

use crate::{net::reaches, settings::Settings};

/// A `data:` URI of a larger file is nothing that fal.ai or a provider behind Hugging Face promises to
/// take: a request has a few megabytes of JSON, not more.
const DATA: u64 = 10_000_000;
/// Replicate asks for files below 1 MB in `data:` URIs.
const DATA_REPLICATE: u64 = 1_000_000;
/// kie.ai asks for files of at most 10 MB in uploads by base64.
const UPLOAD: u64 = 10_000_000;

/// How media of an input reaches a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// It follows a link of ours.
    Link,
    /// The bytes stand in the input, as `data:` URIs.
    Data {
        /// Of all files of one input, in bytes.
        most: u64,
    },
    /// The bytes are put where the provider keeps files for a while, before the call.
    Upload {
        /// Of each file, in bytes.
        most: u64,
    },
    /// There is no way.
    Never,
}

impl Handover {
    /// Whether files of these sizes can be handed over.
    #[must_use]
    pub fn takes(self, sizes: &[u64]) -> bool {
        match self {
            Self::Link => true,
            Self::Data { most } => sizes.iter().sum::<u64>() <= most,
            Self::Upload { most } => sizes.iter().all(|size| *size <= most),
            Self::Never => sizes.is_empty(),
        }
    }

    /// What is too large, for the user whose files were not taken.
    #[must_use]
    pub fn limit(self) -> Option<String> {
        match self {
            Self::Link | Self::Never => None,
            Self::Data { most } => Some(format!("{most} bytes of files together")),
            Self::Upload { most } => Some(format!("files of {most} bytes each")),
        }
    }
}

impl Settings {
    /// How media of an input reaches this provider's model.
    #[must_use]
    pub fn handover(&self, provider: &str, provider_model: &str) -> Handover {
        let providers = &self.providers;
        let (service, bytes) = match provider {
            // It runs here and fetches nothing.
            "demo" => return Handover::Data { most: u64::MAX },
            "fal" => (&providers.fal_url, Handover::Data { most: DATA }),
            "huggingface" => match provider_model.rsplit_once(':') {
                // It takes a picture as the body of a call, which none of ours is.
                Some((_, "hf-inference")) => return Handover::Never,
                Some((_, "replicate")) => {
                    (&providers.hf_url, Handover::Data { most: DATA_REPLICATE })
                }
                _ => (&providers.hf_url, Handover::Data { most: DATA }),
            },
            "kieai" => (&providers.kie_url, Handover::Upload { most: UPLOAD }),
            _ => return Handover::Link,
        };
        if self.is_reached_from(service.as_url()) { Handover::Link } else { bytes }
    }

    fn is_reached_from(&self, service: &Url) -> bool {
        !self.inputs.as_bytes && reaches(self.media.public_url.as_url(), service)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::settings::{Mode, Sources};

    fn settings(env: &[(&str, &str)]) -> Settings {
        let env: BTreeMap<String, String> =
            env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::load(Sources { file: None, env, mode: Mode::Embedded }).unwrap()
    }

    #[test]
    fn a_link_is_handed_over_only_to_whom_can_follow_it() {
        let public = settings(&[("TIKTOMATO__MEDIA__PUBLIC_URL", "https://media.example.com")]);
        let closed = settings(&[]);
        let told = settings(&[
            ("TIKTOMATO__MEDIA__PUBLIC_URL", "https://media.example.com"),
            ("TIKTOMATO__INPUTS__AS_BYTES", "true"),
        ]);
        let simulated = settings(&[("TIKTOMATO__PROVIDERS__FAL_URL", "http://127.0.0.1:9")]);
        let (ten, one) = (Handover::Data { most: 10_000_000 }, Handover::Data { most: 1_000_000 });
        for (provider, model, bytes) in [
            ("fal", "fal-ai/flux/dev/image-to-image", ten),
            ("huggingface", "a/b:fal-ai", ten),
            ("huggingface", "a/b:replicate", one),
            ("kieai", "qwen/image-edit", Handover::Upload { most: 10_000_000 }),
        ] {
            assert_eq!(public.handover(provider, model), Handover::Link, "{provider}");
            assert_eq!(closed.handover(provider, model), bytes, "{provider}");
            assert_eq!(told.handover(provider, model), bytes, "{provider}");
        }
        assert_eq!(simulated.handover("fal", "fal-ai/x"), Handover::Link);
        assert_eq!(public.handover("huggingface", "a/b:hf-inference"), Handover::Never);
    }

    #[test]
    fn what_is_too_large_is_known_before() {
        let data = Handover::Data { most: 10 };
        assert!(data.takes(&[4, 6]) && data.takes(&[]) && !data.takes(&[4, 7]));
        let upload = Handover::Upload { most: 10 };
        assert!(upload.takes(&[10, 10]) && !upload.takes(&[1, 11]));
        assert!(Handover::Link.takes(&[u64::MAX]));
        assert!(Handover::Never.takes(&[]) && !Handover::Never.takes(&[1]));
    }
}
