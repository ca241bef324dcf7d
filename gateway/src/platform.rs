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
    Credits, Timestamp,
    ids::{AttemptId, UploadId, WorkspaceId},
    job::Kind,
    routing::Standing,
    tables,
};
use futures::{Stream, stream::BoxStream};
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    models::{ModelBody, Price},
    problem::{Code, FieldError, Problem},
};

/// A request for a job, checked and priced.
pub(crate) struct Priced {
    pub(crate) kind: Kind,
    pub(crate) pool: String,
    pub(crate) input: Value,
    pub(crate) resolved: Value,
    pub(crate) credits: Credits,
    pub(crate) outputs_expected: i32,
}

/// A file of the media store.
pub(crate) struct File {
    pub(crate) bytes: u64,
    pub(crate) content_type: String,
}

/// Looks a model up by the id that users give.
pub(crate) fn model<'c>(catalogue: &'c Catalogue, id: &str) -> Option<&'c Model> {
    catalogue.get(&id.parse().ok()?)
}

/// Checks an input against its model and fills in defaults. Pointers in the errors begin with
/// `/input`. `prompt_chars` is the operator's own limit, whatever the model takes.
pub(crate) fn check(
    model: &Model,
    input: &Value,
    prompt_chars: usize,
) -> Result<Value, Vec<FieldError>> {
    let input = model.validate(input).map_err(under_input)?;
    if input["prompt"].as_str().is_some_and(|prompt| prompt.chars().count() > prompt_chars) {
        let detail = format!("must have at most {prompt_chars} characters");
        return Err(vec![FieldError::new("/input/prompt", detail)]);
    }
    Ok(input)
}

/// Refuses a model whose every route an operator has switched off. One whose routes only fail at
/// the moment is taken: its jobs wait for them.
pub(crate) fn offered(context: &Context, model: &Model) -> Result<(), Problem> {
    if model.routes().any(|(provider, name)| !context.routes.is_off(provider, name)) {
        return Ok(());
    }
    let detail = "The model is switched off at the moment. Try again later, or use another one.";
    let later = HeaderValue::from_static("60");
    Err(Problem::new(Code::ModelUnavailable, detail).with_header(header::RETRY_AFTER, later))
}

/// Prices a valid input. Routes that cannot be called at the moment come last, so that the job
/// begins where it can be made. What no offered provider makes for the price is refused, and an
/// operator is told: another provider's key, or another price, is missing.
pub(crate) fn price(context: &Context, model: &Model, input: Value) -> Result<Priced, Problem> {
    let invalid = |errors| Problem::invalid(under_input(errors));
    let mut resolved = model.resolve(&input).map_err(invalid)?;
    let held = resolved.credits;
    if !resolved.routes.iter().any(|route| route.fits(held)) {
        tracing::error!(model = %model.id(), %held, "no route is covered by the price");
        context.metrics.job_not_covered(model.id().as_str());
        let detail = "Nobody makes this at its price at the moment. Try another input or model.";
        return Err(Problem::new(Code::ModelUnavailable, detail));
    }
    resolved.routes.sort_by_key(|route| {
        let standing = context.routes.standing(&route.provider, &route.provider_model);
        let shut = match standing {
            // Somebody has to try the one that is half open.
            Standing::Ready | Standing::HalfOpen => 0,
            Standing::Shut(_) => 1,
            Standing::Off => 2,
        };
        (!route.fits(held), shut)
    });
    let no_route =
        || Problem::invalid(vec![FieldError::new("/model", "has no provider at the moment")]);
    Ok(Priced {
        kind: model.kind(),
        pool: resolved.routes.first().ok_or_else(no_route)?.pool.clone(),
        credits: resolved.credits,
        outputs_expected: i32::try_from(resolved.outputs).unwrap_or(i32::MAX),
        resolved: serde_json::to_value(&resolved)
            .map_err(|_| Problem::invalid(vec![FieldError::new("/input", "cannot be stored")]))?,
        input,
    })
}

fn under_input(errors: Vec<config::catalogue::InputError>) -> Vec<FieldError> {
    errors
        .into_iter()
        .map(|error| FieldError::new(format!("/input{}", error.pointer), error.detail))
        .collect()
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
