//! `DELETE /v1/jobs/{id}`: its content goes now; the ledger keeps its entries.

use axum::extract::State;
use entities::job::{self, Deleted};
use http::StatusCode;

use super::cancel::{not_written, whole};
use crate::{
    app::App,
    auth::JobsWrite,
    extract::{JobPath, Parameters},
    platform,
    problem::{Code, Problem, ProblemBody},
};

/// Deletes a job that has ended, and its files.
#[utoipa::path(delete, path = "/v1/jobs/{id}", tag = "jobs", security(("api_key" = ["jobs:write"])),
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "gone"),
        (status = 409, description = "the job is live", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn delete(
    State(app): State<App>,
    JobsWrite(caller): JobsWrite,
    JobPath(id): JobPath,
    parameters: Parameters,
) -> Result<StatusCode, Problem> {
    parameters.end()?;
    let (workspace, now) = (caller.workspace_id, app.context.clock.now());
    let context = app.context.clone();
    whole(async move {
        let change =
            context.writer.run(id.0, move |tx| Box::pin(job::delete(tx, workspace, id, now)));
        match change.await.map_err(not_written)? {
            Deleted::NotFound => Err(Problem::no_such_job()),
            Deleted::Live => {
                Err(Problem::new(Code::JobLive, "The job has not ended. Cancel it first."))
            }
            Deleted::Done { keys } => {
                platform::remove(&context, &keys).await;
                Ok(StatusCode::NO_CONTENT)
            }
        }
    })
    .await
}
