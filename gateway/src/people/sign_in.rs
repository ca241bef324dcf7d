//! `POST /v1/auth/sign-in`, `/v1/auth/sign-out` and `/v1/auth/password`.

use std::time::Duration;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use config::context::Context;
use entities::{
    accounts::{self, Caller, Method, PersonalWorkspace, password},
    audit::{self, Action, Event},
    ids::UserId,
};
use http::StatusCode;
use serde_json::json;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{
    cookies::{Cookies, SESSION},
    round_time, sign_up,
    signed_in::{SignedIn, SignedInBody, begin, end_presented},
    throttles,
    visitor::Visitor,
};
use crate::{
    app::App,
    auth::Authenticated,
    fields::Fields,
    problem::{Code, Problem, ProblemBody},
};

/// How long after a sign-in nobody is asked again whether it is them.
const FRESH: Duration = Duration::from_secs(600);

/// The longest password that is looked at, in characters.
const PASSWORD: usize = 1_000;

/// Somebody who wants to come in.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it describes a body that is read field by field")]
pub(crate) struct SignInRequest {
    email: String,
    password: String,
}

/// A new password from somebody who is signed in.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it describes a body that is read field by field")]
pub(crate) struct PasswordRequest {
    /// May be left out within ten minutes after signing in.
    current_password: Option<String>,
    #[schema(min_length = 8, max_length = 200)]
    password: String,
}

/// Lets somebody in who knows the password.
pub(super) async fn enter(
    context: &Context,
    visitor: &Visitor,
    email: &str,
    password: String,
) -> Result<SignedIn, Problem> {
    let came = Instant::now();
    let admitted = throttles::sign_in(context, visitor, email).await?;
    let account = find(context, email).await?;
    let hash = account.as_ref().and_then(|account| account.user.password_hash.clone());
    let again = password.clone();
    let right =
        context.passwords.verify(password, hash.clone()).await.map_err(Problem::password)?;
    let (true, Some(account), Some(mut hash)) = (right, account.clone(), hash) else {
        refused(context, visitor, account.map(|account| account.user.id)).await?;
        round_time::wait(came).await;
        return Err(wrong_credentials());
    };
    throttles::succeeded(context, admitted).await?;
    let user_id = account.user.id;
    if password::is_outdated(&hash) {
        let new = context.passwords.hash(again).await.map_err(Problem::password)?;
        let rehashed = accounts::rehash(context.db.write(), user_id, &hash, &new).await;
        if rehashed.map_err(Problem::database)? {
            hash = new;
        }
    }
    let tx = context.db.begin().await.map_err(Problem::database)?;
    // A reset that came between ended all sessions; the former password opens none after it.
    let still = accounts::still_has_password(&tx, user_id, &hash).await;
    if !still.map_err(Problem::database)? {
        return Err(wrong_credentials());
    }
    let signed_in = begin(context, &tx, visitor, &account, Method::Password).await?;
    tx.commit().await.map_err(Problem::database)?;
    Ok(signed_in)
}

fn wrong_credentials() -> Problem {
    let detail = "The address or the password is wrong, or the address is not confirmed yet.";
    Problem::new(Code::WrongCredentials, detail)
}

/// The account of an address, by one statement whether there is one or not.
async fn find(context: &Context, email: &str) -> Result<Option<PersonalWorkspace>, Problem> {
    accounts::find_by_email(&context.db, email).await.map_err(Problem::database)
}

/// Writes a failed sign-in down, also where there is no account: that takes as long.
async fn refused(
    context: &Context,
    visitor: &Visitor,
    user_id: Option<UserId>,
) -> Result<(), Problem> {
    let event = Event {
        user_id,
        actor_id: None,
        action: Action::SignInFailed,
        origin: visitor.origin.clone(),
        detail: json!({}),
        at: context.clock.now(),
    };
    audit::record(context.db.write(), event).await.map(drop).map_err(Problem::database)
}

/// Ends the browser's session.
pub(super) async fn sign_out(context: &Context, visitor: &Visitor) -> Result<Cookies, Problem> {
    let tx = context.db.begin().await.map_err(Problem::database)?;
    if let Some(session) = end_presented(&tx, visitor).await? {
        let now = context.clock.now();
        let event = Event::own(session.user_id, Action::SignOut, &visitor.origin, now)
            .with(json!({"session": session.id}));
        audit::record(&tx, event).await.map_err(Problem::database)?;
    }
    tx.commit().await.map_err(Problem::database)?;
    Ok(Cookies::default().clear(SESSION))
}

/// Makes sure that it is them: by the password, or because they signed in just now. What cannot be
/// undone asks for this.
pub(crate) async fn confirm(
    context: &Context,
    visitor: &Visitor,
    caller: &Caller,
    password: Option<String>,
) -> Result<PersonalWorkspace, Problem> {
    let account = accounts::personal_workspace(context.db.read(), caller.user_id)
        .await
        .map_err(Problem::database)?
        .ok_or_else(Problem::unauthorized)?;
    if let Some(password) = password {
        let email = account.user.email.clone();
        let admitted = throttles::sign_in(context, visitor, &email).await?;
        let hash = account.user.password_hash.clone();
        if context.passwords.verify(password, hash).await.map_err(Problem::password)? {
            throttles::succeeded(context, admitted).await?;
            return Ok(account);
        }
        refused(context, visitor, Some(account.user.id)).await?;
        return Err(Problem::new(Code::WrongCredentials, "The password is wrong."));
    }
    let session = match caller.credential.session() {
        Some(id) => accounts::session(&context.db, id).await.map_err(Problem::database)?,
        None => None,
    };
    let now = context.clock.now();
    if session.is_some_and(|session| now.since(session.created_at) < FRESH) {
        return Ok(account);
    }
    let detail = "Say your password, or sign in again and come back within ten minutes.";
    Err(Problem::new(Code::ReauthenticationRequired, detail))
}

/// Signs in.
#[utoipa::path(post, path = "/v1/auth/sign-in", tag = "sign-in", security(()),
    request_body = SignInRequest,
    responses(
        (status = 200, body = SignedInBody, headers(("set-cookie" = String, description = "The session"))),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn post_sign_in(
    State(app): State<App>,
    visitor: Visitor,
    fields: Fields,
) -> Result<Response, Problem> {
    let (email, password) = credentials(fields)?;
    Ok(enter(&app.context, &visitor, &email, password).await?.answer())
}

/// Reads an address and a password.
pub(super) fn credentials(mut fields: Fields) -> Result<(String, String), Problem> {
    let email = sign_up::email(&mut fields);
    let password = fields.text("password", PASSWORD);
    fields.end()?;
    Ok((email, password))
}

/// Signs out: ends the session of the cookie.
#[utoipa::path(post, path = "/v1/auth/sign-out", tag = "sign-in", security(()), responses(
    (status = 204),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn post_sign_out(
    State(app): State<App>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let cookies = sign_out(&app.context, &visitor).await?;
    Ok((StatusCode::NO_CONTENT, cookies, ()).into_response())
}

/// Chooses a new password. Every other browser is signed out, and this one gets a new session.
#[utoipa::path(post, path = "/v1/auth/password", tag = "sign-in",
    request_body = PasswordRequest,
    responses(
        (status = 200, body = SignedInBody),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn post_password(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    visitor: Visitor,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let current = fields.optional("current_password", PASSWORD);
    let password = sign_up::new_password(&mut fields, "password");
    fields.end()?;
    if caller.credential.session().is_none() {
        let detail = "An API key cannot change a password. Sign in to do that.";
        return Err(Problem::new(Code::ReauthenticationRequired, detail));
    }
    let context = &app.context;
    let account = confirm(context, &visitor, &caller, current).await?;
    let hash = context.passwords.hash(password).await.map_err(Problem::password)?;
    let tx = context.db.begin().await.map_err(Problem::database)?;
    let now = context.clock.now();
    accounts::change_password(&tx, &account.user, &hash, &visitor.origin, now)
        .await
        .map_err(Problem::database)?;
    let signed_in = begin(context, &tx, &visitor, &account, Method::Password).await?;
    tx.commit().await.map_err(Problem::database)?;
    Ok(signed_in.answer())
}
