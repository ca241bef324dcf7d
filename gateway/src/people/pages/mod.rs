//! The same use cases as plain HTML pages: what mail links lead to, and forms to sign up and in.
//!
//! No script, nothing from elsewhere, one style sheet of our own; the `Content-Security-Policy`
//! says so. Opening a link changes nothing, because mail programs open links by themselves: a
//! button does.
//!
//! `forms` has the forms, `view` turns them into HTML.

mod forms;
mod view;

use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use entities::accounts;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use forms::{age_form, forgot_form, reset_form, sign_in_form, sign_up_form, verify_form};
use view::{
    BIRTH_DATE, EMAIL, NAME, NEW_PASSWORD, PASSWORD, SignedInPage, TOKEN_FIELD, again, message,
    page,
};

use super::{
    cookies::Cookies,
    google, recover, sign_in,
    sign_up::{self, SignUp, TOKEN},
    visitor::Visitor,
};
use crate::{
    app::App,
    auth::Authenticated,
    extract::Parameters,
    fields::{Fields, FormFields},
    problem::Problem,
};

const STYLE: &str = include_str!("../../../templates/page.css");

pub(super) use view::problem;

/// All pages.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/page.css", get(style))
        .route("/sign-up", get(show_sign_up).post(take_sign_up))
        .route("/verify", get(show_verify).post(take_verify))
        .route("/sign-in", get(show_sign_in).post(take_sign_in))
        .route("/sign-out", axum::routing::post(take_sign_out))
        .route("/signed-in", get(show_signed_in))
        .route("/forgot", get(show_forgot).post(take_forgot))
        .route("/reset", get(show_reset).post(take_reset))
        .route("/auth/google", get(google::begin))
        .route("/auth/google/callback", get(google::callback))
        .route("/auth/google/age", get(show_age).post(take_age))
}

fn token(parameters: &mut Parameters) -> String {
    parameters.text("token").unwrap_or_default().chars().take(TOKEN).collect()
}

async fn style() -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
    let kept = (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    ([kind, kept], STYLE).into_response()
}

async fn show_sign_up(State(app): State<App>) -> Response {
    page(StatusCode::OK, &sign_up_form(&app, &[EMAIL, NEW_PASSWORD, NAME, BIRTH_DATE]))
}

async fn take_sign_up(
    State(app): State<App>,
    visitor: Visitor,
    FormFields(fields): FormFields,
) -> Response {
    let done = async {
        let new = SignUp::read(fields)?;
        sign_up::sign_up(&app.context, &visitor, new).await
    };
    match done.await {
        Ok(()) => message(
            "Look into your mail",
            "We have sent a link to this address. Open it within 24 hours to confirm that the address is yours.",
            &[("/sign-in", "Sign in")],
        ),
        Err(problem) => {
            again(sign_up_form(&app, &[EMAIL, NEW_PASSWORD, NAME, BIRTH_DATE]), &problem)
        }
    }
}

async fn show_verify(mut parameters: Parameters) -> Response {
    let token = token(&mut parameters);
    page(StatusCode::OK, &verify_form(&[TOKEN_FIELD.value(&token)]))
}

async fn take_verify(
    State(app): State<App>,
    visitor: Visitor,
    FormFields(mut fields): FormFields,
) -> Response {
    let token = fields.text("token", TOKEN);
    let done = async {
        fields.end()?;
        sign_up::verify(&app.context, &visitor, &token).await
    };
    match done.await {
        Ok(_) => message(
            "Your address is confirmed",
            "Your account is ready. Sign in with the password that you chose.",
            &[
                ("/sign-in", "Sign in"),
                ("/forgot", "I did not choose a password, or have forgotten it"),
            ],
        ),
        Err(problem) => again(verify_form(&[TOKEN_FIELD.value(&token)]), &problem),
    }
}

async fn show_sign_in(State(app): State<App>) -> Response {
    page(StatusCode::OK, &sign_in_form(&app, &[EMAIL, PASSWORD]))
}

async fn take_sign_in(
    State(app): State<App>,
    visitor: Visitor,
    FormFields(fields): FormFields,
) -> Response {
    let done = async {
        let (email, password) = sign_in::credentials(fields)?;
        sign_in::enter(&app.context, &visitor, &email, password).await
    };
    signed_in(done.await.map(|done| done.cookies), |problem| {
        again(sign_in_form(&app, &[EMAIL, PASSWORD]), problem)
    })
}

/// Where somebody lands who is in.
fn signed_in(
    done: Result<Cookies, Problem>,
    otherwise: impl FnOnce(&Problem) -> Response,
) -> Response {
    match done {
        Ok(cookies) => (cookies, Redirect::to("/signed-in")).into_response(),
        Err(problem) => otherwise(&problem),
    }
}

async fn show_signed_in(
    State(app): State<App>,
    caller: Result<Authenticated, Problem>,
    headers: HeaderMap,
) -> Response {
    let Ok(Authenticated(caller)) = caller else { return Redirect::to("/sign-in").into_response() };
    let shown = async {
        let db = &app.context.db;
        let account = accounts::personal_workspace(db.read(), caller.user_id)
            .await
            .map_err(Problem::database)?
            .ok_or_else(Problem::unauthorized)?;
        let wallet = accounts::wallet(db, caller.workspace_id).await.map_err(Problem::database)?;
        let shown = SignedInPage {
            email: &account.user.email,
            available: wallet.available.0,
            held: wallet.held.0,
        };
        Ok(page(StatusCode::OK, &shown))
    };
    shown.await.unwrap_or_else(|failed| problem(&headers, failed))
}

async fn take_sign_out(State(app): State<App>, visitor: Visitor, headers: HeaderMap) -> Response {
    match sign_in::sign_out(&app.context, &visitor).await {
        Ok(cookies) => {
            let told = message("Signed out", "You are signed out.", &[("/sign-in", "Sign in")]);
            (cookies, told).into_response()
        }
        Err(failed) => problem(&headers, failed),
    }
}

async fn show_forgot() -> Response {
    page(StatusCode::OK, &forgot_form(&[EMAIL]))
}

async fn take_forgot(
    State(app): State<App>,
    visitor: Visitor,
    FormFields(fields): FormFields,
) -> Response {
    match recover::forgot(&app.context, &visitor, fields).await {
        Ok(()) => message(
            "Look into your mail",
            "If this address has an account, a mail with a link is on its way.",
            &[("/sign-in", "Sign in")],
        ),
        Err(problem) => again(forgot_form(&[EMAIL]), &problem),
    }
}

async fn show_reset(mut parameters: Parameters) -> Response {
    let token = token(&mut parameters);
    page(StatusCode::OK, &reset_form(&[TOKEN_FIELD.value(&token), NEW_PASSWORD]))
}

async fn take_reset(
    State(app): State<App>,
    visitor: Visitor,
    FormFields(mut fields): FormFields,
) -> Response {
    // Put back: a password that is not taken must not cost the link.
    let token = fields.optional("token", TOKEN).unwrap_or_default();
    let fields: Fields = fields.with("token", &token);
    let done = recover::reset(&app.context, &visitor, fields).await;
    signed_in(done.map(|done| done.cookies), |problem| {
        again(reset_form(&[TOKEN_FIELD.value(&token), NEW_PASSWORD]), problem)
    })
}

async fn show_age() -> Response {
    page(StatusCode::OK, &age_form(&[BIRTH_DATE]))
}

async fn take_age(
    State(app): State<App>,
    visitor: Visitor,
    FormFields(fields): FormFields,
) -> Response {
    let done = google::finish(&app.context, &visitor, fields).await;
    signed_in(done.map(|done| done.cookies), |problem| again(age_form(&[BIRTH_DATE]), problem))
}
