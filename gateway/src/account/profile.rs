//! Looking at one's account and changing it.

use axum::{Json, extract::State};
use entities::{
    Timestamp, accounts,
    audit::Acting,
    ids::{UserId, WorkspaceId},
    privacy::{self, ChangeError, Counts},
    tables::users::Role,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::confirm;
use crate::{
    app::App,
    auth::AccountScope,
    extract::Parameters,
    fields::Fields,
    json::StrictJson,
    people::{Visitor, may_change_to},
    problem::{FieldError, Problem, ProblemBody},
};

/// The caller's account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub(crate) struct AccountBody {
    /// `usr_…`
    #[schema(value_type = String)]
    id: UserId,
    /// Always `account`.
    object: &'static str,
    email: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    email_verified_at: Option<Timestamp>,
    /// A new address whose link was not opened yet.
    pending_email: Option<String>,
    name: Option<String>,
    /// `user` or `operator`.
    #[schema(value_type = String)]
    role: Role,
    has_password: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// `ws_…`
    #[schema(value_type = String)]
    workspace_id: WorkspaceId,
    /// Other services that can sign the caller in.
    identities: Vec<IdentityBody>,
    counts: CountsBody,
}

/// Another service that can sign the caller in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Identity)]
pub(crate) struct IdentityBody {
    provider: String,
    email: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// How much there is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccountCounts)]
pub(crate) struct CountsBody {
    api_keys: u64,
    sessions: u64,
    jobs: u64,
    files: u64,
    file_bytes: i64,
    uploads: u64,
    ledger_entries: u64,
    exports: u64,
}

impl From<Counts> for CountsBody {
    fn from(counts: Counts) -> Self {
        let Counts { api_keys, sessions, jobs, files, file_bytes, .. } = counts;
        let Counts { uploads, ledger_entries, exports, .. } = counts;
        Self { api_keys, sessions, jobs, files, file_bytes, uploads, ledger_entries, exports }
    }
}

/// What can be changed; what is left out stays.
#[derive(ToSchema)]
#[schema(as = AccountChange)]
#[expect(dead_code, reason = "it is only described; Fields reads it")]
pub(crate) struct ChangeRequest {
    /// Up to 200 characters; null removes it.
    name: Option<String>,
    /// It counts once the link that is sent to it was opened by who is signed in to the account; the
    /// old address is told.
    email: Option<String>,
    /// Needed for a new address unless the caller signed in just now.
    password: Option<String>,
}

/// The caller's account.
#[utoipa::path(get, path = "/v1/account", tag = "account", responses(
    (status = 200, body = AccountBody),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get(
    State(app): State<App>,
    AccountScope(caller): AccountScope,
    parameters: Parameters,
) -> Result<Json<AccountBody>, Problem> {
    parameters.end()?;
    look(&app, caller.user_id).await.map(Json)
}

/// Changes the caller's name or address.
#[utoipa::path(patch, path = "/v1/account", tag = "account",
    request_body = ChangeRequest,
    responses(
        (status = 200, body = AccountBody),
        (status = 403, description = "`reauthentication_required`: send the password, or sign in",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn patch(
    State(app): State<App>,
    AccountScope(caller): AccountScope,
    visitor: Visitor,
    parameters: Parameters,
    StrictJson(body): StrictJson,
) -> Result<Json<AccountBody>, Problem> {
    parameters.end()?;
    let mut fields = Fields::of(body)?;
    let name = fields.nullable_line("name", 200);
    let email = fields.optional_text("email", 254);
    if email.as_deref().is_some_and(|email| accounts::canonical(email).is_err()) {
        fields.fault("email", "must be an email address");
    }
    let password = fields.optional_text("password", 1_000);
    fields.end()?;
    if let Some(email) = &email {
        confirm(&app, &visitor, &caller, password).await?;
        may_change_to(&app.context, email).await?;
    }
    let now = app.context.clock.now();
    let by = Acting { actor: Some(caller.user_id), origin: visitor.origin(), at: now };
    let tx = app.context.db.begin().await.map_err(Problem::database)?;
    if let Some(name) = name {
        let renamed = privacy::rename(&tx, caller.user_id, name, &by).await;
        renamed.map_err(Problem::database)?;
    }
    if let Some(email) = email {
        match privacy::ask_new_email(&tx, caller.user_id, &email, now).await {
            Ok(()) => {}
            Err(ChangeError::BadEmail) => {
                let error = FieldError::new("/email", "email is not an email address");
                return Err(Problem::invalid(vec![error]));
            }
            Err(ChangeError::NoAccount) => return Err(Problem::unauthorized()),
            Err(ChangeError::Db(error)) => return Err(Problem::database(error)),
            Err(error @ ChangeError::EmailTaken) => return Err(Problem::database(error)),
        }
    }
    tx.commit().await.map_err(Problem::database)?;
    look(&app, caller.user_id).await.map(Json)
}

async fn look(app: &App, user_id: UserId) -> Result<AccountBody, Problem> {
    let db = app.context.db.read();
    let data = privacy::account(db, user_id).await.map_err(Problem::database)?;
    let data = data.ok_or_else(Problem::unauthorized)?;
    let ways = privacy::ways_in(db, user_id).await.map_err(Problem::database)?;
    let counts = privacy::counts(db, user_id, data.workspace.id).await;
    let now = app.context.clock.now();
    let pending = privacy::pending_email(db, user_id, now).await.map_err(Problem::database)?;
    let user = data.user;
    Ok(AccountBody {
        id: user.id,
        object: "account",
        email: user.email,
        email_verified_at: user.email_verified_at,
        pending_email: pending,
        name: user.name,
        role: user.role,
        has_password: user.password_hash.is_some(),
        created_at: user.created_at,
        workspace_id: data.workspace.id,
        identities: ways
            .identities
            .into_iter()
            .map(|known| IdentityBody {
                provider: known.provider,
                email: known.email,
                created_at: known.created_at,
            })
            .collect(),
        counts: counts.map_err(Problem::database)?.into(),
    })
}
