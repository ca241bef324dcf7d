//! `POST /v1/jobs/{id}/cancel`.

use axum::{Json, extract::State};
use entities::{WriteError, job};

use super::{body::JobBody, read::look};
use crate::{
    app::App,
    auth::JobsWrite,
    extract::{JobPath, Parameters},
    problem::{Code, Problem, ProblemBody},
};

/// Cancels a job, or asks its provider to. A job that has ended stays as it is.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "jobs", security(("api_key" = ["jobs:write"])),
    params(("id" = String, Path)),
    responses(
        (status = 200, body = JobBody),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn cancel(
    State(app): State<App>,
    JobsWrite(caller): JobsWrite,
    JobPath(id): JobPath,
    parameters: Parameters,
) -> Result<Json<JobBody>, Problem> {
    parameters.end()?;
    let (workspace, now) = (caller.workspace_id, app.context.clock.now());
    let context = app.context.clone();
    let cancel = async move {
        let change =
            context.writer.run(id.0, move |tx| Box::pin(job::cancel(tx, workspace, id, now)));
        let effects = change.await.map_err(not_written)?.ok_or_else(Problem::no_such_job)?;
        context.perform(effects);
        Ok(())
    };
    whole(cancel).await?;
    let view = look(&app, workspace, id).await?;
    Ok(Json(JobBody::new(&app.context, view)))
}

/// Runs a change and what follows it to the end, even if the client goes away in between.
pub(crate) async fn whole<T: Send + 'static>(
    change: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    // Only a panic or the runtime's end can keep a task from its result.
    tokio::spawn(change).await.unwrap_or_else(|_| Err(not_written(WriteError::Stopped)))
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
