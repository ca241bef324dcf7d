//! What people ask for about their data, done by an operator: a correction, a copy, the end of their
//! account.

use axum::{Json, extract::State, response::Response};
use config::erasure;
use entities::{
    ids::{ErasureId, UserId},
    operators::{self, Correction, UpdateError},
    privacy::{ChangeError, ErasureState},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Command, Operator, account_problem,
    people::{EMAIL, NAME},
};
use crate::{
    account::{
        accepted,
        exports::{ExportBody, ExportPath, no_such_export},
    },
    app::App,
    extract::Parameters,
    jobs::cancel::whole,
    problem::{Code, FieldError, Problem, ProblemBody},
};

/// What is to be corrected; what is left out stays.
#[derive(ToSchema)]
#[schema(as = AdminUpdateUser)]
#[expect(dead_code, reason = "it is only described")]
pub(crate) struct UpdateSchema {
    /// The user's email address.
    #[schema(min_length = 1, max_length = 254)]
    user: String,
    /// The name; null removes it.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// The new address, which the operator vouches for; the old one is told.
    #[schema(min_length = 1, max_length = 254)]
    email: Option<String>,
}

/// A user after a correction.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UpdatedUser {
    /// `usr_…`
    #[schema(value_type = String)]
    id: UserId,
    email: String,
    name: Option<String>,
}

/// Corrects a user's name or address.
#[utoipa::path(post, path = "/v1/admin/update-user", tag = "admin", request_body = UpdateSchema,
    responses(
        (status = 200, body = UpdatedUser),
        (status = 409, description = "another user has this address", body = ProblemBody,
            content_type = "application/problem+json"),
    ))]
pub(crate) async fn update_user(
    State(app): State<App>,
    Command { by, mut fields }: Command,
) -> Result<Json<UpdatedUser>, Problem> {
    let user = fields.text("user", EMAIL);
    let name = fields.nullable_line("name", NAME);
    let email = fields.optional_text("email", EMAIL);
    fields.end()?;
    let correction = Correction { name, email };
    let user = operators::update_user(&app.context.db, &user, correction, &by)
        .await
        .map_err(not_updated)?;
    Ok(Json(UpdatedUser { id: user.id, email: user.email, name: user.name }))
}

fn not_updated(error: UpdateError) -> Problem {
    match error {
        UpdateError::Nothing => {
            Problem::invalid(vec![FieldError::new("", "must have a name or an email")])
        }
        UpdateError::Account(error) => account_problem("/user", error),
        UpdateError::Change(ChangeError::BadEmail) => {
            Problem::invalid(vec![FieldError::new("/email", "is not an email address")])
        }
        UpdateError::Change(ChangeError::EmailTaken) => {
            Problem::new(Code::EmailTaken, "There is a user with this address already.")
        }
        UpdateError::Change(ChangeError::NoAccount) => {
            Problem::new(Code::NotFound, "There is no user with this address.")
        }
        UpdateError::Change(ChangeError::Db(error)) => Problem::database(error),
    }
}

/// Who is to be deleted.
#[derive(ToSchema)]
#[schema(as = AdminDeleteUser)]
#[expect(dead_code, reason = "it is only described")]
pub(crate) struct DeleteSchema {
    /// The user's email address.
    #[schema(min_length = 1, max_length = 254)]
    user: String,
}

/// The end of an account, which has begun.
#[derive(Serialize, ToSchema)]
pub(crate) struct BegunErasure {
    /// `era_…`
    #[schema(value_type = String)]
    id: ErasureId,
    /// `requested`: nobody can use the account any more, and the rest is being deleted.
    #[schema(value_type = String)]
    status: ErasureState,
    /// Opens the receipt; shown this once.
    token: String,
    /// The receipt's own address, with the token; shown this once.
    url: String,
}

/// Deletes a user with everything that belongs to them; the receipt tells how far it has come.
#[utoipa::path(post, path = "/v1/admin/delete-user", tag = "admin", request_body = DeleteSchema,
    responses(
        (status = 202, body = BegunErasure, headers(("Location", description = "the receipt"))),
    ))]
pub(crate) async fn delete_user(
    State(app): State<App>,
    Command { by, mut fields }: Command,
) -> Result<Response, Problem> {
    let user = fields.text("user", EMAIL);
    fields.end()?;
    let context = app.context.clone();
    let begun = whole(async move {
        let begun = erasure::delete_user(&context.db, &context.secrets, &user, &by)
            .await
            .map_err(|error| account_problem("/user", error))?;
        context.perform(begun.effects.clone());
        Ok(begun)
    });
    let begun = begun.await?;
    let place = begun.place();
    let url = app.context.settings.gateway.public_url.at(&place);
    let erasure = begun.erasure;
    let body = BegunErasure { id: erasure.id, status: erasure.state, token: begun.token, url };
    Ok(accepted(&place, body))
}

/// Whose data is to be copied.
#[derive(ToSchema)]
#[schema(as = AdminExportUser)]
#[expect(dead_code, reason = "it is only described")]
pub(crate) struct ExportSchema {
    /// The user's email address.
    #[schema(min_length = 1, max_length = 254)]
    user: String,
}

/// Asks for a copy of everything that is stored about a user: the same as the user can ask for, and
/// among theirs. One that is on its way already is the answer.
#[utoipa::path(post, path = "/v1/admin/export-user", tag = "admin", request_body = ExportSchema,
    responses(
        (status = 202, body = ExportBody, headers(("Location", description = "where to look"))),
    ))]
pub(crate) async fn export_user(
    State(app): State<App>,
    Command { by, mut fields }: Command,
) -> Result<Response, Problem> {
    let user = fields.text("user", EMAIL);
    fields.end()?;
    let kept = app.context.settings.retention.export;
    let export = operators::export_user(&app.context.db, &user, kept, &by)
        .await
        .map_err(|error| account_problem("/user", error))?;
    let place = format!("/v1/admin/exports/{}", export.id);
    Ok(accepted(&place, ExportBody::new(&app.context, export)))
}

/// A copy of a user's data. Once it is ready, every look is noted in the user's audit log.
#[utoipa::path(get, path = "/v1/admin/exports/{id}", tag = "admin",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = ExportBody),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn export(
    State(app): State<App>,
    Operator(by): Operator,
    ExportPath(id): ExportPath,
    parameters: Parameters,
) -> Result<Json<ExportBody>, Problem> {
    parameters.end()?;
    let found = operators::export(&app.context.db, id, &by).await;
    let export = found.map_err(Problem::database)?.ok_or_else(no_such_export)?;
    Ok(Json(ExportBody::new(&app.context, export)))
}
