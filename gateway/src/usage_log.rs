//! The usage log: one row for each request to the API, written in batches off the request's path.
//!
//! Stored: `usage_log`: when, the method, the route's pattern, the status, the browser's type, the
//! address, and who it was. Never a path, a query, a body, a header or a secret. A buffer holds
//! what is not written yet; what does not fit into it is lost, which a metric counts, because a
//! request must not wait for its log. The rest is written before the process ends.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request},
    response::Response,
};
use config::context::Context;
use entities::{
    accounts::Caller,
    usage::{self, UsageRow},
};
use http::request::Parts;
use tokio::sync::mpsc;

use crate::{address::Client, app::App, finish::method_name, people::Whose, problem::Problem};

/// Rows that wait to be written at most.
const WAITING: usize = 50_000;

/// Rows in one statement at most.
const BATCH: usize = 1_000;

/// A row waits no longer than this for others.
const GATHER: Duration = Duration::from_millis(500);

/// The pause before rows are written again that could not be written.
const AGAIN: Duration = Duration::from_secs(1);

/// Where rows go. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct UsageLog {
    rows: mpsc::Sender<UsageRow>,
}

impl UsageLog {
    /// Starts the task that writes; it ends, after a last write, with the last clone.
    pub(crate) fn start(context: &Context) -> Self {
        let (rows, waiting) = mpsc::channel(WAITING);
        let writing = context.clone();
        context.shutdown.spawn(async move { write_all(&writing, waiting).await });
        Self { rows }
    }
}

/// What is noted of a request while it is handled, for its row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visit(Arc<Noted>);

#[derive(Debug, Default)]
struct Noted {
    caller: OnceLock<Caller>,
    model: OnceLock<String>,
}

impl Visit {
    /// Notes who it is.
    pub(crate) fn caller(&self, caller: Caller) {
        // The first one counts; there is no other.
        self.0.caller.get_or_init(|| caller);
    }

    /// Notes the model that it is about: one of the catalogue, never a client's own text.
    pub(crate) fn model(&self, model: &str) {
        self.0.model.get_or_init(|| model.to_owned());
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Without a log nobody reads what is noted.
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// Notes where a request comes from, and logs it once it is answered.
pub(crate) async fn log<F, Fut>(app: &App, mut request: Request, next: F) -> Response
where
    F: FnOnce(Request, Client, Visit) -> Fut,
    Fut: Future<Output = Response>,
{
    let client = Client::of(&request, &app.context.settings.gateway.trusted_proxies);
    let visit = Visit::default();
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(visit.clone());
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next(request, client, visit.clone()).await;
    // Files, pages and providers' reports are no use of the API.
    let route = route.as_ref().map(MatchedPath::as_str).filter(|route| route.starts_with("/v1"));
    // Of somebody who is too young nothing is kept, not even that they came.
    let too_young = response.extensions().get::<Problem>().is_some_and(Problem::is_too_young);
    if let Some(route) = route
        && app.context.settings.limits.usage_log
        && !too_young
    {
        let caller = visit.0.caller.get();
        let signed_in = response.extensions().get::<Whose>();
        let row = UsageRow {
            at: app.context.clock.now(),
            method,
            route: route.to_owned(),
            status: response.status().as_u16(),
            browser: client.browser.name(),
            address: client.address,
            key_id: caller.and_then(|caller| caller.credential.key()),
            workspace_id: caller
                .map(|caller| caller.workspace_id)
                .or(signed_in.map(|whose| whose.workspace_id)),
            user_id: caller.map(|caller| caller.user_id).or(signed_in.map(|whose| whose.user_id)),
            model: visit.0.model.get().cloned(),
        };
        if app.usage_log.rows.try_send(row).is_err() {
            app.context.metrics.usage_rows_lost(1);
        }
    }
    response
}

async fn write_all(context: &Context, mut waiting: mpsc::Receiver<UsageRow>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut days = HashSet::new();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        if batch.len() < BATCH {
            // Asleep, not listening: otherwise each row would wake this task.
            tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                () = context.shutdown.wait() => {}
            }
            while batch.len() < BATCH
                && let Ok(row) = waiting.try_recv()
            {
                batch.push(row);
            }
        }
        while let Err(error) = usage::write(&context.db, &batch, &mut days).await {
            // The buffer gathers meanwhile. At the end nobody waits for a database that is away.
            if waiting.is_closed() {
                tracing::warn!(%error, rows = batch.len(), "rows of the usage log are lost");
                context.metrics.usage_rows_lost(batch.len());
                break;
            }
            tracing::warn!(%error, "the usage log is not written; it will be tried again");
            tokio::time::sleep(AGAIN).await;
        }
        batch.clear();
    }
}
