//! `/v1/admin`: what operators do, the same as with `tiktomato admin …` and through the same use
//! cases. A command that changes something is `POST /v1/admin/COMMAND` with its options as a JSON
//! object; one that only looks is a `GET`.
//!
//! An operator is a user with that role, who comes with a session or with a key that has the scope
//! `account`. Whoever is known but is not that gets 403 `forbidden`, whatever they ask for. What an
//! operator did is in the audit log of whom it was done to.

pub(crate) mod data;
pub(crate) mod money;
pub(crate) mod people;
pub(crate) mod providers;

use axum::extract::{FromRequest, FromRequestParts, Request};
use entities::{
    accounts::{AccountError, Scope},
    audit::Origin,
    operators::{self, Acting},
};
use http::request::Parts;

use crate::{
    address::Client,
    app::App,
    auth::Authenticated,
    extract::Parameters,
    fields::Fields,
    json::StrictJson,
    problem::{Code, FieldError, Problem},
};

/// An operator, and what is noted of what they do.
pub(crate) struct Operator(pub(crate) Acting);

impl FromRequestParts<App> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Authenticated(caller) = Authenticated::from_request_parts(parts, app).await?;
        let client = Client::from_request_parts(parts, app).await?;
        // The role is never remembered: who is no operator any more is none from now on.
        let role = operators::is_operator(&app.context.db, caller.user_id).await;
        if !(role.map_err(Problem::database)? && caller.may(Scope::Account)) {
            return Err(Problem::new(Code::Forbidden, "This is for operators."));
        }
        Ok(Self(Acting {
            actor: Some(caller.user_id),
            origin: Origin {
                address: Some(client.address),
                browser: Some(client.browser.name().to_owned()),
            },
            at: app.context.clock.now(),
        }))
    }
}

/// A command: who gives it, and its options, which are the body's fields and nothing else.
pub(crate) struct Command {
    pub(crate) by: Acting,
    pub(crate) fields: Fields,
}

impl FromRequest<App> for Command {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Operator(by) = Operator::from_request_parts(&mut parts, app).await?;
        let parameters = Parameters::from_request_parts(&mut parts, app).await?;
        let request = Request::from_parts(parts, body);
        let StrictJson(body) = StrictJson::from_request(request, app).await?;
        parameters.end()?;
        Ok(Self { by, fields: Fields::of(body)? })
    }
}

/// Why an account cannot be worked on; `pointer` is where its address stood.
pub(crate) fn account_problem(pointer: &str, error: AccountError) -> Problem {
    match error {
        AccountError::BadEmail(_) => {
            Problem::invalid(vec![FieldError::new(pointer, "is not an email address")])
        }
        AccountError::EmailTaken(_) => {
            Problem::new(Code::EmailTaken, "There is a user with this address already.")
        }
        AccountError::NoUser(_) => {
            Problem::new(Code::NotFound, "There is no user with this address.")
        }
        AccountError::Db(error) => Problem::database(error),
    }
}
