//! `POST /callbacks/{provider}/{attempt_id}?mac=…`: what providers report.
//!
//! The address is known to whom we gave it: its MAC is checked before anything else, and what is
//! wrong with an address looks like an address that is not there. The report is stored as it came
//! and answered at once; a worker judges it.

use axum::{
    body,
    extract::{Path, Request, State},
};
use entities::{
    callbacks::{self, NewCallback},
    ids::AttemptId,
};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use crate::{
    app::App,
    extract::Parameters,
    jobs::cancel::not_written,
    platform,
    problem::{Code, Problem, ProblemBody},
};

/// The longest report.
const LONGEST: usize = 1_000_000;

/// How long a report may take to arrive.
const ARRIVAL: std::time::Duration = std::time::Duration::from_secs(20);

/// Takes a provider's report. Only addresses that the platform gave out work.
#[utoipa::path(post, path = "/callbacks/{provider}/{attempt_id}", tag = "callbacks", security(()),
    params(("provider" = String, Path), ("attempt_id" = String, Path), ("mac" = String, Query)),
    request_body(content = String, content_type = "application/json"),
    responses(
        (status = 200, description = "taken"),
        (status = 404, description = "no such address", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 413, description = "more than 1 MB", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn take(
    State(app): State<App>,
    Path((provider, attempt)): Path<(String, String)>,
    parameters: Result<Parameters, Problem>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let attempt: AttemptId = attempt.parse().map_err(|_| nowhere())?;
    let mac = parameters.ok().and_then(|mut parameters| parameters.text("mac"));
    if !mac.is_some_and(|mac| platform::is_callback(&app.context, &provider, attempt, &mac)) {
        return Err(nowhere());
    }
    let (parts, body) = request.into_parts();
    let body = tokio::time::timeout(ARRIVAL, body::to_bytes(body, LONGEST))
        .await
        .map_err(|_| Problem::for_status(StatusCode::REQUEST_TIMEOUT))?
        .map_err(|_| Problem::for_status(StatusCode::PAYLOAD_TOO_LARGE))?;
    let new = NewCallback {
        attempt_id: attempt,
        provider,
        headers: headers(&parts.headers),
        body: body.to_vec(),
        received_at: app.context.clock.now(),
    };
    let change = app.context.writer.run(attempt.0, move |tx| {
        let new = new.clone();
        Box::pin(async move { callbacks::store(tx, &new).await })
    });
    let effects = change.await.map_err(not_written)?.ok_or_else(nowhere)?;
    app.context.perform(effects);
    Ok(StatusCode::OK)
}

/// A wrong MAC, a wrong provider, an unknown call: all look the same.
fn nowhere() -> Problem {
    Problem::new(Code::NotFound, "There is nothing at this address.")
}

/// Every header with all of its values, as text.
fn headers(all: &HeaderMap) -> Value {
    let mut named: Map<String, Value> = Map::new();
    for name in all.keys() {
        let values = all.get_all(name).iter();
        // U+0000 cannot stand in a header, so databases take the text.
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        named.insert(name.as_str().to_owned(), values.collect());
    }
    named.into()
}
