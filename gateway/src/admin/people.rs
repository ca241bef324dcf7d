//! Users, their roles and their keys.

use axum::{Json, extract::State};
use config::random;
use entities::{
    Timestamp,
    accounts::{KeySecret, NewUser},
    ids::{ApiKeyId, UserId},
    operators,
    tables::users::Role,
};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Command, Operator, account_problem};
use crate::{
    app::App,
    extract::{Parameters, refused},
    platform,
    problem::{Problem, ProblemBody},
};

/// The longest address.
pub(super) const EMAIL: usize = 254;
/// The longest name.
pub(super) const NAME: usize = 200;

/// A user to be made.
#[derive(ToSchema)]
#[schema(as = AdminCreateUser)]
#[expect(dead_code, reason = "it is only described")]
pub(crate) struct NewUserSchema {
    #[schema(min_length = 1, max_length = 254)]
    email: String,
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
}

/// A user that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeUser {
    /// `usr_…`
    #[schema(value_type = String)]
    id: UserId,
    email: String,
}

/// Makes a user with a personal workspace; grants nothing.
#[utoipa::path(post, path = "/v1/admin/create-user", tag = "admin", request_body = NewUserSchema,
    responses(
        (status = 201, body = MadeUser),
        (status = 409, description = "there is one with this address", body = ProblemBody,
            content_type = "application/problem+json"),
    ))]
pub(crate) async fn create_user(
    State(app): State<App>,
    Command { by, mut fields }: Command,
) -> Result<(StatusCode, Json<MadeUser>), Problem> {
    let (email, name) = (fields.text("email", EMAIL), fields.nullable_line("name", NAME).flatten());
    fields.end()?;
    let new = NewUser::vouched_for(email, name, platform::dispatch_limit(&app.context));
    let made = operators::create_user(&app.context.db, &new, &by)
        .await
        .map_err(|error| account_problem("/email", error))?;
    Ok((StatusCode::CREATED, Json(MadeUser { id: made.user.id, email: made.user.email })))
}

/// Whose key is to be made.
#[derive(ToSchema)]
#[schema(as = AdminCreateKey)]
#[expect(dead_code, reason = "it is only described")]
pub(crate) struct NewKeySchema {
    /// The user's email address.
    #[schema(min_length = 1, max_length = 254)]
    user: String,
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeKey {
    /// `key_…`
    #[schema(value_type = String)]
    id: ApiKeyId,
    /// The key itself, which is shown this once.
    key: String,
}

/// Makes an API key for a user, with every scope.
#[utoipa::path(post, path = "/v1/admin/create-key", tag = "admin", request_body = NewKeySchema,
    responses((status = 201, body = MadeKey)))]
pub(crate) async fn create_key(
    State(app): State<App>,
    Command { by, mut fields }: Command,
) -> Result<(StatusCode, Json<MadeKey>), Problem> {
    let user = fields.text("user", EMAIL);
    fields.end()?;
    let secret = KeySecret::from_random(random::secret());
    let id = operators::create_key(&app.context.db, &user, "made by an operator", &secret, &by)
        .await
        .map_err(|error| account_problem("/user", error))?;
    Ok((StatusCode::CREATED, Json(MadeKey { id, key: secret.expose().to_owned() })))
}

/// Whose role is to be changed.
#[derive(ToSchema)]
#[schema(as = AdminSetRole)]
#[expect(dead_code, reason = "it is only described")]
pub(crate) struct SetRoleSchema {
    /// The user's email address.
    #[schema(min_length = 1, max_length = 254)]
    user: String,
    /// `operator` or `user`.
    role: String,
}

/// A user and their role.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserRole {
    /// `usr_…`
    #[schema(value_type = String)]
    id: UserId,
    email: String,
    /// `operator` or `user`.
    #[schema(value_type = String)]
    role: Role,
}

/// Makes a user an operator, or no longer one; their sessions end.
#[utoipa::path(post, path = "/v1/admin/set-role", tag = "admin", request_body = SetRoleSchema,
    responses((status = 200, body = UserRole)))]
pub(crate) async fn set_role(
    State(app): State<App>,
    Command { by, mut fields }: Command,
) -> Result<Json<UserRole>, Problem> {
    let user = fields.text("user", EMAIL);
    let role = fields.choice("role", &[("operator", Role::Operator), ("user", Role::User)]);
    fields.end()?;
    let user = operators::set_role(&app.context.db, &user, role.unwrap_or(Role::User), &by)
        .await
        .map_err(|error| account_problem("/user", error))?;
    Ok(Json(UserRole { id: user.id, email: user.email, role: user.role }))
}

/// A user as operators see them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FoundUser {
    /// `usr_…`
    #[schema(value_type = String)]
    id: UserId,
    email: String,
    name: Option<String>,
    /// `operator` or `user`.
    #[schema(value_type = String)]
    role: Role,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When the address was proven to be theirs.
    #[schema(value_type = Option<String>, format = DateTime)]
    email_verified_at: Option<Timestamp>,
    /// Free to be spent.
    available: i64,
    /// Promised to live jobs.
    held: i64,
}

/// Looks a user up by their address.
#[utoipa::path(get, path = "/v1/admin/users", tag = "admin",
    params(("email" = String, Query)),
    responses((status = 200, body = FoundUser)))]
pub(crate) async fn look_up(
    State(app): State<App>,
    Operator(by): Operator,
    mut parameters: Parameters,
) -> Result<Json<FoundUser>, Problem> {
    let email = parameters.text("email").ok_or_else(|| refused("email", "is required"))?;
    parameters.end()?;
    let (found, wallet) = operators::look_up(&app.context.db, &email, &by)
        .await
        .map_err(|error| account_problem("/query/email", error))?;
    let user = found.user;
    Ok(Json(FoundUser {
        id: user.id,
        email: user.email,
        name: user.name,
        role: user.role,
        created_at: user.created_at,
        email_verified_at: user.email_verified_at,
        available: wallet.available.0,
        held: wallet.held.0,
    }))
}
