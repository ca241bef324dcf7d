//! Who serves a model, and under which name: Hugging Face's hub says so.
//!
//! Answers are kept for an hour, in this process; when the hub does not answer, an older one does
//! as well. Nothing is sent to a provider before this is known, so that every failure here is proof
//! that nothing was accepted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use config::{clock::Clock, settings::BaseUrl};
use entities::Timestamp;
use http::{HeaderValue, header};
use reqwest::Client;
use serde::Deserialize;

use super::route::{ModelName, Target, Task, Via};
use crate::{
    providers::{Refusal, answer::Answer},
    retry::{self, Retries},
};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// The longest that the hub may take.
const LIMIT: Duration = Duration::from_secs(8);
/// The largest answer of the hub.
const LARGEST: usize = 1024 * 1024;

/// What the hub says of a model.
type Served = BTreeMap<String, Entry>;

#[derive(Debug, Default, Deserialize)]
struct ModelInfo {
    #[serde(default, rename = "inferenceProviderMapping")]
    mapping: Mapping,
}

/// A list, or by older documentation an object by provider.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Mapping {
    List(Vec<Entry>),
    ByProvider(Served),
    /// Something else is as good as nothing.
    Other(serde::de::IgnoredAny),
    #[default]
    Missing,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    provider: String,
    provider_id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    task: String,
    /// Set where the model is only a change to another one; that takes inputs of its own.
    #[serde(default)]
    adapter: Option<String>,
}

impl ModelInfo {
    fn served(self) -> Served {
        match self.mapping {
            Mapping::List(entries) => {
                entries.into_iter().map(|entry| (entry.provider.clone(), entry)).collect()
            }
            Mapping::ByProvider(served) => served,
            Mapping::Other(_) | Mapping::Missing => Served::new(),
        }
    }
}

/// What the hub said, as long as it is worth something.
pub(super) struct Mappings {
    client: Client,
    hub: BaseUrl,
    clock: Clock,
    retries: Retries,
    kept: Mutex<HashMap<String, (Timestamp, Served)>>,
}

impl Mappings {
    pub(super) fn new(client: Client, hub: BaseUrl, clock: Clock, retries: Retries) -> Self {
        Self { client, hub, clock, retries, kept: Mutex::default() }
    }

    /// Where calls of a model go.
    ///
    /// # Errors
    /// Never `Unknown`: nothing was sent to a provider.
    pub(super) async fn target(
        &self,
        name: &ModelName,
        authorization: &HeaderValue,
    ) -> Result<Target, Refusal> {
        let now = self.clock.now();
        let kept = self.kept().get(&name.model).cloned();
        let served = match kept {
            Some((at, served)) if now.since(at) < KEPT => served,
            kept => match self.read(&name.model, authorization).await {
                Ok(served) => {
                    self.kept().insert(name.model.clone(), (now, served.clone()));
                    served
                }
                Err(refusal) => match kept {
                    Some((_, served)) => {
                        tracing::warn!(%refusal, model = name.model, "an old mapping is used");
                        served
                    }
                    None => return Err(refusal),
                },
            },
        };
        target(name, &served)
    }

    /// The route is gone: the hub may know a new one.
    pub(super) fn forget(&self, name: &ModelName) {
        self.kept().remove(&name.model);
    }

    /// Reads it, again if need be, all within the time that one answer may take.
    async fn read(&self, model: &str, authorization: &HeaderValue) -> Result<Served, Refusal> {
        let ask = || self.ask(model, authorization);
        let read = self.retries.run("mapping", retry::refusal, ask);
        tokio::time::timeout(LIMIT, read)
            .await
            .unwrap_or_else(|_| Err(Refusal::Unavailable("the hub does not answer".to_owned())))
    }

    async fn ask(&self, model: &str, authorization: &HeaderValue) -> Result<Served, Refusal> {
        let request = self
            .client
            .get(self.hub.at(&format!("/api/models/{model}")))
            .query(&[("expand[]", "inferenceProviderMapping")])
            .header(header::AUTHORIZATION, authorization.clone())
            .timeout(LIMIT);
        let answer = Answer::to(request, LARGEST).await.map_err(|refusal| match refusal {
            Refusal::Unknown(text) => Refusal::Unavailable(text),
            other => other,
        })?;
        let words = format!("the hub answered with {} about {model}", answer.status);
        match answer.status.as_u16() {
            200..=299 => answer
                .json::<ModelInfo>()
                .map(ModelInfo::served)
                .ok_or_else(|| Refusal::Unavailable(format!("{words}, and not in JSON"))),
            401..=403 => Err(Refusal::Account(words)),
            429 => Err(Refusal::Throttled { retry_after: answer.retry_after() }),
            _ => Err(match answer.busy_for() {
                None => Refusal::Unavailable(words),
                retry_after => Refusal::Throttled { retry_after },
            }),
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, (Timestamp, Served)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn target(name: &ModelName, served: &Served) -> Result<Target, Refusal> {
    let gone = |why: &str| {
        let (via, model) = (name.via.name(), &name.model);
        Refusal::Unavailable(format!("{via} does not serve {model}: {why}"))
    };
    let entry = served.get(name.via.name()).ok_or_else(|| gone("no mapping"))?;
    if entry.status == "error" {
        return Err(gone("it is out of order there"));
    }
    if entry.adapter.is_some() {
        return Err(gone("it is an adapter"));
    }
    let task = Task::parse(&entry.task).ok_or_else(|| gone("it does something else"))?;
    Target::new(name.via, task, &entry.provider_id)
}

impl Via {
    /// Its name in mappings and in the router's paths.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::HfInference => "hf-inference",
            Self::FalAi => "fal-ai",
            Self::Together => "together",
            Self::Replicate => "replicate",
            Self::Wavespeed => "wavespeed",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(mapping: serde_json::Value) -> Result<Target, Refusal> {
        let info = json!({"id": "a/b", "inferenceProviderMapping": mapping});
        let info: ModelInfo = serde_json::from_value(info).unwrap();
        target(&ModelName::parse("a/b:fal-ai").unwrap(), &info.served())
    }

    #[test]
    fn a_mapping_is_a_list_or_an_object() {
        let entry = json!({
            "provider": "fal-ai", "providerId": "fal-ai/flux/dev", "hfModelId": "a/b",
            "status": "live", "task": "text-to-image",
        });
        let expected = Target::new(Via::FalAi, Task::TextToImage, "fal-ai/flux/dev").unwrap();
        assert_eq!(found(json!([entry])), Ok(expected.clone()));
        let mut old = entry.clone();
        old.as_object_mut().unwrap().remove("provider");
        assert_eq!(found(json!({"fal-ai": old, "together": entry})), Ok(expected));
    }

    #[test]
    fn what_is_not_served_is_unavailable() {
        let entry = |status: &str, task: &str, id: &str| json!([{"provider": "fal-ai", "providerId": id, "status": status, "task": task}]);
        let adapter = json!([{"provider": "fal-ai", "providerId": "x/y", "status": "live",
            "task": "text-to-image", "adapter": "lora", "adapterWeightsPath": "w"}]);
        for mapping in [
            json!([]),
            json!({}),
            json!(null),
            json!("?"),
            json!([{"provider": "together", "providerId": "x", "status": "live", "task": "text-to-image"}]),
            entry("error", "text-to-image", "x/y"),
            entry("live", "conversational", "x/y"),
            entry("live", "text-to-image", "../../evil"),
            entry("live", "text-to-image", "x?y"),
            adapter,
        ] {
            let found = found(mapping.clone());
            assert!(matches!(found, Err(Refusal::Unavailable(_))), "{mapping}: {found:?}");
        }
    }
}
