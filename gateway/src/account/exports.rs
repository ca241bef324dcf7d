//! `/v1/account/exports`: a copy of everything that is stored about the caller, as a zip.
//!
//! A worker builds it; the link in the answer is signed, lives as long as a media link, and is made
//! anew at every look. The audit log has who asked for it, and from where it was fetched.

use axum::{
    Json,
    extract::{FromRequestParts, State},
    response::Response,
};
use config::{context::Context, media::MediaKey};
use entities::{
    Timestamp,
    audit::{self, Action, Event},
    ids::ExportId,
    privacy::{self, ExportState, Owner},
    tables::exports,
};
use http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;

use super::accepted;
use crate::{
    address::Client,
    app::App,
    auth::AccountScope,
    extract::{Page, Parameters, path_id},
    openapi::List,
    people::origin,
    platform,
    problem::{Code, Problem, ProblemBody},
};

/// A copy of the caller's data.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Export)]
pub(crate) struct ExportBody {
    /// `exp_…`
    #[schema(value_type = String)]
    id: ExportId,
    /// Always `export`.
    object: &'static str,
    /// `queued`, `building`, `ready` or `failed`.
    #[schema(value_type = String)]
    status: ExportState,
    /// The size of the file, once it is ready.
    bytes: Option<i64>,
    /// Where the file is, once it is ready.
    url: Option<String>,
    /// When that link stops working; ask again for a new one.
    #[schema(value_type = Option<String>, format = DateTime)]
    url_expires_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    ready_at: Option<Timestamp>,
    /// When the file is deleted.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl ExportBody {
    pub(crate) fn new(context: &Context, export: exports::Model) -> Self {
        let until = context.links.expiry(context.clock.now()).min(export.expires_at);
        let link = export.key.as_deref().map(|key| platform::link(context, key, until));
        Self {
            id: export.id,
            object: "export",
            status: export.state,
            bytes: export.bytes,
            url_expires_at: link.is_some().then_some(until),
            url: link,
            created_at: export.created_at,
            ready_at: export.ready_at,
            expires_at: export.expires_at,
        }
    }
}

/// The export of the path.
pub(crate) struct ExportPath(pub(crate) ExportId);

impl<S: Send + Sync> FromRequestParts<S> for ExportPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_id(parts, state, no_such_export).await.map(Self)
    }
}

pub(crate) fn no_such_export() -> Problem {
    Problem::new(Code::NotFound, "There is no such export.")
}

/// Asks for a copy of everything that is stored about the caller. One that is on its way already is
/// the answer.
#[utoipa::path(post, path = "/v1/account/exports", tag = "account",
    responses(
        (status = 202, body = ExportBody, headers(("Location", description = "where to look"))),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn create(
    State(app): State<App>,
    AccountScope(caller): AccountScope,
    client: Client,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.end()?;
    let (now, kept) = (app.context.clock.now(), app.context.settings.retention.export);
    let tx = app.context.db.begin().await.map_err(Problem::database)?;
    let asked = privacy::request_export(&tx, caller.user_id, caller.workspace_id, now, kept).await;
    let (export, is_new) = asked.map_err(Problem::database)?;
    if is_new {
        let event = Event::own(caller.user_id, Action::ExportAsked, &origin(client), now);
        audit::record(&tx, event).await.map_err(Problem::database)?;
    }
    tx.commit().await.map_err(Problem::database)?;
    let place = format!("/v1/account/exports/{}", export.id);
    Ok(accepted(&place, ExportBody::new(&app.context, export)))
}

/// The caller's exports, newest first.
#[utoipa::path(get, path = "/v1/account/exports", tag = "account",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 100),
        ("after" = Option<String>, Query, description = "`next` of an earlier answer"),
    ),
    responses(
        (status = 200, body = List<ExportBody>),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(
    State(app): State<App>,
    AccountScope(caller): AccountScope,
    page: Page<ExportId>,
) -> Result<Json<List<ExportBody>>, Problem> {
    let db = app.context.db.read();
    let rows = privacy::exports(db, caller.user_id, page.after, page.limit)
        .await
        .map_err(Problem::database)?;
    let data = rows.into_iter().map(|export| ExportBody::new(&app.context, export)).collect();
    Ok(Json(List::page(data, page.limit, |export: &ExportBody| export.id.to_string())))
}

/// Notes that somebody fetches a file from this byte on, if it is an export; other files may be
/// fetched by anybody who has a link. What goes on where the same address began is the same download.
///
/// # Errors
/// When there is no such export any more, or the database fails: nothing is given away unnoticed.
pub(crate) async fn fetched(
    context: &Context,
    key: &str,
    client: Client,
    from: u64,
) -> Result<(), Problem> {
    let owner = key.parse::<MediaKey>().ok().and_then(|key| key.owner());
    let Some(Owner::Export(id)) = owner else { return Ok(()) };
    let (now, life) = (context.clock.now(), context.settings.media.link);
    let is_new = from == 0;
    let noted = privacy::note_fetch(&context.db, id, &origin(client), is_new, now, life).await;
    if noted.map_err(Problem::database)? {
        Ok(())
    } else {
        Err(Problem::new(Code::NotFound, "There is no such file."))
    }
}

/// One of the caller's exports.
#[utoipa::path(get, path = "/v1/account/exports/{id}", tag = "account",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = ExportBody),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(
    State(app): State<App>,
    AccountScope(caller): AccountScope,
    ExportPath(id): ExportPath,
    parameters: Parameters,
) -> Result<Json<ExportBody>, Problem> {
    parameters.end()?;
    let found = privacy::export(app.context.db.read(), caller.user_id, id).await;
    let export = found.map_err(Problem::database)?.ok_or_else(no_such_export)?;
    Ok(Json(ExportBody::new(&app.context, export)))
}
