//! `/auth/google` and `/auth/google/callback`, and the age question for somebody new.

use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse as _, Redirect, Response},
};
use config::context::Context;
use entities::accounts::{self, Claims, Federated, Method};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;
use utoipa::ToSchema;

use super::{
    Google, GoogleError,
    flow::{Back, Flow},
    token::Identity,
};
use crate::{
    app::App,
    fields::Fields,
    people::{
        age,
        cookies::{self, Cookies, FLOW, NEWCOMER},
        pages, sign_up,
        signed_in::{self, SignedIn, SignedInBody},
        visitor::Visitor,
    },
    problem::{Code, Problem, ProblemBody},
};

/// How long somebody may take at Google, and to answer the age question.
const STEP: Duration = Duration::from_secs(600);

/// Which service it is, in the table of identities.
const PROVIDER: &str = "google";

/// The answer to the age question of somebody whom Google knows.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it describes a body that is read field by field")]
pub(crate) struct AgeRequest {
    /// Such as `1990-12-31`. Looked at and not kept.
    #[schema(format = Date)]
    birth_date: String,
}

/// Somebody whom Google knows and who has no account yet. Kept by their own browser.
#[derive(Debug, Serialize, Deserialize)]
struct Newcomer {
    subject: String,
    email: String,
    name: Option<String>,
}

fn google(app: &App) -> Result<&Google, Problem> {
    app.google.as_ref().ok_or_else(|| {
        Problem::new(Code::NotConfigured, "Signing in with Google is not set up here.")
    })
}

fn failed(error: GoogleError) -> Problem {
    tracing::warn!(%error, "a sign-in with Google did not work");
    match error {
        GoogleError::Away(_) => {
            Problem::new(Code::Unavailable, "Google cannot be reached just now. Try again.")
        }
        GoogleError::Refused(_) => Problem::new(
            Code::GoogleRefused,
            "The sign-in with Google did not work. Begin again from the sign-in page.",
        ),
    }
}

/// Sends the browser to Google.
pub(crate) async fn begin(State(app): State<App>, headers: HeaderMap) -> Response {
    let begun = async {
        let (url, flow) = google(&app)?.begin().await.map_err(failed)?;
        let context = &app.context;
        let until = context.clock.now().after(STEP);
        let sealed = cookies::seal(&context.secrets, FLOW, &flow, until);
        let cookies = Cookies::default().set(FLOW, &sealed, Some(STEP));
        Ok((cookies, Redirect::to(&url)).into_response())
    };
    begun.await.unwrap_or_else(|problem| pages::problem(&headers, problem))
}

/// The browser comes back from Google.
pub(crate) async fn callback(
    State(app): State<App>,
    visitor: Visitor,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let query = uri.query().unwrap_or_default();
    let (cookies, answer) = match come_back(&app, &visitor, query).await {
        Ok((cookies, path)) => (cookies, Redirect::to(path).into_response()),
        Err(problem) => (Cookies::default(), pages::problem(&headers, problem)),
    };
    // It works once, however it ended.
    (cookies.clear(FLOW), answer).into_response()
}

async fn come_back(
    app: &App,
    visitor: &Visitor,
    query: &str,
) -> Result<(Cookies, &'static str), Problem> {
    let google = google(app)?;
    let context = &app.context;
    let now = context.clock.now();
    let sealed = visitor.flow.as_deref();
    let flow: Option<Flow> =
        sealed.and_then(|sealed| cookies::open(&context.secrets, FLOW, sealed, now));
    let flow = flow.ok_or_else(|| {
        failed(super::refused("the browser has no sign-in that has begun, or took too long"))
    })?;
    let back = back(query).ok_or_else(|| failed(super::refused("there is no code")))?;
    let identity = google.finish(flow, back, now).await.map_err(failed)?;
    let claims = claims(&identity);
    let tx = context.db.begin().await.map_err(Problem::database)?;
    let found = accounts::find_federated(&tx, &claims, &visitor.origin, now)
        .await
        .map_err(Problem::account)?;
    match found {
        Federated::Account(joined) => {
            let (account, effects) = *joined;
            let signed_in =
                signed_in::begin(context, &tx, visitor, &account, Method::Google).await?;
            tx.commit().await.map_err(Problem::database)?;
            context.perform(effects);
            Ok((signed_in.cookies, "/signed-in"))
        }
        Federated::New => {
            let newcomer = Newcomer {
                subject: identity.subject,
                email: identity.email.unwrap_or_default(),
                name: identity.name,
            };
            let sealed = cookies::seal(&context.secrets, NEWCOMER, &newcomer, now.after(STEP));
            Ok((Cookies::default().set(NEWCOMER, &sealed, Some(STEP)), "/auth/google/age"))
        }
        Federated::Unproven => Err(Problem::new(
            Code::GoogleRefused,
            "Google has not confirmed your address, so it cannot be used to sign in here.",
        )),
    }
}

fn claims(identity: &Identity) -> Claims {
    let name = identity.name.as_deref().map(|name| {
        name.chars().filter(|c| !c.is_control()).take(sign_up::NAME).collect::<String>()
    });
    Claims {
        provider: PROVIDER.to_owned(),
        subject: identity.subject.clone(),
        email: identity.email.clone(),
        email_verified: identity.email_verified,
        name: name.filter(|name| !name.trim().is_empty()),
    }
}

/// What the query says; what we do not know is passed over, for Google adds to it.
fn back(query: &str) -> Option<Back> {
    let (mut code, mut state, mut iss) = (None, None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let place = match name.as_ref() {
            "code" => &mut code,
            "state" => &mut state,
            "iss" => &mut iss,
            "error" => return None,
            _ => continue,
        };
        if place.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    Some(Back { code: code?, state: state?, iss })
}

/// Makes the account of somebody new who has answered the age question.
pub(in crate::people) async fn finish(
    context: &Context,
    visitor: &Visitor,
    mut fields: Fields,
) -> Result<SignedIn, Problem> {
    let birth_date = fields.text("birth_date", 10);
    fields.end()?;
    age::check(context, visitor, &birth_date).map_err(forget_if_too_young)?;
    let now = context.clock.now();
    let sealed = visitor.newcomer.as_deref();
    let newcomer: Option<Newcomer> =
        sealed.and_then(|sealed| cookies::open(&context.secrets, NEWCOMER, sealed, now));
    let newcomer = newcomer.ok_or_else(|| {
        Problem::new(Code::GoogleRefused, "This took too long. Begin again from the sign-in page.")
    })?;
    let claims = claims(&Identity {
        subject: newcomer.subject,
        email: Some(newcomer.email),
        email_verified: true,
        name: newcomer.name,
    });
    let tx = context.db.begin().await.map_err(Problem::database)?;
    // Meanwhile somebody may have made it in another window.
    let found = accounts::find_federated(&tx, &claims, &visitor.origin, now)
        .await
        .map_err(Problem::account)?;
    let (account, effects) = match found {
        Federated::Account(joined) => *joined,
        Federated::New | Federated::Unproven => {
            let marks = |email: &str| context.secrets.grant_marks(email);
            let terms = sign_up::terms(context, &marks);
            let made = accounts::sign_up_federated(&tx, &claims, terms, &visitor.origin, now)
                .await
                .map_err(Problem::account)?;
            (made, entities::Effects::default())
        }
    };
    let mut signed_in = signed_in::begin(context, &tx, visitor, &account, Method::Google).await?;
    tx.commit().await.map_err(Problem::database)?;
    context.perform(effects);
    signed_in.cookies = signed_in.cookies.clear(NEWCOMER);
    Ok(signed_in)
}

/// Nothing is kept of somebody too young, in their browser neither; a date that cannot be read may be
/// said again.
fn forget_if_too_young(problem: Problem) -> Problem {
    if !problem.is(Code::TooYoung) {
        return problem;
    }
    let forgotten = Cookies::default().clear(NEWCOMER).into_values();
    forgotten
        .into_iter()
        .fold(problem, |problem, value| problem.with_header(header::SET_COOKIE, value))
}

/// Answers the age question after a first sign-in with Google, and makes the account.
#[utoipa::path(post, path = "/v1/auth/google", tag = "sign-in", security(()),
    request_body = AgeRequest,
    responses(
        (status = 200, body = SignedInBody),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn post_google_age(
    State(app): State<App>,
    visitor: Visitor,
    fields: Fields,
) -> Result<Response, Problem> {
    google(&app)?;
    Ok(finish(&app.context, &visitor, fields).await?.answer())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_each_thing_once() {
        let found = back("state=s&iss=https%3A%2F%2Fx&code=4%2Fc&scope=email&authuser=0").unwrap();
        assert_eq!((found.code.as_str(), found.state.as_str()), ("4/c", "s"));
        assert_eq!(found.iss.as_deref(), Some("https://x"));
        for bad in ["", "code=c", "state=s", "error=access_denied&state=s", "code=a&code=b&state=s"]
        {
            assert!(back(bad).is_none(), "{bad}");
        }
    }
}
