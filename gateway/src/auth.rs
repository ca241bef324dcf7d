//! Who calls, and whether they may.
//!
//! `identify` looks once per request, around all routes, so that limits and the usage
//! log know the caller as well. A handler says in its signature what it needs:
//!
//! | extractor | the caller |
//! |---|---|
//! | [`Authenticated`] | is known; any scope |
//! | [`JobsRead`], [`JobsWrite`], [`CreditsRead`], [`AccountScope`] | is known and has that scope |
//!
//! A caller that is not known is answered with 401, one without the scope with 403. An
//! `Authorization` header decides alone; a session is looked for only without one. A session has
//! all scopes.

use axum::{
    extract::{FromRequestParts, Request},
    response::Response,
};
use entities::accounts::{Caller, Scope};
use http::{HeaderMap, header, request::Parts};

use crate::{address::Client, app::App, people, problem::Problem, rate, usage_log::Visit};

/// Who the request's caller is: `None` for nobody, an error when that cannot be found out now.
#[derive(Clone)]
struct Identity(Result<Option<Caller>, Problem>);

/// Finds out who sends a request, and counts it: one that comes too often goes no further. It
/// refuses nobody else: that is for the extractors to do.
pub(crate) async fn identify<F, Fut>(
    app: &App,
    mut request: Request,
    client: Client,
    visit: Visit,
    next: F,
) -> Response
where
    F: FnOnce(Request) -> Fut,
    Fut: Future<Output = Response>,
{
    let path = request.uri().path();
    // Providers report from few addresses, and only to addresses that we gave them.
    if path.starts_with("/callbacks/") {
        return next(request).await;
    }
    let open = !path.starts_with("/v1");
    if let Some(refused) = rate::refused_already(app, client).and_then(|stand| stand.refuse(app)) {
        return rate::turn_away(request, refused).await;
    }
    let identity = caller(app, request.headers()).await;
    let known = identity.as_ref().ok().and_then(Option::as_ref);
    if let Some(caller) = known {
        visit.caller(*caller);
    }
    // Whom the database cannot tell now is not nobody.
    let nobody = identity.is_ok() && known.is_none() && !open;
    let stand = rate::count(app, client, known, nobody).await;
    if let Some(refused) = stand.refuse(app) {
        return rate::turn_away(request, refused).await;
    }
    request.extensions_mut().insert(Identity(identity));
    let mut response = next(request).await;
    stand.tell(response.headers_mut());
    response
}

/// The caller that the headers prove.
async fn caller(app: &App, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return people::session_caller(&app.context, headers).await;
    }
    let Some(secret) = bearer(headers) else { return Ok(None) };
    let caller = app.callers.find(&app.context, secret).await?;
    if let Some(key) = caller.and_then(|caller| caller.credential.key()) {
        app.last_use.note(key);
    }
    Ok(caller)
}

/// The caller, whatever they may do.
pub(crate) struct Authenticated(pub(crate) Caller);

impl<S: Send + Sync> FromRequestParts<S> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let identity = parts.extensions.get::<Identity>().cloned();
        let found = identity.map_or(Ok(None), |identity| identity.0)?;
        found.map(Self).ok_or_else(Problem::unauthorized)
    }
}

macro_rules! scoped {
    ($($(#[$doc:meta])* $name:ident, $scope:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name(pub(crate) Caller);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
                let Authenticated(caller) = Authenticated::from_request_parts(parts, state).await?;
                if caller.may($scope) { Ok(Self(caller)) } else { Err(Problem::insufficient_scope($scope)) }
            }
        }
    )*};
}

scoped! {
    /// A caller that may read jobs (`jobs:read`).
    JobsRead, Scope::JobsRead;
    /// A caller that may submit, cancel and delete jobs (`jobs:write`).
    JobsWrite, Scope::JobsWrite;
    /// A caller that may read the wallet and the ledger (`credits:read`).
    CreditsRead, Scope::CreditsRead;
    /// A caller that may manage the account (`account`).
    AccountScope, Scope::Account;
}

/// The token of the only `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        bearer(&headers).map(str::to_owned)
    }

    #[test]
    fn one_bearer_token_is_read() {
        assert_eq!(read(&["Bearer tt_live_x"]).as_deref(), Some("tt_live_x"));
        assert_eq!(read(&["bearer tt_live_x"]).as_deref(), Some("tt_live_x"));
        for none in [&[][..], &["Basic abc"], &["Bearer"], &["Bearer "], &["Bearer a", "Bearer b"]]
        {
            assert_eq!(read(none), None, "{none:?}");
        }
    }
}
