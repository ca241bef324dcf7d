//! The media of a call's input: the ids of uploads become what the provider can read, as the
//! settings say ([`Handover`]): a signed link, the bytes themselves, or the place where the
//! provider keeps them for us.
//!
//! Nothing is bought by that, so what goes wrong is proof that the call was not sent. Nothing is
//! stored here.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use config::handover::Handover;
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
            return Err(WorkError::NotHandedOver(Refusal::Unavailable(words)));
        }
        let handed = try_join_all(uploads.iter().map(|upload| self.hand_over(way, upload)));
        let texts = tokio::time::timeout(HANDING, handed).await.map_err(|_| {
            let words = "handing over its files took too long".to_owned();
            WorkError::NotHandedOver(Refusal::Unavailable(words))
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
        let read = self.context.media.read(&upload.key, range).await?;
        let parts: Vec<Bytes> = read.try_collect().await?;
        Ok(parts.concat().into())
    }
}

/// Whatever became of a file, the call itself was not sent.
fn not_sent(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Unknown(words) => Refusal::Unavailable(words),
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
