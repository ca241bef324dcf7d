//! `POST /v1/jobs` and `/v1/jobs/quote`.

use axum::response::{IntoResponse as _, Response};
use axum::{Json, extract::State};
use entities::{
    Credits,
    accounts::Caller,
    ids::JobId,
    job::{NewJob, SubmitError, Verdict, view},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    body::JobBody,
    request::{JobRequest, JobRequestSchema},
};
use crate::{
    app::App,
    auth::Authenticated,
    extract::{Parameters, idempotency_key},
    json::StrictJson,
    models,
    platform::{self, Priced},
    problem::{Code, Problem, ProblemBody},
};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The most that the same submit would charge.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Quote {
    credits: i64,
}

/// Submits a job.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs", request_body = JobRequestSchema,
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
    Authenticated(caller): Authenticated,
    parameters: Parameters,
    headers: HeaderMap,
    StrictJson(body): StrictJson,
) -> Result<Response, Problem> {
    parameters.end()?;
    let key = idempotency_key(&headers)?;
    let request = JobRequest::read(body)?;
    let priced = price(&app, &request)?;
    let job = new_job(&app, caller, request, priced, key);
    let verdict = app.context.batcher.submit(job.clone()).await.map_err(|error| match error {
        SubmitError::Busy => {
            Problem::new(Code::Unavailable, "Too many jobs are being submitted. Try again.")
        }
        SubmitError::Db(error) => Problem::database(error.as_ref()),
    })?;
    match verdict {
        Verdict::Accepted => {
            platform::count_submit(&app.context.metrics, &job.model);
            tracing::info!(job_id = %job.id, model = job.model, "accepted");
            Ok(accepted(JobBody::accepted(job)))
        }
        Verdict::Replayed(earlier) => replay(&app, caller, earlier).await,
        Verdict::KeyConflict => Err(Problem::new(
            Code::IdempotencyKeyReused,
            "This Idempotency-Key was used for a different request.",
        )),
        Verdict::Insufficient { available } => Err(insufficient(job.credits, available)),
        Verdict::Revoked => Err(Problem::unauthorized()),
    }
}

/// Tells the price of a job.
#[utoipa::path(post, path = "/v1/jobs/quote", tag = "jobs", request_body = JobRequestSchema,
    responses(
        (status = 200, body = Quote),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn quote(
    State(app): State<App>,
    _: Authenticated,
    parameters: Parameters,
    StrictJson(body): StrictJson,
) -> Result<Json<Quote>, Problem> {
    parameters.end()?;
    // What the submit would refuse, the quote refuses too; only `max_credits` is not compared,
    // because the price is what is asked for.
    let request = JobRequest { max_credits: None, ..JobRequest::read(body)? };
    Ok(Json(Quote { credits: price(&app, &request)?.credits.0 }))
}

/// Checks the input and the user's limit.
fn price(app: &App, request: &JobRequest) -> Result<Priced, Problem> {
    let model =
        platform::model(&app.context.catalogue, &request.model).ok_or_else(models::unknown)?;
    let prompt_chars = app.context.settings.limits.prompt_chars;
    let priced = platform::price(model, &request.input, prompt_chars).map_err(Problem::invalid)?;
    match request.max_credits {
        Some(most) if priced.credits > Credits(most) => Err(Problem::new(
            Code::MaxCreditsExceeded,
            format!("The job costs {} credits, which is above max_credits.", priced.credits),
        )),
        _ => Ok(priced),
    }
}

fn new_job(
    app: &App,
    caller: Caller,
    request: JobRequest,
    priced: Priced,
    key: Option<String>,
) -> NewJob {
    let now = app.context.clock.now();
    let kept = request.expires_in.unwrap_or_else(|| platform::retention(&app.context));
    NewJob {
        id: JobId::generate(),
        workspace_id: caller.workspace_id,
        api_key_id: Some(caller.key_id),
        model: request.model,
        kind: priced.kind,
        pool: priced.pool,
        input: priced.input,
        metadata: request.metadata,
        resolved: priced.resolved,
        credits: priced.credits,
        outputs_expected: priced.outputs_expected,
        idempotency: key.map(|key| (key, request.hash)),
        created_at: now,
        expires_at: now.after(kept),
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

fn insufficient(price: Credits, available: Credits) -> Problem {
    Problem::new(
        Code::InsufficientCredits,
        format!("The job costs {price} credits; {available} are available."),
    )
}
