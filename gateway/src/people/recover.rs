//! `POST /v1/auth/forgot` and `/v1/auth/reset`.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use config::context::Context;
use entities::{
    accounts::{self, Method},
    ids::MailTokenId,
    mail::{LinkKind, Purpose},
};
use http::StatusCode;
use utoipa::ToSchema;

use super::{
    sign_up::{self, NextBody, TOKEN, bad_link},
    signed_in::{self, SignedIn, SignedInBody},
    throttles,
    visitor::Visitor,
};
use crate::{
    app::App,
    fields::Fields,
    problem::{Problem, ProblemBody},
};

/// Somebody who has forgotten their password.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it describes a body that is read field by field")]
pub(crate) struct ForgotRequest {
    email: String,
}

/// A new password, by a link that came by mail.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it describes a body that is read field by field")]
pub(crate) struct ResetRequest {
    /// What follows `token=` in the link.
    token: String,
    #[schema(min_length = 8, max_length = 200)]
    password: String,
}

/// Writes down that somebody wants a new password. The same work for every address.
pub(super) async fn forgot(
    context: &Context,
    visitor: &Visitor,
    mut fields: Fields,
) -> Result<(), Problem> {
    let email = sign_up::email(&mut fields);
    fields.end()?;
    throttles::asking(context, visitor).await?;
    // Whoever asks more often has links that still work.
    if !throttles::may_mail(context, "reset", &email).await? {
        return Ok(());
    }
    accounts::ask_reset(context.db.write(), &email, context.clock.now())
        .await
        .map_err(Problem::account)
}

/// Lets the new password of a link count, and signs its browser in and all others out.
pub(super) async fn reset(
    context: &Context,
    visitor: &Visitor,
    mut fields: Fields,
) -> Result<SignedIn, Problem> {
    let token = fields.text("token", TOKEN);
    let password = sign_up::new_password(&mut fields, "password");
    fields.end()?;
    let kind = LinkKind::Token(Purpose::Reset);
    let id = context.mailer.links().open(kind, &token).ok_or_else(bad_link)?;
    let hash = context.passwords.hash(password).await.map_err(Problem::password)?;
    let tx = context.db.begin().await.map_err(Problem::database)?;
    let now = context.clock.now();
    let done = accounts::reset_password(&tx, MailTokenId(id), &hash, &visitor.origin, now)
        .await
        .map_err(Problem::database)?;
    let Some((account, effects)) = done else { return Err(bad_link()) };
    let signed_in = signed_in::begin(context, &tx, visitor, &account, Method::Mail).await?;
    tx.commit().await.map_err(Problem::database)?;
    context.perform(effects);
    Ok(signed_in)
}

/// Sends a link to choose a new password, if the address has an account. The answer is the same if
/// it has none.
#[utoipa::path(post, path = "/v1/auth/forgot", tag = "sign-in", security(()),
    request_body = ForgotRequest,
    responses(
        (status = 202, body = NextBody),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn post_forgot(
    State(app): State<App>,
    visitor: Visitor,
    fields: Fields,
) -> Result<Response, Problem> {
    forgot(&app.context, &visitor, fields).await?;
    let body = NextBody {
        status: "mail_sent",
        detail: "If this address has an account, a mail with a link is on its way.",
    };
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

/// Chooses a new password by a link that came by mail. All other browsers are signed out.
#[utoipa::path(post, path = "/v1/auth/reset", tag = "sign-in", security(()),
    request_body = ResetRequest,
    responses(
        (status = 200, body = SignedInBody),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn post_reset(
    State(app): State<App>,
    visitor: Visitor,
    fields: Fields,
) -> Result<Response, Problem> {
    Ok(reset(&app.context, &visitor, fields).await?.answer())
}
