//! `POST /v1/jobs` and `/v1/jobs/quote`.

use axum::response::{IntoResponse as _, Response};
use axum::{Json, extract::State};
use config::{catalogue::Model, uploads::Owner};
use entities::{
    Credits, Timestamp,
    accounts::{self, Caller},
    ids::JobId,
    job::{self, NewJob, Replay, SubmitError, Verdict, view},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    body::JobBody,
    media::Media,
    request::{JobRequest, JobRequestSchema},
};
use crate::{
    app::App,
    auth::JobsWrite,
    extract::{Parameters, idempotency_key},
    finish,
    json::StrictJson,
    models, platform,
    pricing::{self, Priced},
    problem::{Code, Problem, ProblemBody},
    usage_log::Visit,
};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The most that the same submit would charge.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Quote {
    credits: i64,
}

/// Submits a job.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs", security(("api_key" = ["jobs:write"])), request_body = JobRequestSchema,
    params(("Idempotency-Key" = Option<String>, Header,
        description = "1 to 255 visible ASCII characters; kept 7 days")),
    responses(
        (status = 202, body = JobBody, headers(
            ("Location", description = "the job's address"),
            ("Idempotency-Replayed", description = "true: this key's earlier job"),
        )),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn submit(
    State(app): State<App>,
    JobsWrite(caller): JobsWrite,
    visit: Visit,
    parameters: Parameters,
    headers: HeaderMap,
    StrictJson(body): StrictJson,
) -> Result<Response, Problem> {
    parameters.end()?;
    let key = idempotency_key(&headers)?;
    let request = JobRequest::read(body, platform::retention(&app.context))?;
    let prepared = prepare(&app, &request);
    if prepared.is_ok() {
        visit.model(&request.model);
    }
    let ready = prepared.as_ref().is_ok_and(|(model, priced)| !holds_media(model, priced));
    // A job that is ready to be written needs no look at its key: writing it looks. Any other may
    // be a replay, whatever became of the model since, and nothing is fetched for it again.
    if !ready
        && let Some(key) = &key
        && let Some(replay) = known(&app, caller, key, &request).await?
    {
        return self::replay(&app, caller, replay?).await;
    }
    let (model, mut priced) = prepared?;
    let expires_at = expiry(&app, &request);
    let mut media = Media::default();
    if !ready {
        covered(&app, caller, priced.credits).await?;
        let owner = Owner { workspace_id: caller.workspace_id, made_for_job: true, expires_at };
        media = Media::take(&app, owner, model, &mut priced.input).await?;
        priced = match price(&app, model, priced.input, &media.sizes()) {
            Ok(priced) => priced,
            Err(too_large) => {
                media.give_up(&app).await;
                return Err(too_large);
            }
        };
    }
    let times = (app.context.clock.now(), expires_at);
    let job = new_job(caller, request, priced, &media, key, times);
    let written = app.context.batcher.submit(job.clone()).await;
    if !matches!(written, Ok(Verdict::Accepted) | Err(SubmitError::Db(_))) {
        // After a lost commit nobody knows: what the job does not keep will expire.
        media.give_up(&app).await;
    }
    let verdict = written.map_err(|error| match error {
        SubmitError::Busy => {
            Problem::new(Code::Unavailable, "Too many jobs are being submitted. Try again.")
        }
        SubmitError::Db(error) => Problem::database(error.as_ref()),
    })?;
    match verdict {
        Verdict::Accepted => {
            platform::count_submit(&app.context.metrics, &job.model);
            finish::note_job(job.id, &job.model);
            Ok(accepted(JobBody::accepted(job)))
        }
        Verdict::Replayed(earlier) => replay(&app, caller, earlier).await,
        Verdict::KeyConflict => Err(key_reused()),
        Verdict::Insufficient { available } => Err(insufficient(job.credits, available)),
        Verdict::OverLimit { left } => Err(over_limit(job.credits, left)),
        Verdict::Revoked => Err(Problem::unauthorized()),
    }
}

/// The model, and the input checked and priced.
fn prepare<'a>(app: &'a App, request: &JobRequest) -> Result<(&'a Model, Priced), Problem> {
    let model = model(app, request)?;
    let input = check(app, model, request)?;
    pricing::offered(&app.context, model)?;
    let priced = price(app, model, input, &[])?;
    Ok((model, within_limit(request, priced)?))
}

fn holds_media(model: &Model, priced: &Priced) -> bool {
    !model.media_pointers(&priced.input).is_empty()
}

/// What the key stands for already: a job, or a request that is not this one.
async fn known(
    app: &App,
    caller: Caller,
    key: &str,
    request: &JobRequest,
) -> Result<Option<Result<JobId, Problem>>, Problem> {
    let (db, now) = (app.context.db.read(), app.context.clock.now());
    let found = job::find_replay(db, caller.workspace_id, key, &request.hash, now).await;
    Ok(found.map_err(Problem::database)?.map(|replay| match replay {
        Replay::Same(job) => Ok(job),
        Replay::Other => Err(key_reused()),
    }))
}

fn key_reused() -> Problem {
    let detail = "This Idempotency-Key was used for a different request.";
    Problem::new(Code::IdempotencyKeyReused, detail)
}

/// Nothing is fetched for a job that its wallet cannot pay; the submit itself decides.
async fn covered(app: &App, caller: Caller, price: Credits) -> Result<(), Problem> {
    let wallet = accounts::wallet(&app.context.db, caller.workspace_id).await;
    let available = wallet.map_err(Problem::database)?.available;
    if available < price { Err(insufficient(price, available)) } else { Ok(()) }
}

/// Tells the price of a job.
#[utoipa::path(post, path = "/v1/jobs/quote", tag = "jobs", security(("api_key" = ["jobs:write"])), request_body = JobRequestSchema,
    responses(
        (status = 200, body = Quote),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn quote(
    State(app): State<App>,
    visit: Visit,
    _: JobsWrite,
    parameters: Parameters,
    StrictJson(body): StrictJson,
) -> Result<Json<Quote>, Problem> {
    parameters.end()?;
    // What the submit would refuse, the quote refuses too; only `max_credits` is not compared,
    // because the price is what is asked for.
    let request = JobRequest::read(body, platform::retention(&app.context))?;
    let model = model(&app, &request)?;
    let input = check(&app, model, &request)?;
    pricing::offered(&app.context, model)?;
    visit.model(&request.model);
    Ok(Json(Quote { credits: price(&app, model, input, &[])?.credits.0 }))
}

fn model<'a>(app: &'a App, request: &JobRequest) -> Result<&'a Model, Problem> {
    platform::model(&app.context.catalogue, &request.model).ok_or_else(models::unknown)
}

/// The input, checked and filled in.
fn check(app: &App, model: &Model, request: &JobRequest) -> Result<Value, Problem> {
    let prompt_chars = app.context.settings.limits.prompt_chars;
    pricing::check(model, &request.input, prompt_chars).map_err(Problem::invalid)
}

/// Its price, and its ways for media of these sizes.
fn price(app: &App, model: &Model, input: Value, sizes: &[u64]) -> Result<Priced, Problem> {
    pricing::price(&app.context, model, input, sizes)
}

/// Checks the user's limit.
fn within_limit(request: &JobRequest, priced: Priced) -> Result<Priced, Problem> {
    match request.max_credits {
        Some(most) if priced.credits > Credits(most) => Err(Problem::new(
            Code::MaxCreditsExceeded,
            format!("The job costs {} credits, which is above max_credits.", priced.credits),
        )),
        _ => Ok(priced),
    }
}

/// When the job's content is deleted.
fn expiry(app: &App, request: &JobRequest) -> Timestamp {
    let kept = request.expires_in.unwrap_or_else(|| platform::retention(&app.context));
    app.context.clock.now().after(kept)
}

fn new_job(
    caller: Caller,
    request: JobRequest,
    priced: Priced,
    media: &Media,
    key: Option<String>,
    times: (Timestamp, Timestamp),
) -> NewJob {
    NewJob {
        id: JobId::generate(),
        workspace_id: caller.workspace_id,
        api_key_id: caller.credential.key(),
        model: request.model,
        kind: priced.kind,
        pool: priced.pool,
        input: priced.input,
        metadata: request.metadata,
        resolved: priced.resolved,
        credits: priced.credits,
        outputs_expected: priced.outputs_expected,
        idempotency: key.map(|key| (key, request.hash)),
        uploads: media.ids(),
        created_at: times.0,
        expires_at: times.1,
    }
}

fn accepted(body: JobBody) -> Response {
    let location = format!("/v1/jobs/{}", body.id());
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body)).into_response()
}

/// Answers with the job that the same request made before.
async fn replay(app: &App, caller: Caller, earlier: JobId) -> Result<Response, Problem> {
    let view = view::get(&app.context.db, caller.workspace_id, earlier)
        .await
        .map_err(Problem::database)?
        .ok_or_else(|| {
            Problem::new(Code::NotFound, "This request made a job that was deleted since.")
        })?;
    let mut response = accepted(JobBody::new(&app.context, view));
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

fn over_limit(price: Credits, left: Credits) -> Problem {
    Problem::new(
        Code::SpendingLimitExceeded,
        format!("The job costs {price} credits; {left} are left of this API key's spending limit."),
    )
}

fn insufficient(price: Credits, available: Credits) -> Problem {
    Problem::new(
        Code::InsufficientCredits,
        format!("The job costs {price} credits; {available} are available."),
    )
}
