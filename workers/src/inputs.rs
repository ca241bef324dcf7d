//! The media of a call's input: the ids of uploads become what the provider can read, as the
//! settings say ([`Handover`]): a signed link, the bytes themselves, or the place where the
//! provider keeps them for us.
//!
//! Nothing is bought by that, so what goes wrong is proof that the call was not sent. Nothing is
//! stored here.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use config::{handover::Handover, media::MediaError};
use entities::{
    catalogue::ResolvedRoute,
    ids::UploadId,
    tables::{jobs, uploads as rows},
    uploads,
};
use futures::{TryStreamExt as _, future::try_join_all};
use serde_json::Value;

use crate::{
    engine::{Engine, WorkError},
    providers::{InputFile, Refusal},
};

/// How long it may take to hand over all files of an input: the call has to fit in the same lease.
const HANDING: Duration = Duration::from_secs(20);

impl Engine {
    /// Puts something that the route's provider can read in place of the uploads' ids.
    pub(crate) async fn readable(
        &self,
        job: &jobs::Model,
        route: &ResolvedRoute,
        input: &mut Value,
    ) -> Result<(), WorkError> {
        let way = self.context.settings.handover(&route.provider, &route.provider_model);
        let mut places = places(input, &route.media);
        let found = places.iter().map(|place| self.upload(job, place.as_str().unwrap_or_default()));
        let uploads = try_join_all(found).await?;
        let sizes: Vec<u64> =
            uploads.iter().map(|file| u64::try_from(file.bytes).unwrap_or(0)).collect();
        // They were, when the job was submitted.
        if !way.takes(&sizes) {
            let words = "its files are too large to be handed over".to_owned();
            return Err(WorkError::NotReady(words));
        }
        let handed = try_join_all(uploads.iter().map(|upload| self.hand_over(way, upload)));
        let texts = tokio::time::timeout(HANDING, handed).await.map_err(|_| {
            WorkError::NotReady("handing over its files took too long".to_owned())
        })??;
        for (place, text) in places.iter_mut().zip(texts) {
            **place = text.into();
        }
        Ok(())
    }

    async fn upload(&self, job: &jobs::Model, id: &str) -> Result<rows::Model, WorkError> {
        let id: UploadId = id.parse().map_err(|_| WorkError::InputGone)?;
        // A claimed job whose input cannot be read now would have to wait for its lease to run out.
        let found = Self::until_written(self.lease, || async {
            Ok(uploads::of_job(self.context.db.read(), job.id, id).await?)
        })
        .await?;
        found.ok_or(WorkError::InputGone)
    }

    async fn hand_over(&self, way: Handover, upload: &rows::Model) -> Result<String, WorkError> {
        Ok(match way {
            Handover::Link | Handover::Never => {
                let until = self.context.links.expiry(self.now());
                self.context.links.sign(&upload.key, until)
            }
            Handover::Data { .. } => {
                let data = STANDARD.encode(self.bytes_of(upload).await?);
                format!("data:{};base64,{data}", upload.content_type)
            }
            Handover::Upload { .. } => {
                let file = InputFile {
                    name: upload.id.to_string(),
                    content_type: upload.content_type.clone(),
                    bytes: self.bytes_of(upload).await?,
                };
                let put = self.repeat("upload", || self.provider.upload(&file)).await;
                put.map_err(|refusal| WorkError::NotHandedOver(not_sent(refusal)))?.into()
            }
        })
    }

    async fn bytes_of(&self, upload: &rows::Model) -> Result<Bytes, WorkError> {
        let range = 0..u64::try_from(upload.bytes).unwrap_or(0);
        let read = async {
            let parts = self.context.media.read(&upload.key, range).await?.try_collect().await?;
            Ok(parts)
        };
        let parts: Vec<Bytes> = read.await.map_err(|error: MediaError| match error {
            MediaError::NotFound => WorkError::InputGone,
            // Ours to mend; the next try may find it mended.
            error => WorkError::NotReady(format!("its files cannot be read: {error}")),
        })?;
        Ok(parts.concat().into())
    }
}

/// Whatever became of a file, the call itself was not sent.
fn not_sent(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Unknown(words) => Refusal::Unavailable(words),
        Refusal::Busy { retry_after, .. } => Refusal::Throttled { retry_after: Some(retry_after) },
        refusal => refusal,
    }
}

/// Where the named fields hold ids, one by one.
fn places<'v>(input: &'v mut Value, fields: &[String]) -> Vec<&'v mut Value> {
    let Value::Object(input) = input else { return Vec::new() };
    let mut places = Vec::new();
    for (name, value) in input {
        if fields.contains(name) {
            match value {
                Value::Array(items) => places.extend(items.iter_mut()),
                one => places.push(one),
            }
        }
    }
    places.retain(|place| place.is_string());
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_verdict_is_no_lost_call() {
        let busy = Refusal::Busy { words: "busy".into(), retry_after: Duration::from_secs(7) };
        assert!(matches!(
            not_sent(busy),
            Refusal::Throttled { retry_after: Some(wait) } if wait.as_secs() == 7
        ));
        let unknown = not_sent(Refusal::Unknown("no answer".into()));
        assert!(matches!(unknown, Refusal::Unavailable(words) if words == "no answer"));
        assert!(matches!(not_sent(Refusal::Account("locked".into())), Refusal::Account(_)));
    }
}
