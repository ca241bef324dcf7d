//! `GET /v1/audit`: what happened to one's own account.

use axum::{Json, extract::State};
use entities::{
    Timestamp,
    accounts::Caller,
    audit,
    ids::{AuditEventId, UserId},
    tables::audit_events,
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::AccountScope,
    extract::Page,
    openapi::List,
    problem::{Problem, ProblemBody},
};

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditBody {
    /// `aud_…`
    #[schema(value_type = String)]
    id: AuditEventId,
    /// Always `audit_event`.
    object: &'static str,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Such as `sign_in`, `sign_in_failed`, `key_made`.
    action: String,
    /// `you`, `operator`, or `unknown`.
    actor: &'static str,
    /// From where.
    address: Option<String>,
    /// By which type of browser.
    browser: Option<String>,
    /// More about it: ids, counts, names of methods.
    #[schema(value_type = Object)]
    detail: Value,
}

impl AuditBody {
    fn new(event: audit_events::Model, caller: &Caller) -> Self {
        let own = event.actor_id == Some(caller.user_id);
        let actor = match (event.actor_id, &event.address) {
            (Some(_), _) if own => "you",
            (Some(UserId(_)), _) => "operator",
            // Whoever comes from nowhere sits at the command line.
            (None, None) => "operator",
            (None, Some(_)) => "unknown",
        };
        // Where an operator sat is not the user's to know.
        let seen = own || event.actor_id.is_none();
        Self {
            id: event.id,
            object: "audit_event",
            at: event.at,
            action: event.action,
            actor,
            address: event.address.filter(|_| seen),
            browser: event.browser.filter(|_| seen),
            detail: event.detail,
        }
    }
}

/// What happened to the account, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "account",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 100),
        ("after" = Option<String>, Query, description = "`next` of an earlier answer"),
    ),
    responses(
        (status = 200, body = List<AuditBody>),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list_audit(
    State(app): State<App>,
    AccountScope(caller): AccountScope,
    page: Page<AuditEventId>,
) -> Result<Json<List<AuditBody>>, Problem> {
    let rows = audit::list(&app.context.db, caller.user_id, page.after, page.limit)
        .await
        .map_err(Problem::database)?;
    let data = rows.into_iter().map(|row| AuditBody::new(row, &caller)).collect();
    Ok(Json(List::page(data, page.limit, |event| event.id.to_string())))
}
