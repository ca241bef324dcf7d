//! `GET /v1/models` and `/v1/models/{owner}/{name}`: what can be made, and for how much.

use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
};
use entities::job::Kind;
use http::request::Parts;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::Authenticated,
    extract::Parameters,
    openapi::List,
    platform,
    problem::{Code, Problem, ProblemBody},
};

/// What a model costs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Price {
    /// For one job with the default input.
    pub(crate) credits: i64,
    /// How the input changes it.
    pub(crate) formula: String,
}

/// A model as users see it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelBody {
    /// `owner/name`.
    pub(crate) id: String,
    /// Always `model`.
    pub(crate) object: &'static str,
    /// What it makes: `image` or `video`.
    #[schema(value_type = String)]
    pub(crate) kind: Kind,
    /// In plain words.
    pub(crate) description: String,
    /// What it costs.
    pub(crate) price: Price,
    /// The JSON Schema of `input`.
    #[schema(value_type = Object)]
    pub(crate) input_schema: Value,
    /// An input that works.
    #[schema(value_type = Object)]
    pub(crate) example: Value,
    /// How long a job usually takes.
    pub(crate) median_seconds: Option<f64>,
}

/// The model of the path. What cannot be read names no model.
pub(crate) struct ModelPath(String);

impl<S: Send + Sync> FromRequestParts<S> for ModelPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map(|Path((owner, name))| Self(format!("{owner}/{name}")))
            .map_err(|_| unknown())
    }
}

/// There is no such model.
pub(crate) fn unknown() -> Problem {
    Problem::new(Code::UnknownModel, "There is no such model; GET /v1/models lists them.")
}

/// All models.
#[utoipa::path(get, path = "/v1/models", tag = "models", responses(
    (status = 200, body = List<ModelBody>),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Authenticated,
    parameters: Parameters,
) -> Result<Json<List<ModelBody>>, Problem> {
    parameters.end()?;
    Ok(Json(List::whole(platform::models(&app.context.catalogue))))
}

/// One model.
#[utoipa::path(get, path = "/v1/models/{owner}/{name}", tag = "models",
    params(
        ("owner" = String, Path, example = "demo"),
        ("name" = String, Path, example = "sketch"),
    ),
    responses(
        (status = 200, body = ModelBody),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(
    State(app): State<App>,
    _: Authenticated,
    ModelPath(id): ModelPath,
    parameters: Parameters,
) -> Result<Json<ModelBody>, Problem> {
    parameters.end()?;
    let model = platform::model(&app.context.catalogue, &id).ok_or_else(unknown)?;
    Ok(Json(platform::model_body(model)))
}
