//! The HTTP side: discovery, consent, tokens, keys.

use std::{collections::HashMap, sync::atomic::Ordering};

use axum::{
    Form, Json, Router,
    extract::{Query, State},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{
    CLIENT_ID, CLIENT_SECRET, Exchange, Google, Grant, admin, fault::Fault, lock, now, token,
};
use crate::serve::lost;

/// How long a code works, in seconds.
const CODE_LIFE: i64 = 60;

type Fields = HashMap<String, String>;

pub(super) fn router(google: Google) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/o/oauth2/v2/auth", get(consent))
        .route("/token", post(exchange))
        .route("/oauth2/v3/certs", get(keys))
        .nest("/admin", admin::router())
        .with_state(google)
}

async fn discovery(State(google): State<Google>) -> Response {
    let base = google.base();
    Json(json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}/o/oauth2/v2/auth"),
        "device_authorization_endpoint": format!("{base}/device/code"),
        "token_endpoint": format!("{base}/token"),
        "userinfo_endpoint": format!("{base}/v1/userinfo"),
        "revocation_endpoint": format!("{base}/revoke"),
        "jwks_uri": format!("{base}/oauth2/v3/certs"),
        "response_types_supported": ["code", "token", "id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "profile"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "authorization_response_iss_parameter_supported": true,
    }))
    .into_response()
}

/// What Google shows on a page of its own and never by a redirect.
fn page(error: &str) -> Response {
    let text = format!("<html><body><h1>Error 400: {error}</h1></body></html>");
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "text/html")], text).into_response()
}

async fn consent(State(google): State<Google>, Query(asked): Query<Fields>) -> Response {
    let field = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    if field("client_id") != CLIENT_ID {
        return page("invalid_client");
    }
    let Ok(mut back) = Url::parse(field("redirect_uri")) else {
        return page("redirect_uri_mismatch");
    };
    let scopes: Vec<&str> = field("scope").split(' ').collect();
    let plain = field("response_type") == "code"
        && scopes.contains(&"openid")
        && matches!(field("code_challenge_method"), "" | "S256");
    if !plain || back.path() != "/auth/google/callback" {
        return page("invalid_request");
    }
    let person = google.person();
    let text = person.email.clone().unwrap_or_default();
    let rules = google.rules();
    let has = |fault: &Fault| rules.take(&text, |found| (found == fault).then_some(())).is_some();
    let state = if has(&Fault::OtherState) { "another-state" } else { field("state") }.to_owned();
    let issuer = match has(&Fault::OtherIss) {
        true => "https://accounts.example.com".to_owned(),
        false => google.base(),
    };
    if has(&Fault::Deny) {
        back.query_pairs_mut().append_pair("error", "access_denied").append_pair("state", &state);
    } else {
        let code = format!("4/{}", uuid::Uuid::new_v4().simple());
        let grant = Grant {
            redirect_uri: field("redirect_uri").to_owned(),
            challenge: asked.get("code_challenge").cloned(),
            nonce: asked.get("nonce").cloned(),
            person,
            made: now(),
            used: false,
        };
        lock(&google.0.grants).insert(code.clone(), grant);
        back.query_pairs_mut()
            .append_pair("state", &state)
            .append_pair("iss", &issuer)
            .append_pair("code", &code)
            .append_pair("scope", "email profile openid")
            .append_pair("authuser", "0")
            .append_pair("prompt", "consent");
    }
    (StatusCode::FOUND, [(header::LOCATION, back.to_string())]).into_response()
}

async fn exchange(
    State(google): State<Google>,
    headers: HeaderMap,
    Form(form): Form<Fields>,
) -> Response {
    let note = |status: u16, error: Option<&str>| {
        let error = error.map(str::to_owned);
        lock(&google.0.exchanges).push(Exchange { status, error });
    };
    let refuse = |status: StatusCode, error: &str| {
        note(status.as_u16(), Some(error));
        let body = json!({"error": error, "error_description": "Bad Request"});
        (status, Json(body)).into_response()
    };
    if !is_client(&headers, &form) {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    if form.get("grant_type").map(String::as_str) != Some("authorization_code") {
        return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type");
    }
    let Some(grant) = redeem(&google, &form) else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_grant");
    };
    let text = grant.person.email.clone().unwrap_or_default();
    let fault = google.rules().take(&text, |fault| match fault {
        Fault::RefuseCode
        | Fault::TokenPage(_)
        | Fault::LoseToken
        | Fault::NoIdToken
        | Fault::Token(_) => Some(fault.clone()),
        Fault::Deny | Fault::OtherState | Fault::OtherIss | Fault::NoKeys => None,
    });
    let spoiled = match fault {
        Some(Fault::RefuseCode) => return refuse(StatusCode::BAD_REQUEST, "invalid_grant"),
        Some(Fault::TokenPage(status)) => {
            note(status, None);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            return (status, "<html>Bad gateway</html>").into_response();
        }
        Some(Fault::LoseToken) => return lost(),
        Some(Fault::Token(fault)) => Some(fault),
        _ => None,
    };
    note(200, None);
    Json(tokens(&google, &grant, spoiled, fault != Some(Fault::NoIdToken))).into_response()
}

fn tokens(
    google: &Google,
    grant: &Grant,
    fault: Option<super::fault::TokenFault>,
    identity: bool,
) -> Value {
    let base = google.base();
    let subject =
        token::Subject { issuer: &base, nonce: grant.nonce.as_deref(), person: &grant.person };
    let mut answer = json!({
        "access_token": format!("ya29.{}", uuid::Uuid::new_v4().simple()), "expires_in": 3_599,
        "scope": "openid https://www.googleapis.com/auth/userinfo.email", "token_type": "Bearer",
    });
    if identity {
        answer["id_token"] = json!(token::make(google.key(), &subject, fault));
    }
    answer
}

/// By `client_secret_post` or `client_secret_basic`; PKCE replaces neither.
fn is_client(headers: &HeaderMap, form: &Fields) -> bool {
    let posted = form.get("client_id").map(String::as_str) == Some(CLIENT_ID)
        && form.get("client_secret").map(String::as_str) == Some(CLIENT_SECRET);
    let basic = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
        .and_then(|text| STANDARD.decode(text).ok())
        .is_some_and(|pair| pair == format!("{CLIENT_ID}:{CLIENT_SECRET}").as_bytes());
    posted || basic
}

/// Uses the code up, even if the rest does not fit.
fn redeem(google: &Google, form: &Fields) -> Option<Grant> {
    let mut grants = lock(&google.0.grants);
    let grant = grants.get_mut(form.get("code")?)?;
    let fresh = !std::mem::replace(&mut grant.used, true) && now() - grant.made < CODE_LIFE;
    let place = form.get("redirect_uri") == Some(&grant.redirect_uri);
    let verifier = form.get("code_verifier").map(|verifier| Sha256::digest(verifier.as_bytes()));
    let verified = match (&grant.challenge, verifier) {
        (Some(challenge), Some(hash)) => *challenge == URL_SAFE_NO_PAD.encode(hash),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    (fresh && place && verified).then(|| grant.clone())
}

async fn keys(State(google): State<Google>) -> Response {
    google.0.key_reads.fetch_add(1, Ordering::SeqCst);
    let broken = google.rules().take("", |fault| (*fault == Fault::NoKeys).then_some(()));
    if broken.is_some() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    // Google shows the next key before it signs with it; here the reader must ask again.
    let keys = json!({"keys": [token::jwk(google.key())]});
    ([(header::CACHE_CONTROL, "public, max-age=19800, must-revalidate")], Json(keys))
        .into_response()
}
