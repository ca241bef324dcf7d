//! Somebody is in: the session that a sign-in, a sign-up or a new password begins, as every answer
//! tells of it.
//!
//! Stored: `sessions`. A browser that signs in gets a new session and loses the one that it had.

use axum::{
    Extension, Json,
    response::{IntoResponse, Response},
};
use config::{context::Context, random};
use entities::{
    Timestamp,
    accounts::{self, Method, PersonalWorkspace, SessionSecret},
    audit::{self, Action, Event},
    db::Transaction,
    ids::{SessionId, UserId, WorkspaceId},
    tables::{sessions, users},
};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    cookies::{Cookies, DEVICE, DEVICE_LASTS, SESSION},
    throttles,
    visitor::Visitor,
};
use crate::problem::Problem;

/// A person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserBody {
    /// `usr_…`
    #[schema(value_type = String)]
    id: UserId,
    /// Always `user`.
    object: &'static str,
    email: String,
    name: Option<String>,
}

impl UserBody {
    pub(super) fn new(user: &users::Model) -> Self {
        Self { id: user.id, object: "user", email: user.email.clone(), name: user.name.clone() }
    }
}

/// Somebody is in. The session itself is in the cookie.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedInBody {
    /// `ses_…`
    #[schema(value_type = String)]
    id: SessionId,
    /// Always `session`.
    object: &'static str,
    user: UserBody,
    /// When it ends, whatever happens.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Whose account a request came to be about, for its row of the usage log: the request itself had no
/// caller, but it is theirs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whose {
    pub(crate) user_id: UserId,
    pub(crate) workspace_id: WorkspaceId,
}

/// Somebody who is in, and the cookies that say so.
pub(super) struct SignedIn {
    pub(super) cookies: Cookies,
    pub(super) body: SignedInBody,
    pub(super) whose: Whose,
}

impl SignedIn {
    pub(super) fn answer(self) -> Response {
        (StatusCode::OK, self.cookies, Extension(self.whose), Json(self.body)).into_response()
    }
}

/// Begins a session in the transaction of what earned it, and ends the one that the browser had.
pub(super) async fn begin(
    context: &Context,
    tx: &Transaction,
    visitor: &Visitor,
    account: &PersonalWorkspace,
    method: Method,
) -> Result<SignedIn, Problem> {
    let now = context.clock.now();
    let settings = &context.settings.accounts;
    end_presented(tx, visitor).await?;
    let secret = SessionSecret::from_random(random::secret());
    let (user, terms) = (&account.user, settings.session_terms());
    let whose = (user.id, account.workspace.id);
    let id = accounts::start_session(tx, whose, method, &secret, &visitor.origin, terms, now)
        .await
        .map_err(Problem::database)?;
    let event = Event::own(user.id, Action::SignIn, &visitor.origin, now)
        .with(json!({"session": id, "method": method.name()}));
    audit::record(tx, event).await.map_err(Problem::database)?;
    let cookies = Cookies::default().set(SESSION, secret.expose(), Some(settings.session)).set(
        DEVICE,
        &throttles::remember(context, &user.email),
        Some(DEVICE_LASTS),
    );
    let body = SignedInBody {
        id,
        object: "session",
        user: UserBody::new(user),
        expires_at: now.after(settings.session),
    };
    let whose = Whose { user_id: user.id, workspace_id: account.workspace.id };
    Ok(SignedIn { cookies, body, whose })
}

/// Ends the session whose cookie came along, if there is one; whose it was.
pub(super) async fn end_presented(
    tx: &Transaction,
    visitor: &Visitor,
) -> Result<Option<sessions::Model>, Problem> {
    let Some(secret) = &visitor.session else { return Ok(None) };
    accounts::end_presented_session(tx, secret).await.map_err(Problem::database)
}
