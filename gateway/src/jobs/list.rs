//! `GET /v1/jobs`: the caller's jobs, newest first.

use axum::{Json, extract::State};
use entities::job::{
    PublicStatus,
    view::{self, ListFilter},
};

use super::body::JobBody;
use crate::{
    app::App,
    auth::JobsRead,
    extract::{Page, Parameters, refused},
    openapi::List,
    platform,
    problem::{Problem, ProblemBody},
};

/// Jobs, newest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", security(("api_key" = ["jobs:read"])),
    params(
        ("status" = Option<String>, Query,
            description = "`queued`, `running`, `succeeded`, `failed` or `canceled`"),
        ("model" = Option<String>, Query, description = "`owner/name`"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 100),
        ("after" = Option<String>, Query, description = "`next` of an earlier answer"),
    ),
    responses(
        (status = 200, body = List<JobBody>),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(
    State(app): State<App>,
    JobsRead(caller): JobsRead,
    mut parameters: Parameters,
) -> Result<Json<List<JobBody>>, Problem> {
    let status = parameters.text("status").map(|name| status(&name)).transpose()?;
    let model = parameters.text("model");
    if let Some(id) = &model
        && platform::model(&app.context.catalogue, id).is_none()
    {
        return Err(refused("model", "is not a model of the catalogue"));
    }
    let page = Page::take(&mut parameters)?;
    parameters.end()?;
    let limit = page.limit;
    let filter = ListFilter { status, model, after: page.after, limit };
    let views = view::list(&app.context.db, caller.workspace_id, &filter)
        .await
        .map_err(Problem::database)?;
    let data = views.into_iter().map(|view| JobBody::new(&app.context, view)).collect();
    Ok(Json(List::page(data, limit, |job: &JobBody| job.id().to_string())))
}

fn status(name: &str) -> Result<PublicStatus, Problem> {
    use PublicStatus as P;
    [P::Queued, P::Running, P::Succeeded, P::Failed, P::Canceled]
        .into_iter()
        .find(|status| status.name() == name)
        .ok_or_else(|| refused("status", "must be queued, running, succeeded, failed or canceled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_known_and_nothing_else() {
        assert_eq!(status("running"), Ok(PublicStatus::Running));
        for unknown in ["", "Running", "submitting", "done"] {
            assert!(status(unknown).is_err(), "{unknown}");
        }
    }
}
