//! `GET` and `POST /v1/keys`, `DELETE /v1/keys/{id}`: a user's own API keys.
//!
//! A key's secret is in the answer that makes it and nowhere else: only its hash is stored. A
//! revoked key is forgotten by this gateway before the answer, by the others as soon as they hear
//! of it.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use config::random;
use entities::{
    Credits, Timestamp,
    accounts::{
        self, Caller, KeyRefused, KeySecret, MOST_KEYS, NewKey, Scope, Scopes, SpendPeriod,
        SpendingLimit,
    },
    audit::Origin,
    ids::ApiKeyId,
    tables::api_keys,
};
use http::{StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    address::Client,
    app::App,
    auth::AccountScope,
    extract::{KeyPath, Parameters},
    jobs::cancel::{not_written, whole},
    json::{StrictJson, unknown_fields},
    openapi::List,
    problem::{Code, FieldError, Problem, ProblemBody},
};

/// The longest name, in characters.
const NAME: usize = 100;

/// An API key; never its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyBody {
    #[schema(value_type = String)]
    id: ApiKeyId,
    /// Always `key`.
    object: &'static str,
    /// What its owner calls it.
    name: String,
    /// The last characters of the secret.
    hint: String,
    /// `jobs:read`, `jobs:write`, `credits:read` and `account`, or some of them.
    scopes: Vec<&'static str>,
    /// What it may spend; null when the wallet is the only limit.
    spending_limit: Option<LimitBody>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// It may lag by some seconds.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// When it stops working by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// What a key may spend.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitBody {
    /// The most that it may hold or spend in one period.
    credits: i64,
    /// The period, in UTC: `day` or `month`.
    #[schema(value_type = String)]
    per: SpendPeriod,
    /// What its jobs of this period hold or were charged.
    spent: i64,
    /// When the next period begins.
    #[schema(value_type = String, format = DateTime)]
    resets_at: Timestamp,
}

/// A new API key. This is the only time that its secret is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewKeyBody {
    #[serde(flatten)]
    body: KeyBody,
    /// The secret, for `Authorization: Bearer`.
    key: String,
}

impl KeyBody {
    fn new(key: api_keys::Model, spent: Credits, now: Timestamp) -> Self {
        let spending_limit = key.spending_limit().map(|limit| LimitBody {
            credits: limit.credits.0,
            per: limit.per,
            spent: spent.0,
            resets_at: limit.per.end(now),
        });
        Self {
            id: key.id,
            object: "key",
            name: key.name,
            hint: key.hint,
            scopes: key.scopes.iter().map(Scope::name).collect(),
            spending_limit,
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            expires_at: key.expires_at,
        }
    }
}

/// The API keys that are not revoked, newest first.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", security(("api_key" = ["account"])), responses(
    (status = 200, body = List<KeyBody>),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    State(app): State<App>,
    AccountScope(caller): AccountScope,
    parameters: Parameters,
) -> Result<Json<List<KeyBody>>, Problem> {
    parameters.end()?;
    let now = app.context.clock.now();
    let found = accounts::keys(&app.context.db, caller.workspace_id, now).await;
    let keys = found.map_err(Problem::database)?.into_iter();
    Ok(Json(List::whole(keys.map(|(key, spent)| KeyBody::new(key, spent, now)).collect())))
}

/// Makes an API key. A key that makes one gives no more than it has.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", security(("api_key" = ["account"])),
    request_body = KeyRequestSchema,
    responses(
        (status = 201, body = NewKeyBody),
        (status = 403, description = "the key that asks has less than it wants to give",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "there are 100 keys already", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn create(
    State(app): State<App>,
    AccountScope(caller): AccountScope,
    client: Client,
    parameters: Parameters,
    StrictJson(body): StrictJson,
) -> Result<Response, Problem> {
    parameters.end()?;
    let now = app.context.clock.now();
    let new = read(body, &caller, now)?;
    let secret = KeySecret::from_random(random::secret());
    let (context, stored) = (app.context.clone(), secret.clone());
    let key = whole(async move {
        let change = context.writer.run(caller.workspace_id.0, move |tx| {
            let (new, stored) = (new.clone(), stored.clone());
            Box::pin(async move {
                accounts::make_key(tx, &caller, new, &stored, &origin(client), now).await
            })
        });
        change.await.map_err(not_written)?.map_err(refused)
    })
    .await?;
    tracing::info!(key = %key.id, "an API key was made");
    let body = KeyBody::new(key, Credits::ZERO, now);
    let location = format!("/v1/keys/{}", body.id);
    let body = NewKeyBody { body, key: secret.expose().to_owned() };
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response())
}

/// Revokes an API key, at once and for ever.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "keys", params(("id" = String, Path)),
    security(("api_key" = ["account"])),
    responses(
        (status = 204, description = "it works no more"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn revoke(
    State(app): State<App>,
    AccountScope(caller): AccountScope,
    KeyPath(id): KeyPath,
    client: Client,
    parameters: Parameters,
) -> Result<StatusCode, Problem> {
    parameters.end()?;
    let now = app.context.clock.now();
    whole(async move {
        let change = app.context.writer.run(id.0, move |tx| {
            Box::pin(async move {
                accounts::revoke_own_key(tx, &caller, id, &origin(client), now).await
            })
        });
        let effects = change.await.map_err(not_written)?.ok_or_else(Problem::no_such_key)?;
        app.callers.forget(id).await;
        app.context.perform(effects);
        tracing::info!(key = %id, "an API key was revoked");
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// From where the caller acts, for the audit log.
fn origin(client: Client) -> Origin {
    Origin { address: Some(client.address), browser: Some(client.browser.name().to_owned()) }
}

fn refused(why: KeyRefused) -> Problem {
    let detail = match why {
        KeyRefused::Revoked => return Problem::unauthorized(),
        KeyRefused::OutlivesMaker(end) => {
            let detail = format!("must not be later than {end}, the end of the key that asks");
            return Problem::invalid(vec![FieldError::new("/expires_at", detail)]);
        }
        KeyRefused::TooMany => {
            let detail = format!("There are {MOST_KEYS} keys already. Revoke one first.");
            return Problem::new(Code::TooManyKeys, detail);
        }
        KeyRefused::Scopes(missing) => {
            format!("The API key that asks does not have these scopes itself: {missing}.")
        }
        KeyRefused::MakerIsLimited => {
            "An API key with a spending limit cannot make keys. Sign in, or use another key."
                .to_owned()
        }
    };
    Problem::new(Code::InsufficientScope, detail)
}

/// What makes a key, for the description of the API.
#[derive(ToSchema)]
#[schema(as = KeyRequest)]
#[expect(dead_code, reason = "it is only described; `read` reads it")]
pub(crate) struct KeyRequestSchema {
    /// What you call it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// `jobs:read`, `jobs:write`, `credits:read`, `account`: at least one.
    #[schema(min_items = 1)]
    scopes: Vec<String>,
    /// When it stops working; without it, or null, when it is revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<String>,
    /// What it may spend; without it, or null, the wallet is the only limit.
    spending_limit: Option<LimitSchema>,
}

/// The most that a key may hold or spend in one period.
#[derive(ToSchema)]
#[schema(as = SpendingLimitRequest)]
#[expect(dead_code, reason = "it is only described; `limit` reads it")]
pub(crate) struct LimitSchema {
    #[schema(minimum = 1)]
    credits: i64,
    /// `day` or `month`, in UTC.
    per: String,
}

fn read(body: Value, caller: &Caller, now: Timestamp) -> Result<NewKey, Problem> {
    let Value::Object(mut fields) = body else {
        return Err(Problem::invalid(vec![FieldError::new("", "must be an object")]));
    };
    let mut faults = Vec::new();
    let mut note = |pointer: &str, detail: String| faults.push(FieldError::new(pointer, detail));
    let name = name(fields.remove("name")).map_err(|detail| note("/name", detail)).ok();
    let scopes = scopes(fields.remove("scopes")).map_err(|detail| note("/scopes", detail)).ok();
    let expires_at = end(take(&mut fields, "expires_at"), now)
        .map_err(|detail| note("/expires_at", detail))
        .ok();
    let spending_limit = limit(take(&mut fields, "spending_limit"))
        .map_err(|(pointer, detail)| note(&format!("/spending_limit{pointer}"), detail))
        .ok();
    faults.extend(unknown_fields("", &fields));
    let (Some(name), Some(scopes), Some(expires_at), Some(spending_limit), true) =
        (name, scopes, expires_at, spending_limit, faults.is_empty())
    else {
        return Err(Problem::invalid(faults));
    };
    let (user_id, workspace_id) = (caller.user_id, caller.workspace_id);
    Ok(NewKey { user_id, workspace_id, name, scopes, expires_at, spending_limit })
}

/// A field that may be left out; null is the same.
fn take(fields: &mut Map<String, Value>, name: &str) -> Option<Value> {
    fields.remove(name).filter(|value| !value.is_null())
}

fn name(value: Option<Value>) -> Result<String, String> {
    let Some(value) = value else { return Err("is required".to_owned()) };
    let fits = |text: &str| {
        (1..=NAME).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && !text.trim().is_empty()
    };
    match value {
        Value::String(text) if fits(&text) => Ok(text),
        _ => Err("must be a string of 1 to 100 characters that can be seen".to_owned()),
    }
}

fn scopes(value: Option<Value>) -> Result<Scopes, String> {
    let Some(value) = value else { return Err("is required".to_owned()) };
    let words = value.as_array().filter(|words| !words.is_empty());
    let scopes: Option<Scopes> =
        words.and_then(|words| words.iter().map(|word| word.as_str()?.parse().ok()).collect());
    scopes.ok_or_else(|| {
        let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
        format!("must be a list of at least one of {}", known.join(", "))
    })
}

fn end(value: Option<Value>, now: Timestamp) -> Result<Option<Timestamp>, String> {
    let Some(value) = value else { return Ok(None) };
    let end = value.as_str().is_some().then(|| serde_json::from_value(value).ok()).flatten();
    match end.filter(|end: &Timestamp| *end > now) {
        Some(end) => Ok(Some(end)),
        None => Err("must be a time to come, such as 2030-01-31T00:00:00Z".to_owned()),
    }
}

fn limit(value: Option<Value>) -> Result<Option<SpendingLimit>, (String, String)> {
    let Some(value) = value else { return Ok(None) };
    let wrong = |pointer: &str, detail: &str| (pointer.to_owned(), detail.to_owned());
    let Value::Object(mut fields) = value else { return Err(wrong("", "must be an object")) };
    let credits = fields.remove("credits").and_then(|credits| credits.as_i64());
    let credits = credits
        .filter(|credits| *credits > 0)
        .ok_or_else(|| wrong("/credits", "must be a whole number above 0"))?;
    let per = match fields.remove("per").as_ref().and_then(Value::as_str) {
        Some("day") => SpendPeriod::Day,
        Some("month") => SpendPeriod::Month,
        _ => return Err(wrong("/per", "must be day or month")),
    };
    match unknown_fields("", &fields).into_iter().next() {
        Some(fault) => Err((fault.pointer, fault.detail)),
        None => Ok(Some(SpendingLimit { credits: Credits(credits), per })),
    }
}

#[cfg(test)]
mod tests {
    use entities::{
        accounts::Credential,
        ids::{UserId, WorkspaceId},
    };
    use serde_json::json;

    use super::*;

    fn key(extra: Value) -> Result<NewKey, Problem> {
        let caller = Caller {
            credential: Credential::Key(ApiKeyId::generate()),
            user_id: UserId::generate(),
            workspace_id: WorkspaceId::generate(),
            scopes: Scopes::all(),
        };
        let mut body = json!({"name": "CI", "scopes": ["jobs:read"]});
        for (name, value) in extra.as_object().unwrap() {
            body[name] = value.clone();
        }
        read(body, &caller, Timestamp(1_760_000_000_000_000))
    }

    #[test]
    fn a_key_is_read() {
        let new = key(json!({"expires_at": null})).unwrap();
        assert_eq!((new.expires_at, new.spending_limit), (None, None));
        let new = key(json!({
            "scopes": ["account", "jobs:write", "account"],
            "expires_at": "2030-01-31T01:00:00+01:00",
            "spending_limit": {"credits": 5, "per": "month"},
        }))
        .unwrap();
        assert_eq!(new.scopes.to_string(), "jobs:write account");
        assert_eq!(new.expires_at.unwrap().to_string(), "2030-01-31T00:00:00.000000Z");
        let limit = SpendingLimit { credits: Credits(5), per: SpendPeriod::Month };
        assert_eq!(new.spending_limit, Some(limit));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            json!({"name": ""}),
            json!({"name": " "}),
            json!({"name": "x".repeat(101)}),
            json!({"name": "a\nb"}),
            json!({"name": null}),
            json!({"scopes": []}),
            json!({"scopes": ["everything"]}),
            json!({"scopes": "account"}),
            json!({"scopes": [1]}),
            json!({"expires_at": "2020-01-01T00:00:00Z"}),
            json!({"expires_at": "tomorrow"}),
            json!({"expires_at": 1_900_000_000}),
            json!({"spending_limit": 5}),
            json!({"spending_limit": {"credits": 0, "per": "day"}}),
            json!({"spending_limit": {"credits": 1.5, "per": "day"}}),
            json!({"spending_limit": {"credits": 5, "per": "week"}}),
            json!({"spending_limit": {"credits": 5}}),
            json!({"spending_limit": {"credits": 5, "per": "day", "x": 1}}),
            json!({"x": 1}),
        ] {
            assert!(key(bad.clone()).is_err(), "{bad}");
        }
    }
}
