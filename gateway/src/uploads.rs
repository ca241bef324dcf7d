//! `POST /v1/uploads`, `GET` and `DELETE /v1/uploads/{id}`: images that models take as input.

use axum::{
    Json,
    body::Body,
    extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request, State},
    response::{IntoResponse as _, Response},
};
use entities::{
    Timestamp,
    ids::UploadId,
    tables,
    uploads::{self, Deleted},
};
use futures::TryStreamExt as _;
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::{JobsRead, JobsWrite},
    extract::{Parameters, UploadPath},
    jobs::cancel::{not_written, whole},
    platform,
    problem::{Code, FieldError, Problem, ProblemBody},
};

/// The longest form: the largest image and what is around it.
const FORM: usize = 21_000_000;

/// An image that was handed in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Upload)]
pub(crate) struct UploadBody {
    /// `upload_…`: the value for a model's image input.
    #[schema(value_type = String)]
    id: UploadId,
    /// Always `upload`.
    object: &'static str,
    url: String,
    #[schema(value_type = String, format = DateTime)]
    url_expires_at: Timestamp,
    content_type: String,
    width: Option<i32>,
    height: Option<i32>,
    bytes: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it is deleted, unless a job still uses it.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl UploadBody {
    fn new(app: &App, upload: tables::uploads::Model) -> Self {
        let until = app.context.links.expiry(app.context.clock.now());
        Self {
            id: upload.id,
            object: "upload",
            url: platform::link(&app.context, &upload.key, until),
            url_expires_at: until,
            content_type: upload.content_type,
            width: upload.width,
            height: upload.height,
            bytes: upload.bytes,
            created_at: upload.created_at,
            expires_at: upload.expires_at,
        }
    }
}

/// The form of an upload, for the description of the API.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described; the handler reads the form as it streams in")]
pub(crate) struct UploadForm {
    /// The image.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Takes in an image: PNG, JPEG, WebP or GIF, up to 20 MB and 64 megapixels. The body is the file
/// itself, or a form (`multipart/form-data`) with one part, `file`. What it is is found in its bytes.
#[utoipa::path(post, path = "/v1/uploads", tag = "uploads", security(("api_key" = ["jobs:write"])),
    request_body(content(
        (UploadForm = "multipart/form-data"),
        (Vec<u8> = "application/octet-stream"),
        (Vec<u8> = "image/*"),
    )),
    responses(
        (status = 201, body = UploadBody, headers(("Location", description = "the upload's address"))),
        (status = 413, description = "more than 20 MB", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn create(
    State(app): State<App>,
    JobsWrite(caller): JobsWrite,
    parameters: Parameters,
    mut request: Request,
) -> Result<Response, Problem> {
    parameters.end()?;
    let upload = if is_form(request.headers()) {
        DefaultBodyLimit::max(FORM).apply(&mut request);
        let broken = |_| Problem::new(Code::BadRequest, "The form cannot be read.");
        let mut form = Multipart::from_request(request, &())
            .await
            .map_err(|rejection| Problem::for_status(rejection.into_response().status()))?;
        let file = form.next_field().await.map_err(broken)?;
        let file = file.filter(|part| part.name() == Some("file")).ok_or_else(|| {
            let detail = "must come first in the form, and hold the image";
            Problem::invalid(vec![FieldError::new("/file", detail)])
        })?;
        let source = file.map_err(std::io::Error::other);
        platform::store_upload(&app.context, caller.workspace_id, source).await?
    } else {
        let body: Body = request.into_body();
        let source = body.into_data_stream().map_err(std::io::Error::other);
        platform::store_upload(&app.context, caller.workspace_id, source).await?
    };
    let location = format!("/v1/uploads/{}", upload.id);
    let body = Json(UploadBody::new(&app, upload));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], body).into_response())
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim().to_ascii_lowercase().starts_with("multipart/form-data"))
}

/// Tells about an upload.
#[utoipa::path(get, path = "/v1/uploads/{id}", tag = "uploads", security(("api_key" = ["jobs:read"])), params(("id" = String, Path)),
    responses(
        (status = 200, body = UploadBody),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(
    State(app): State<App>,
    JobsRead(caller): JobsRead,
    UploadPath(id): UploadPath,
    parameters: Parameters,
) -> Result<Json<UploadBody>, Problem> {
    parameters.end()?;
    let now = app.context.clock.now();
    let found = uploads::get(app.context.db.read(), caller.workspace_id, id, now).await;
    let upload = found.map_err(Problem::database)?.ok_or_else(Problem::no_such_upload)?;
    Ok(Json(UploadBody::new(&app, upload)))
}

/// Deletes an upload and its file. While a job that has not ended uses it, the answer is 409.
#[utoipa::path(delete, path = "/v1/uploads/{id}", tag = "uploads", security(("api_key" = ["jobs:write"])), params(("id" = String, Path)),
    responses(
        (status = 204, description = "gone"),
        (status = 409, description = "a job that has not ended uses it", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn delete(
    State(app): State<App>,
    JobsWrite(caller): JobsWrite,
    UploadPath(id): UploadPath,
    parameters: Parameters,
) -> Result<StatusCode, Problem> {
    parameters.end()?;
    let (workspace, now) = (caller.workspace_id, app.context.clock.now());
    let context = app.context.clone();
    whole(async move {
        let change =
            context.writer.run(id.0, move |tx| Box::pin(uploads::delete(tx, workspace, id, now)));
        match change.await.map_err(not_written)? {
            Deleted::NotFound => Err(Problem::no_such_upload()),
            Deleted::InUse => Err(Problem::new(
                Code::UploadInUse,
                "A job that has not ended uses this upload. Cancel the job, or wait for its end.",
            )),
            Deleted::Done { key } => {
                platform::remove(&context, &[key]).await;
                Ok(StatusCode::NO_CONTENT)
            }
        }
    })
    .await
}
