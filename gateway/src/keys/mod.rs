//! `GET` and `POST /v1/keys`, `DELETE /v1/keys/{id}`: a user's own API keys.
//!
//! A key's secret is in the answer that makes it and nowhere else: only its hash is stored. A
//! revoked key is forgotten by this gateway before the answer, by the others as soon as they hear
//! of it.
//!
//! `request` reads what makes a key.

mod request;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use config::random;
use entities::{
    Credits, Timestamp,
    accounts::{self, KeyRefused, KeySecret, MOST_KEYS, Scope, SpendPeriod},
    ids::ApiKeyId,
    tables::api_keys,
};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    address::Client,
    app::App,
    auth::AccountScope,
    extract::{KeyPath, Parameters},
    jobs::cancel::{not_written, whole},
    json::StrictJson,
    openapi::List,
    people::origin,
    problem::{Code, FieldError, Problem, ProblemBody},
};

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
    request_body = request::KeyRequestSchema,
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
    let new = request::read(body, &caller, now)?;
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
