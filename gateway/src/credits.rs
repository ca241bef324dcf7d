//! `GET /v1/credits` and `/v1/credits/entries`: the wallet, and the ledger as its owner sees it.

use axum::{Json, extract::State};
use entities::{
    Timestamp, accounts,
    ids::{EntryId, JobId},
    ledger::{self, Account, EntryKind},
    tables::ledger_entries,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::CreditsRead,
    extract::{Page, Parameters},
    openapi::List,
    problem::{Problem, ProblemBody},
};

/// A wallet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WalletBody {
    /// Free to be spent.
    available: i64,
    /// Promised to live jobs.
    held: i64,
}

/// One transfer of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryBody {
    /// `ent_…`
    #[schema(value_type = String)]
    id: EntryId,
    /// Always `ledger_entry`.
    object: &'static str,
    /// `hold`, `capture`, `release` or `grant`.
    #[schema(value_type = String)]
    kind: EntryKind,
    /// How much moved; above zero.
    amount: i64,
    /// Where it came from.
    #[schema(value_type = String)]
    from: Account,
    /// Where it went.
    #[schema(value_type = String)]
    to: Account,
    /// The job that caused it.
    #[schema(value_type = Option<String>)]
    job: Option<JobId>,
    /// Words about it.
    note: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl EntryBody {
    fn new((entry, note): (ledger_entries::Model, Option<String>)) -> Self {
        let job = match entry.kind {
            EntryKind::Hold | EntryKind::Capture | EntryKind::Release => {
                Some(JobId(entry.reference))
            }
            EntryKind::Grant => None,
        };
        Self {
            id: entry.id,
            object: "ledger_entry",
            kind: entry.kind,
            amount: entry.amount.0,
            from: entry.from_account,
            to: entry.to_account,
            job,
            note,
            created_at: entry.created_at,
        }
    }
}

/// The wallet.
#[utoipa::path(get, path = "/v1/credits", tag = "credits", security(("api_key" = ["credits:read"])), responses(
    (status = 200, body = WalletBody),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn wallet(
    State(app): State<App>,
    CreditsRead(caller): CreditsRead,
    parameters: Parameters,
) -> Result<Json<WalletBody>, Problem> {
    parameters.end()?;
    let wallet =
        accounts::wallet(&app.context.db, caller.workspace_id).await.map_err(Problem::database)?;
    Ok(Json(WalletBody { available: wallet.available.0, held: wallet.held.0 }))
}

/// The ledger, newest first.
#[utoipa::path(get, path = "/v1/credits/entries", tag = "credits", security(("api_key" = ["credits:read"])),
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 100),
        ("after" = Option<String>, Query, description = "`next` of an earlier answer"),
    ),
    responses(
        (status = 200, body = List<EntryBody>),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn entries(
    State(app): State<App>,
    CreditsRead(caller): CreditsRead,
    page: Page<EntryId>,
) -> Result<Json<List<EntryBody>>, Problem> {
    let rows = ledger::entries(&app.context.db, caller.workspace_id, page.after, page.limit)
        .await
        .map_err(Problem::database)?;
    let data = rows.into_iter().map(EntryBody::new).collect();
    Ok(Json(List::page(data, page.limit, |entry| entry.id.to_string())))
}
