//! Every error that a client sees: RFC 9457 problem details with a stable `code`.
//!
//! A [`Problem`] travels to the outermost layer as an extension of its response; `finish` writes
//! the body there (`body`), because only it knows the request's id.

mod body;
#[cfg(test)]
mod tests;

use std::error::Error;

use entities::accounts::Scope;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use body::ProblemBody;

/// The kinds of problems; their names are part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    BadRequest,
    MalformedJson,
    Unauthorized,
    InsufficientCredits,
    MaxCreditsExceeded,
    SpendingLimitExceeded,
    InsufficientScope,
    Forbidden,
    TooYoung,
    CrossSite,
    GoogleRefused,
    WrongCredentials,
    TooManyAttempts,
    NotConfigured,
    ReauthenticationRequired,
    LinkExpired,
    LinkInvalid,
    NotFound,
    UnknownModel,
    MethodNotAllowed,
    Timeout,
    EmailTaken,
    JobLive,
    UploadInUse,
    TooManyKeys,
    BodyTooLarge,
    UnsupportedMediaType,
    RangeNotSatisfiable,
    InvalidInput,
    IdempotencyKeyReused,
    RateLimited,
    Internal,
    Unavailable,
    ModelUnavailable,
}

impl Code {
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadRequest => (S::BAD_REQUEST, "bad_request", "Bad request"),
            Self::MalformedJson => (S::BAD_REQUEST, "malformed_json", "Malformed JSON"),
            Self::Unauthorized => (S::UNAUTHORIZED, "unauthorized", "Unauthorized"),
            Self::InsufficientCredits => {
                (S::PAYMENT_REQUIRED, "insufficient_credits", "Insufficient credits")
            }
            Self::MaxCreditsExceeded => {
                (S::PAYMENT_REQUIRED, "max_credits_exceeded", "Price above max_credits")
            }
            Self::SpendingLimitExceeded => {
                (S::PAYMENT_REQUIRED, "spending_limit_exceeded", "Spending limit exceeded")
            }
            Self::InsufficientScope => (S::FORBIDDEN, "insufficient_scope", "Insufficient scope"),
            Self::Forbidden => (S::FORBIDDEN, "forbidden", "Forbidden"),
            Self::TooYoung => (S::FORBIDDEN, "too_young", "Too young"),
            Self::CrossSite => (S::FORBIDDEN, "cross_site", "Sent by another site"),
            Self::GoogleRefused => (S::FORBIDDEN, "google_refused", "Google sign-in refused"),
            Self::WrongCredentials => {
                (S::UNAUTHORIZED, "wrong_credentials", "Wrong address or password")
            }
            Self::TooManyAttempts => {
                (S::TOO_MANY_REQUESTS, "too_many_attempts", "Too many attempts")
            }
            Self::NotConfigured => (S::NOT_FOUND, "not_configured", "Not set up here"),
            Self::ReauthenticationRequired => {
                (S::FORBIDDEN, "reauthentication_required", "Reauthentication required")
            }
            Self::LinkExpired => (S::FORBIDDEN, "link_expired", "Link expired"),
            Self::LinkInvalid => (S::FORBIDDEN, "link_invalid", "Link invalid"),
            Self::NotFound => (S::NOT_FOUND, "not_found", "Not found"),
            Self::UnknownModel => (S::NOT_FOUND, "unknown_model", "Unknown model"),
            Self::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed")
            }
            Self::Timeout => (S::REQUEST_TIMEOUT, "timeout", "Request timed out"),
            Self::EmailTaken => (S::CONFLICT, "email_taken", "Address is taken"),
            Self::JobLive => (S::CONFLICT, "job_live", "Job is live"),
            Self::UploadInUse => (S::CONFLICT, "upload_in_use", "Upload is in use"),
            Self::TooManyKeys => (S::CONFLICT, "too_many_keys", "Too many keys"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body_too_large", "Body too large"),
            Self::UnsupportedMediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Unsupported media type")
            }
            Self::RangeNotSatisfiable => {
                (S::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", "Range not satisfiable")
            }
            Self::InvalidInput => (S::UNPROCESSABLE_ENTITY, "invalid_input", "Invalid input"),
            Self::IdempotencyKeyReused => {
                (S::UNPROCESSABLE_ENTITY, "idempotency_key_reused", "Idempotency key reused")
            }
            Self::RateLimited => (S::TOO_MANY_REQUESTS, "rate_limited", "Too many requests"),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::Unavailable => (S::SERVICE_UNAVAILABLE, "unavailable", "Unavailable"),
            Self::ModelUnavailable => {
                (S::SERVICE_UNAVAILABLE, "model_unavailable", "Model unavailable")
            }
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        self.parts().0
    }

    fn name(self) -> &'static str {
        self.parts().1
    }

    fn title(self) -> &'static str {
        self.parts().2
    }
}

/// What is wrong with one part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// A JSON pointer into the body; `/query/…` and `/headers/…` for the other parts.
    pub(crate) pointer: String,
    /// What is wrong with it, in plain words.
    pub(crate) detail: String,
}

impl FieldError {
    pub(crate) fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// An error on its way to the client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// Whether it tells somebody that they are too young.
    pub(crate) fn is_too_young(&self) -> bool {
        matches!(self.code, Code::TooYoung)
    }

    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        let mut problem =
            Self { code, detail: detail.into(), errors: Vec::new(), headers: Vec::new() };
        match code {
            Code::Unauthorized => {
                problem = problem
                    .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Code::Unavailable => {
                problem = problem.with_header(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        problem
    }

    /// Whether it is of this kind.
    pub(crate) fn is(&self, code: Code) -> bool {
        self.code == code
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Input that can be read but not used.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => only.detail.clone(),
            _ => "Several parts of the request are not valid.".to_owned(),
        };
        Self { errors, ..Self::new(Code::InvalidInput, detail) }
    }

    /// A job that does not exist, or not for this caller: the two look the same.
    pub(crate) fn no_such_job() -> Self {
        Self::new(Code::NotFound, "There is no such job.")
    }

    /// The same for an upload.
    pub(crate) fn no_such_upload() -> Self {
        Self::new(Code::NotFound, "There is no such upload.")
    }

    /// The same for an API key.
    pub(crate) fn no_such_key() -> Self {
        Self::new(Code::NotFound, "There is no such key.")
    }

    /// No key, a wrong one or a revoked one: all look the same.
    pub(crate) fn unauthorized() -> Self {
        Self::new(Code::Unauthorized, "A valid API key is needed: Authorization: Bearer tt_live_…")
    }

    /// The caller is known, but its key was not made for this.
    pub(crate) fn insufficient_scope(needed: Scope) -> Self {
        let detail = format!("This needs the scope {needed}, which the API key does not have.");
        Self::new(Code::InsufficientScope, detail)
    }

    /// The database did not do what was asked of it.
    pub(crate) fn database(error: impl Error) -> Self {
        tracing::error!(%error, "the database failed");
        Self::new(Code::Unavailable, "The service cannot reach its database. Try again.")
    }

    /// What is told for an error response that did not begin as a problem.
    pub(crate) fn for_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => (Code::NotFound, "There is nothing at this address."),
            StatusCode::METHOD_NOT_ALLOWED => {
                (Code::MethodNotAllowed, "This address does not answer to this method.")
            }
            StatusCode::REQUEST_TIMEOUT => (Code::Timeout, "The request did not arrive in time."),
            StatusCode::PAYLOAD_TOO_LARGE => (Code::BodyTooLarge, "The body is too large."),
            StatusCode::SERVICE_UNAVAILABLE => {
                (Code::Unavailable, "The answer took too long. Try again.")
            }
            status if status.is_client_error() => {
                (Code::BadRequest, "The request could not be understood.")
            }
            _ => (Code::Internal, "Something went wrong on our side."),
        };
        Self::new(code, detail)
    }

    /// The status of its answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// What to tell people: a sentence for each part that is wrong.
    pub(crate) fn words(&self) -> Vec<String> {
        let named = |error: &FieldError| {
            let name = error.pointer.trim_start_matches('/').replace('_', " ");
            let mut letters = name.chars();
            let first = letters.next().map(|first| first.to_uppercase().to_string());
            format!("{}{} {}.", first.unwrap_or_default(), letters.as_str(), error.detail)
        };
        match self.errors.as_slice() {
            [] => vec![self.detail.clone()],
            errors => errors.iter().map(named).collect(),
        }
    }
}
