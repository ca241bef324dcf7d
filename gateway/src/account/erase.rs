//! `DELETE /v1/account`, and the receipt that tells what was erased, which needs no account: whoever
//! has its token may read it.

use axum::{
    Json,
    extract::{Path, State},
    response::Response,
};
use config::erasure;
use entities::{
    Timestamp,
    audit::Acting,
    ids::ErasureId,
    privacy::{self, AskedBy, EraseError, ErasureState},
    tables::erasures,
};
use serde::Serialize;
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use super::{MaybeJson, accepted, confirm};
use crate::{
    app::App,
    auth::AccountScope,
    extract::Parameters,
    fields::Fields,
    jobs::cancel::whole,
    people::Visitor,
    problem::{Code, Problem, ProblemBody},
};

/// What is to be sent with a deletion.
#[derive(ToSchema)]
#[schema(as = AccountDeletion)]
#[expect(dead_code, reason = "it is only described; Fields reads it")]
pub(crate) struct DeletionRequest {
    /// Needed unless the caller signed in just now.
    password: Option<String>,
}

/// The end of an account: how far it has come, and what was erased.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Erasure)]
pub(crate) struct ErasureBody {
    /// `era_…`
    #[schema(value_type = String)]
    id: ErasureId,
    /// Always `erasure`.
    object: &'static str,
    /// `requested`, `draining` (jobs are being ended), `erasing` or `erased`.
    #[schema(value_type = String)]
    status: ErasureState,
    /// `owner` or `operator`.
    #[schema(value_type = String)]
    asked_by: AskedBy,
    /// Opens this receipt; shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// The receipt's own address, with the token; shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// When it was asked for: from then on nobody could use the account, and the person's name,
    /// address, password and sessions were gone.
    #[schema(value_type = String, format = DateTime)]
    requested_at: Timestamp,
    /// When the last job had ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    drained_at: Option<Timestamp>,
    /// When nothing was left.
    #[schema(value_type = Option<String>, format = DateTime)]
    erased_at: Option<Timestamp>,
    erased: ErasedBody,
    provider_copies: CopiesBody,
    /// What stays, and why.
    kept: &'static [&'static str],
}

/// How much was erased.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Erased)]
pub(crate) struct ErasedBody {
    jobs: i64,
    files: i64,
    uploads: i64,
    exports: i64,
    api_keys: i64,
    sessions: i64,
    log_rows: i64,
}

/// What providers said about their copies.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderCopies)]
pub(crate) struct CopiesBody {
    /// They are asked to delete so many.
    asked: i64,
    /// So many are deleted.
    deleted: i64,
    /// So many are not deleted on demand; the provider's own retention ends them.
    kept_by_provider: i64,
    /// So many have not been answered for yet.
    open: i64,
}

const KEPT: &[&str] = &[
    "the ledger's entries: ids, amounts and times of payments, as the law demands, without the person",
    "emptied rows of jobs that the ledger points to: ids, model, times, price",
    "a keyed hash of the address, so that it gets no second free credits",
    "this receipt",
];

impl ErasureBody {
    pub(crate) fn new(erasure: &erasures::Model) -> Self {
        let answered = erasure.copies_deleted.saturating_add(erasure.copies_kept);
        Self {
            id: erasure.id,
            object: "erasure",
            status: erasure.state,
            asked_by: erasure.asked_by,
            token: None,
            url: None,
            requested_at: erasure.requested_at,
            drained_at: erasure.drained_at,
            erased_at: erasure.erased_at,
            erased: ErasedBody {
                jobs: erasure.jobs,
                files: erasure.files,
                uploads: erasure.uploads,
                exports: erasure.exports,
                api_keys: erasure.api_keys,
                sessions: erasure.sessions,
                log_rows: erasure.log_rows,
            },
            provider_copies: CopiesBody {
                asked: erasure.copies_asked,
                deleted: erasure.copies_deleted,
                kept_by_provider: erasure.copies_kept,
                open: erasure.copies_asked.saturating_sub(answered),
            },
            kept: KEPT,
        }
    }
}

/// Deletes the account and everything that belongs to it. Jobs that run are canceled and settled
/// first; the receipt tells how far it has come.
#[utoipa::path(delete, path = "/v1/account", tag = "account",
    request_body(content = Option<DeletionRequest>, content_type = "application/json"),
    responses(
        (status = 202, body = ErasureBody, headers(("Location", description = "the receipt"))),
        (status = 403, description = "`reauthentication_required`: send the password, or sign in",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn delete(
    State(app): State<App>,
    AccountScope(caller): AccountScope,
    visitor: Visitor,
    parameters: Parameters,
    MaybeJson(body): MaybeJson,
) -> Result<Response, Problem> {
    parameters.end()?;
    let mut fields = Fields::of(body)?;
    let password = fields.optional_text("password", 1_000);
    fields.end()?;
    confirm(&app, &visitor, &caller, password).await?;
    let context = app.context.clone();
    let by =
        Acting { actor: Some(caller.user_id), origin: visitor.origin(), at: context.clock.now() };
    let begun = whole(async move {
        let (db, secrets) = (&context.db, &context.secrets);
        let begun = erasure::begin(db, secrets, caller.user_id, AskedBy::Owner, &by).await;
        let begun = begun.map_err(|error| match error {
            EraseError::NoAccount => Problem::unauthorized(),
            EraseError::Db(error) => Problem::database(error),
        })?;
        context.perform(begun.effects.clone());
        Ok(begun)
    });
    let begun = begun.await?;
    let place = begun.place();
    let mut answer = ErasureBody::new(&begun.erasure);
    answer.url = Some(app.context.settings.gateway.public_url.at(&place));
    answer.token = Some(begun.token);
    Ok(accepted(&place, answer))
}

/// The receipt of an erasure.
#[utoipa::path(get, path = "/v1/erasures/{id}", tag = "account", security(()),
    params(
        ("id" = String, Path),
        ("token" = String, Query, description = "from the answer to the deletion"),
    ),
    responses(
        (status = 200, body = ErasureBody),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn receipt(
    State(app): State<App>,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
    mut parameters: Parameters,
) -> Result<Json<ErasureBody>, Problem> {
    let none = || Problem::new(Code::NotFound, "There is no such receipt.");
    let token = parameters.text("token").unwrap_or_default();
    parameters.end()?;
    let id = path.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(none)?;
    let found = privacy::receipt(app.context.db.read(), id).await;
    let erasure = found.map_err(Problem::database)?.ok_or_else(none)?;
    let opens: bool = privacy::token_hash(&token).ct_eq(&erasure.token_hash).into();
    if opens { Ok(Json(ErasureBody::new(&erasure))) } else { Err(none()) }
}
