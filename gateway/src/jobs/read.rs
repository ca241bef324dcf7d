//! `GET /v1/jobs/{id}`, which can wait until the job has ended.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use entities::{
    ids::{JobId, WorkspaceId},
    job::view::{self, JobView},
};
use http::{HeaderMap, StatusCode, header};

use super::body::{JobBody, etag};
use crate::{
    app::App,
    auth::JobsRead,
    extract::{JobPath, Parameters, none_match},
    problem::{Problem, ProblemBody},
};

/// The longest wait, in seconds.
const LONGEST_WAIT: u64 = 60;

/// A job.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", security(("api_key" = ["jobs:read"])),
    params(
        ("id" = String, Path),
        ("wait" = Option<u64>, Query, minimum = 0, maximum = 60,
            description = "seconds to wait until the job has ended"),
        ("If-None-Match" = Option<String>, Header),
    ),
    responses(
        (status = 200, body = JobBody, headers(("ETag", description = "its version"))),
        (status = 304, description = "as the client has it; media links are not renewed"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(
    State(app): State<App>,
    JobsRead(caller): JobsRead,
    JobPath(id): JobPath,
    mut parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wait = parameters.number("wait", 0..=LONGEST_WAIT)?;
    parameters.end()?;
    let view = match wait {
        None | Some(0) => look(&app, caller.workspace_id, id).await?,
        Some(seconds) => {
            wait_for_end(&app, caller.workspace_id, id, Duration::from_secs(seconds)).await?
        }
    };
    let etag = etag(view.job.version);
    if none_match(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    Ok(([(header::ETAG, etag)], Json(JobBody::new(&app.context, view))).into_response())
}

/// Reads a job of the caller's.
pub(crate) async fn look(app: &App, workspace: WorkspaceId, id: JobId) -> Result<JobView, Problem> {
    view::get(&app.context.db, workspace, id)
        .await
        .map_err(Problem::database)?
        .ok_or_else(Problem::no_such_job)
}

/// Reads it again at every change until it has ended, the time is up or the process drains.
async fn wait_for_end(
    app: &App,
    workspace: WorkspaceId,
    id: JobId,
    patience: Duration,
) -> Result<JobView, Problem> {
    let deadline = tokio::time::Instant::now() + patience;
    let mut changes = app.waiters.subscribe(id);
    let mut view = look(app, workspace, id).await?;
    let mut seen = view.job.version;
    while !view.job.state.is_terminal() {
        let change = tokio::select! {
            newer = changes.newer_than(seen) => Some(newer),
            () = tokio::time::sleep_until(deadline) => None,
            () = app.draining.cancelled() => None,
        };
        view = look(app, workspace, id).await?;
        match change {
            // What was announced and not yet seen must not wake us again at once.
            Some(newer) => seen = newer.max(view.job.version),
            None => break,
        }
    }
    Ok(view)
}
