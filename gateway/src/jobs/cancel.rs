//! `POST /v1/jobs/{id}/cancel`.

use axum::{Json, extract::State};
use entities::{WriteError, job};

use super::{body::JobBody, read::look};
use crate::{
    app::App,
    auth::Authenticated,
    extract::{JobPath, Parameters},
    problem::{Code, Problem, ProblemBody},
};

/// Cancels a job, or asks its provider to. A job that has ended stays as it is.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "jobs",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = JobBody),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn cancel(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    JobPath(id): JobPath,
    parameters: Parameters,
) -> Result<Json<JobBody>, Problem> {
    parameters.end()?;
    let (workspace, now) = (caller.workspace_id, app.context.clock.now());
    let effects = app
        .context
        .writer
        .run(id.0, move |tx| Box::pin(job::cancel(tx, workspace, id, now)))
        .await
        .map_err(not_written)?
        .ok_or_else(Problem::no_such_job)?;
    app.context.perform(effects);
    let view = look(&app, workspace, id).await?;
    Ok(Json(JobBody::new(&app.context, view)))
}

/// A change that is not known to be written.
pub(crate) fn not_written(error: WriteError) -> Problem {
    match error {
        WriteError::Db(error) => Problem::database(error.as_ref()),
        WriteError::Stopped => {
            Problem::new(Code::Unavailable, "The service is restarting. Try again.")
        }
    }
}
