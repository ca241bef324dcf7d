//! What the gateway asks of the platform's running parts, in one place: the catalogue, the media
//! store and its links, settings, metrics, announcements and shutdown.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use config::{
    announce::Announcement,
    catalogue::{Catalogue, Model},
    context::Context,
    media::{LinkError, MediaError},
    routes::Switches,
    telemetry::Metrics,
    uploads::{self, Owner, TakeError},
};
use entities::{
    Timestamp,
    ids::{AttemptId, UploadId, WorkspaceId},
    tables,
};
use futures::{Stream, stream::BoxStream};
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::{
    models::{ModelBody, Price},
    problem::{Code, FieldError, Problem},
};

/// A file of the media store.
pub(crate) struct File {
    pub(crate) bytes: u64,
    pub(crate) content_type: String,
}

/// Looks a model up by the id that users give.
pub(crate) fn model<'c>(catalogue: &'c Catalogue, id: &str) -> Option<&'c Model> {
    catalogue.get(&id.parse().ok()?)
}

/// Every model, as users see them.
pub(crate) fn models(catalogue: &Catalogue) -> Vec<ModelBody> {
    catalogue.list().map(model_body).collect()
}

/// A model as users see it.
pub(crate) fn model_body(model: &Model) -> ModelBody {
    ModelBody {
        id: model.id().to_string(),
        object: "model",
        kind: model.kind(),
        description: model.description().to_owned(),
        price: Price { credits: model.price().unit(), formula: model.price().text() },
        input_schema: model.input_schema().clone(),
        example: model.example().clone(),
        median_seconds: model.median_seconds(),
    }
}

/// How long a job's content is kept when its user does not say.
pub(crate) fn retention(context: &Context) -> Duration {
    context.settings.retention.content
}

/// How many jobs of a new workspace may be dispatched at once.
pub(crate) fn dispatch_limit(context: &Context) -> i32 {
    i32::try_from(context.settings.limits.dispatch_per_workspace.get()).unwrap_or(i32::MAX)
}

/// The switches of providers and routes.
pub(crate) fn switches(context: &Context) -> Switches<'_> {
    let (routes, providers) = (context.catalogue.routes(), &context.settings.providers);
    Switches { db: &context.db, routes, providers }
}

/// Whether people reach us by https, be it through a proxy in front.
pub(crate) fn is_https(context: &Context) -> bool {
    context.settings.gateway.public_url.as_url().scheme() == "https"
}

/// The largest request body, in bytes.
pub(crate) fn body_limit(context: &Context) -> usize {
    context.settings.limits.body_bytes
}

/// An address of a file that works until `until`.
pub(crate) fn link(context: &Context, key: &str, until: Timestamp) -> String {
    context.links.sign(key, until)
}

/// Stores an image that a user uploads.
pub(crate) async fn store_upload<S>(
    context: &Context,
    workspace_id: WorkspaceId,
    source: S,
) -> Result<tables::uploads::Model, Problem>
where
    S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
{
    let expires_at = context.clock.now().after(retention(context));
    let owner = Owner { workspace_id, made_for_job: false, expires_at };
    uploads::store(context, owner, source).await.map_err(|error| match error {
        TakeError::Media(MediaError::TooLarge(most)) => {
            Problem::new(Code::BodyTooLarge, format!("The file is larger than {most} bytes."))
        }
        TakeError::Media(MediaError::Source(_)) => {
            Problem::new(Code::BadRequest, "The file did not arrive whole.")
        }
        error if error.is_users() => Problem::invalid(vec![FieldError::new("", error.to_string())]),
        error => {
            tracing::error!(%error, "an upload was not stored");
            Problem::new(Code::Unavailable, "The file cannot be stored now. Try again.")
        }
    })
}

/// Deletes uploads that no job came to use.
pub(crate) async fn give_up_uploads(context: &Context, ids: &[UploadId]) {
    uploads::give_up(context, ids).await;
}

/// Whether this is an address that a provider was given.
pub(crate) fn is_callback(
    context: &Context,
    provider: &str,
    attempt: AttemptId,
    mac: &str,
) -> bool {
    context.callbacks.verify(provider, attempt, mac)
}

/// Checks what a media link says about itself; answers with how much longer it works.
pub(crate) fn check_link(
    context: &Context,
    key: &str,
    expires: &str,
    signature: &str,
) -> Result<Duration, Problem> {
    let now = context.clock.now();
    let until =
        context.links.verify(key, expires, signature, now).map_err(|error| match error {
            LinkError::Expired => Problem::new(
                Code::LinkExpired,
                "This link has expired. Get the job again for a new one.",
            ),
            LinkError::Invalid => Problem::new(Code::LinkInvalid, "This link is not valid."),
        })?;
    Ok(until.since(now))
}

/// What is known of a file.
pub(crate) async fn stat(context: &Context, key: &str) -> Result<File, Problem> {
    let found = context.media.head(key).await.map_err(media_problem)?;
    Ok(File { bytes: found.bytes, content_type: found.content_type.to_owned() })
}

/// A part of a file, as it arrives.
pub(crate) async fn read(
    context: &Context,
    key: &str,
    range: Range<u64>,
) -> Result<BoxStream<'static, Result<Bytes, MediaError>>, Problem> {
    context.media.read(key, range).await.map_err(media_problem)
}

/// Removes files. What stays is found later as an orphan, so a failure is only logged.
pub(crate) async fn remove(context: &Context, keys: &[String]) {
    for key in keys {
        if let Err(error) = context.media.delete(key).await {
            tracing::warn!(%error, key, "cannot delete a file");
        }
    }
}

fn media_problem(error: MediaError) -> Problem {
    match error {
        MediaError::NotFound | MediaError::BadKey(_) => {
            Problem::new(Code::NotFound, "There is no such file.")
        }
        error => {
            tracing::error!(%error, "the media store failed");
            Problem::new(Code::Unavailable, "The file cannot be read now. Try again.")
        }
    }
}

/// Counts and times a request.
pub(crate) fn count_request(
    metrics: &Metrics,
    route: &str,
    method: &str,
    status: StatusCode,
    elapsed: Duration,
) {
    metrics.http_request(route, method, status.as_str(), elapsed);
}

/// Counts a job that was accepted.
pub(crate) fn count_submit(metrics: &Metrics, model: &str) {
    metrics.job_submitted(model);
}

/// Everything that is announced from now on; gaps are told as `Resync`.
pub(crate) fn announcements(
    context: &Context,
) -> impl Stream<Item = Announcement> + Send + Unpin + use<> {
    context.announcer.subscribe()
}

/// Cancelled when the process begins to drain.
pub(crate) fn draining(context: &Context) -> CancellationToken {
    context.shutdown.token()
}
