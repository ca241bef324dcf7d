//! `GET /v1/jobs/{id}/events`: a job's changes as server-sent events, until it has ended.
//!
//! An event is the whole job and its id is the version, so a client that comes back with
//! `Last-Event-ID` misses nothing that matters: it gets the newest state unless it has it.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use entities::{ids::WorkspaceId, job::view::JobView};
use futures::{Stream, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use utoipa::ToSchema;

use super::{body::JobBody, read::look};
use crate::{
    app::App,
    auth::JobsRead,
    extract::{JobPath, Parameters},
    problem::{Problem, ProblemBody},
    waiters::Subscription,
};

/// How often a quiet stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One event, for the description of the API.
#[derive(ToSchema)]
#[schema(as = JobEvent)]
#[expect(dead_code, reason = "it is only described; `event` writes it")]
pub(crate) struct EventSchema {
    /// Always `status`.
    event: String,
    /// The job's version: the value for `Last-Event-ID`.
    id: String,
    /// The job, in JSON: a `Job`.
    data: String,
}

/// A job's changes, as server-sent events named `status`.
#[utoipa::path(get, path = "/v1/jobs/{id}/events", tag = "jobs", security(("api_key" = ["jobs:read"])),
    params(("id" = String, Path), ("Last-Event-ID" = Option<String>, Header)),
    responses(
        (status = 200, description = "each event's data is the job", body = EventSchema,
            content_type = "text/event-stream"),
        (status = 204, description = "the job has ended and the client has its last event"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn events(
    State(app): State<App>,
    JobsRead(caller): JobsRead,
    JobPath(id): JobPath,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    parameters.end()?;
    let changes = app.waiters.subscribe(id);
    let view = look(&app, caller.workspace_id, id).await?;
    let version = view.job.version;
    let next = if last_event_id(&headers) == Some(version) {
        if view.job.state.is_terminal() {
            // An empty stream would make a browser come back for ever; this makes it stop.
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        Next::Wait { seen: version }
    } else {
        Next::Send(Box::new(view))
    };
    let follower = Follower { app, workspace: caller.workspace_id, changes, sent: version };
    let mut response = Sse::new(follow(follower, next, id))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response();
    // Proxies must pass events on at once.
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Option<i64> {
    headers.get("last-event-id")?.to_str().ok()?.trim().parse().ok()
}

struct Follower {
    app: App,
    workspace: WorkspaceId,
    changes: Subscription,
    /// The version that the client has.
    sent: i64,
}

/// What the stream does next.
enum Next {
    Send(Box<JobView>),
    Wait { seen: i64 },
    End,
}

fn follow(
    follower: Follower,
    next: Next,
    id: entities::ids::JobId,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((follower, next), move |(mut follower, next)| async move {
        let view = match next {
            Next::End => return None,
            Next::Send(view) => *view,
            Next::Wait { seen } => follower.newer(id, seen).await?,
        };
        follower.sent = view.job.version;
        let next = if view.job.state.is_terminal() {
            Next::End
        } else {
            Next::Wait { seen: view.job.version }
        };
        let version = view.job.version.to_string();
        let body = JobBody::new(&follower.app.context, view);
        match Event::default().event("status").id(version).json_data(&body) {
            Ok(event) => Some((Ok(event), (follower, next))),
            Err(error) => {
                tracing::error!(%error, "cannot write a job");
                None
            }
        }
    })
}

impl Follower {
    /// The job once it is newer than what the client has. Nothing when the stream must end: the
    /// process drains, the job is gone, or the database is away; the client comes back.
    async fn newer(&mut self, id: entities::ids::JobId, mut seen: i64) -> Option<JobView> {
        loop {
            let newer = tokio::select! {
                newer = self.changes.newer_than(seen) => newer,
                () = self.app.draining.cancelled() => return None,
            };
            let view = look(&self.app, self.workspace, id).await.ok()?;
            if view.job.version > self.sent {
                return Some(view);
            }
            seen = newer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_version_is_a_last_event_id() {
        let mut headers = HeaderMap::new();
        assert_eq!(last_event_id(&headers), None);
        headers.insert("last-event-id", HeaderValue::from_static("7"));
        assert_eq!(last_event_id(&headers), Some(7));
        headers.insert("last-event-id", HeaderValue::from_static("x"));
        assert_eq!(last_event_id(&headers), None);
    }
}
