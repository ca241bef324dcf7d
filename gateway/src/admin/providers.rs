//! Providers and their routes, and the switches that give them no new calls.

use axum::{Json, extract::State};
use config::routes::SwitchError;
use entities::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Command, Operator};
use crate::{
    app::App,
    extract::Parameters,
    platform,
    problem::{FieldError, Problem},
};

/// The longest name of a provider or a route.
const TARGET: usize = 200;
/// The longest reason.
const REASON: usize = 500;

/// Every provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProvidersBody {
    /// Each with its routes: on or off, and why.
    #[schema(value_type = Vec<Object>)]
    providers: Value,
}

/// Lists providers and their routes: on or off, and why.
#[utoipa::path(get, path = "/v1/admin/providers", tag = "admin",
    responses((status = 200, body = ProvidersBody)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    parameters: Parameters,
) -> Result<Json<ProvidersBody>, Problem> {
    parameters.end()?;
    let all = platform::switches(&app.context).list().await.map_err(Problem::database)?;
    Ok(Json(ProvidersBody { providers: serde_json::to_value(all).unwrap_or_default() }))
}

/// What is to be switched off.
#[derive(ToSchema)]
#[schema(as = AdminProviderOff)]
#[expect(dead_code, reason = "it is only described")]
pub(crate) struct OffSchema {
    /// Such as `fal`, or `fal/fal-ai/flux/schnell` for one route.
    #[schema(min_length = 1, max_length = 200)]
    target: String,
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// What was switched off.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OffBody {
    off: String,
    reason: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

/// Gives a provider, or one of its routes, no new calls. What runs there is still finished.
#[utoipa::path(post, path = "/v1/admin/providers/off", tag = "admin", request_body = OffSchema,
    responses((status = 200, body = OffBody)))]
pub(crate) async fn off(
    State(app): State<App>,
    Command { by, mut fields }: Command,
) -> Result<Json<OffBody>, Problem> {
    let (target, reason) = (fields.text("target", TARGET), fields.text("reason", REASON));
    fields.end()?;
    let switch =
        platform::switches(&app.context).off(&target, &reason, &by).await.map_err(refusal)?;
    Ok(Json(OffBody { off: target, reason: switch.reason, at: switch.off_at }))
}

/// What is to be switched on.
#[derive(ToSchema)]
#[schema(as = AdminProviderOn)]
#[expect(dead_code, reason = "it is only described")]
pub(crate) struct OnSchema {
    /// Such as `fal`, or `fal/fal-ai/flux/schnell` for one route.
    #[schema(min_length = 1, max_length = 200)]
    target: String,
}

/// What is on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OnBody {
    on: String,
    /// Whether it was off.
    changed: bool,
}

/// Gives a provider, or one of its routes, calls again.
#[utoipa::path(post, path = "/v1/admin/providers/on", tag = "admin", request_body = OnSchema,
    responses((status = 200, body = OnBody)))]
pub(crate) async fn on(
    State(app): State<App>,
    Command { by, mut fields }: Command,
) -> Result<Json<OnBody>, Problem> {
    let target = fields.text("target", TARGET);
    fields.end()?;
    let now = app.context.clock.now();
    let changed = platform::switches(&app.context).on(&target, now, &by).await.map_err(refusal)?;
    Ok(Json(OnBody { on: target, changed }))
}

fn refusal(error: SwitchError) -> Problem {
    let pointer = match &error {
        SwitchError::NoProvider { .. } | SwitchError::NoRoute { .. } => "/target",
        SwitchError::Reason => "/reason",
        SwitchError::Db(error) => return Problem::database(error),
    };
    Problem::invalid(vec![FieldError::new(pointer, error.to_string())])
}
