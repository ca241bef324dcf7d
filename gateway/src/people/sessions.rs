//! `GET` and `DELETE /v1/sessions`, `DELETE /v1/sessions/{id}`; and finding the session of a request.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use config::context::Context;
use entities::{
    Timestamp,
    accounts::{self, Caller, Credential, Scopes},
    audit::{self, Action, Event},
    ids::SessionId,
    tables::sessions,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::visitor::{self, Visitor};
use crate::{
    app::App,
    auth::AccountScope,
    extract::Parameters,
    openapi::List,
    problem::{Code, Problem, ProblemBody},
};

/// How exactly the last use of a session is known.
const LAG: Duration = Duration::from_secs(60);

/// A signed-in browser.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionBody {
    /// `ses_…`
    #[schema(value_type = String)]
    id: SessionId,
    /// Always `session`.
    object: &'static str,
    /// Whether it is the one that asks.
    current: bool,
    /// `password`, `google` or `mail`.
    method: String,
    /// From where it began.
    address: Option<String>,
    /// By which type of browser.
    browser: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// It may lag by a minute.
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: Timestamp,
    /// When it ends, whatever happens.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl SessionBody {
    fn new(session: sessions::Model, caller: &Caller) -> Self {
        Self {
            current: caller.credential.session() == Some(session.id),
            id: session.id,
            object: "session",
            method: session.method,
            address: session.address,
            browser: session.browser,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            expires_at: session.expires_at,
        }
    }
}

/// Who the cookie of a request stands for. Nothing is remembered: a session that was ended is ended
/// everywhere at once.
pub(crate) async fn session_caller(
    context: &Context,
    headers: &HeaderMap,
) -> Result<Option<Caller>, Problem> {
    let Some(secret) = visitor::session(headers) else { return Ok(None) };
    let (now, terms) = (context.clock.now(), context.settings.accounts.session_terms());
    let found = accounts::find_session(&context.db, &secret, terms, now).await;
    let Some(session) = found.map_err(Problem::database)? else { return Ok(None) };
    if now.since(session.last_seen_at) > LAG {
        // Worth no error to its user: it is tried again with the next request.
        if let Err(error) = accounts::touch_session(context.db.write(), session.id, now).await {
            tracing::warn!(%error, "the last use of a session was not written");
        }
    }
    Ok(Some(Caller {
        credential: Credential::Session(session.id),
        user_id: session.user_id,
        workspace_id: session.workspace_id,
        scopes: Scopes::all(),
    }))
}

/// Where one is signed in, newest first.
#[utoipa::path(get, path = "/v1/sessions", tag = "account", responses(
    (status = 200, body = List<SessionBody>),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_sessions(
    State(app): State<App>,
    AccountScope(caller): AccountScope,
    parameters: Parameters,
) -> Result<Json<List<SessionBody>>, Problem> {
    parameters.end()?;
    let (now, terms) = (app.context.clock.now(), app.context.settings.accounts.session_terms());
    let rows = accounts::list_sessions(&app.context.db, caller.user_id, terms, now)
        .await
        .map_err(Problem::database)?;
    let data = rows.into_iter().map(|row| SessionBody::new(row, &caller)).collect();
    Ok(Json(List::whole(data)))
}

/// Signs a browser out, at once and everywhere.
#[utoipa::path(delete, path = "/v1/sessions/{id}", tag = "account",
    params(("id" = String, Path)),
    responses(
        (status = 204),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn delete_session(
    State(app): State<App>,
    AccountScope(caller): AccountScope,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(Code::NotFound, "There is no such session.");
    let id: SessionId = id.parse().map_err(|_| unknown())?;
    let tx = app.context.db.begin().await.map_err(Problem::database)?;
    if !accounts::end_session(&tx, caller.user_id, id).await.map_err(Problem::database)? {
        return Err(unknown());
    }
    let now = app.context.clock.now();
    let event = Event::own(caller.user_id, Action::SessionRevoked, &visitor.origin, now)
        .with(json!({"session": id}));
    audit::record(&tx, event).await.map_err(Problem::database)?;
    tx.commit().await.map_err(Problem::database)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Signs all other browsers out. Asked with an API key: all.
#[utoipa::path(delete, path = "/v1/sessions", tag = "account", responses(
    (status = 204),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn delete_sessions(
    State(app): State<App>,
    AccountScope(caller): AccountScope,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let tx = app.context.db.begin().await.map_err(Problem::database)?;
    let own = caller.credential.session();
    let ended =
        accounts::end_sessions(&tx, caller.user_id, own).await.map_err(Problem::database)?;
    let now = app.context.clock.now();
    let event = Event::own(caller.user_id, Action::SessionRevoked, &visitor.origin, now)
        .with(json!({"count": ended}));
    audit::record(&tx, event).await.map_err(Problem::database)?;
    tx.commit().await.map_err(Problem::database)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
