//! The media of a call's input: the ids of uploads become what the provider can read, a signed link
//! or, for a provider on this machine, the bytes themselves.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use entities::{ids::UploadId, tables::jobs, uploads};
use futures::TryStreamExt as _;
use serde_json::Value;

use crate::engine::{Engine, WorkError};

impl Engine {
    /// Puts something readable in place of the uploads' ids in the named fields.
    pub(crate) async fn readable(
        &self,
        job: &jobs::Model,
        input: &mut Value,
        fields: &[String],
    ) -> Result<(), WorkError> {
        for field in fields {
            match input.get_mut(field) {
                Some(Value::Array(items)) => {
                    for item in items {
                        self.replace(job, item).await?;
                    }
                }
                Some(one) => self.replace(job, one).await?,
                None => {}
            }
        }
        Ok(())
    }

    async fn replace(&self, job: &jobs::Model, place: &mut Value) -> Result<(), WorkError> {
        let Some(text) = place.as_str() else { return Ok(()) };
        let id: UploadId = text.parse().map_err(|_| WorkError::InputGone)?;
        // A claimed job whose input cannot be read now would have to wait for its lease to run out.
        let found = Self::until_written(self.lease, || async {
            Ok(uploads::of_job(self.context.db.read(), job.id, id).await?)
        })
        .await?;
        let upload = found.ok_or(WorkError::InputGone)?;
        *place = if self.provider.takes_bytes() {
            let range = 0..u64::try_from(upload.bytes).unwrap_or(0);
            let read = self.context.media.read(&upload.key, range).await?;
            let bytes: Vec<bytes::Bytes> = read.try_collect().await?;
            let data = STANDARD.encode(bytes.concat());
            format!("data:{};base64,{data}", upload.content_type).into()
        } else {
            let until = self.context.links.expiry(self.now());
            self.context.links.sign(&upload.key, until).into()
        };
        Ok(())
    }
}
