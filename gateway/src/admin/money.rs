//! Credits that are given, and whether the books are right.

use axum::{Json, extract::State};
use entities::{
    Credits,
    ledger::GrantError,
    operators::{self, Grant, OrderError},
    reconcile,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Command, Operator, account_problem, people::EMAIL};
use crate::{
    app::App,
    extract::{Parameters, idempotency_key},
    problem::{Code, FieldError, Problem},
};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest reason.
const REASON: usize = 500;

/// Credits to be given.
#[derive(ToSchema)]
#[schema(as = AdminGrantCredits)]
#[expect(dead_code, reason = "it is only described")]
pub(crate) struct GrantSchema {
    /// The user's email address.
    #[schema(min_length = 1, max_length = 254)]
    user: String,
    #[schema(minimum = 1)]
    credits: i64,
    /// Why, in words for the user.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// The wallet afterwards.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GrantedBody {
    /// Free to be spent.
    available: i64,
    /// Promised to live jobs.
    held: i64,
}

/// Gives credits to a user. With an `Idempotency-Key` it happens once, however often it is sent and
/// by whichever operator: the key is the grant's reference in the ledger, and is kept for ever. The
/// option `--reference` of the command means the same.
#[utoipa::path(post, path = "/v1/admin/grant-credits", tag = "admin", request_body = GrantSchema,
    params(("Idempotency-Key" = Option<String>, Header,
        description = "1 to 255 visible ASCII characters")),
    responses((status = 200, body = GrantedBody, headers(
        ("Idempotency-Replayed", description = "true: it had been granted before"),
    ))))]
pub(crate) async fn grant(
    State(app): State<App>,
    headers: HeaderMap,
    Command { by, mut fields }: Command,
) -> Result<(HeaderMap, Json<GrantedBody>), Problem> {
    let reference = idempotency_key(&headers)?;
    let user = fields.text("user", EMAIL);
    let amount = Credits(fields.whole("credits"));
    let reason = fields.text("reason", REASON);
    fields.end()?;
    let order = Grant { amount, reason, reference };
    let granted = operators::grant(&app.context.db, &user, &order, &by).await.map_err(refusal)?;
    let mut headers = HeaderMap::new();
    if granted.replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    let wallet = granted.wallet;
    Ok((headers, Json(GrantedBody { available: wallet.available.0, held: wallet.held.0 })))
}

fn refusal(error: OrderError) -> Problem {
    match error {
        OrderError::Account(error) => account_problem("/user", error),
        OrderError::Grant(GrantError::Db(error)) => Problem::database(error),
        OrderError::Grant(
            error @ (GrantError::NotPositive | GrantError::OutOfRange | GrantError::NoWallet),
        ) => Problem::invalid(vec![FieldError::new("/credits", error.to_string())]),
        OrderError::Taken => Problem::new(
            Code::IdempotencyKeyReused,
            "This Idempotency-Key was used for a different grant.",
        ),
    }
}

/// Whether every invariant holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReconcileBody {
    ok: bool,
    /// What is broken.
    #[schema(value_type = Vec<Object>)]
    violations: Value,
}

/// Checks every invariant of the ledger and of the jobs, from one snapshot.
#[utoipa::path(get, path = "/v1/admin/reconcile", tag = "admin",
    responses((status = 200, body = ReconcileBody)))]
pub(crate) async fn reconcile(
    State(app): State<App>,
    _: Operator,
    parameters: Parameters,
) -> Result<Json<ReconcileBody>, Problem> {
    parameters.end()?;
    let violations = reconcile::reconcile(&app.context.db).await.map_err(Problem::database)?;
    let ok = violations.is_empty();
    let violations = serde_json::to_value(violations).unwrap_or_default();
    Ok(Json(ReconcileBody { ok, violations }))
}
