//! Who calls: `Authorization: Bearer tt_live_…`.

use axum::extract::FromRequestParts;
use entities::accounts::Caller;
use http::{HeaderMap, header, request::Parts};

use crate::{app::App, problem::Problem};

/// The caller, proven by an API key that is in force.
pub(crate) struct Authenticated(pub(crate) Caller);

impl FromRequestParts<App> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let secret = bearer(&parts.headers).ok_or_else(Problem::unauthorized)?;
        let found = app.callers.find(&app.context, secret).await?;
        let caller = found.ok_or_else(Problem::unauthorized)?;
        app.last_use.note(caller.key_id);
        Ok(Self(caller))
    }
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
