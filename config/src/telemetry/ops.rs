//! The operations port: `/livez`, `/readyz`, `/metrics`. Not for the public.
//!
//! It answers until the very end of a process, so that a load balancer can see it drain.

use std::{collections::BTreeMap, future::Future, io, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use serde::Serialize;
use tokio::net::TcpListener;

use super::Metrics;
pub use super::{ListenError, listen};
use crate::shutdown::Shutdown;

/// A check that has not answered by then has failed.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long requests that are still being answered may hold the end up.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Whether the process can do its work: named checks, and whether it is about to stop.
#[derive(Clone)]
pub struct Readiness {
    shutdown: Shutdown,
    checks: Vec<(&'static str, Check)>,
    patience: Duration,
}

/// The answer of `/readyz`.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Report {
    ready: bool,
    draining: bool,
    checks: BTreeMap<&'static str, String>,
}

impl Readiness {
    /// Ready until `shutdown` begins.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, checks: Vec::new(), patience: PATIENCE }
    }

    /// Ready only while this succeeds, too. What it says on failure is shown: no secrets.
    #[must_use]
    pub fn check<F, A>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.checks.push((name, Arc::new(move || check().boxed())));
        self
    }

    async fn report(&self) -> Report {
        let answers = self.checks.iter().map(|(name, check)| async move {
            let answer = tokio::time::timeout(self.patience, check()).await;
            let no_answer = || Err(format!("no answer within {:?}", self.patience));
            (*name, answer.unwrap_or_else(|_| no_answer()))
        });
        let answers = join_all(answers).await;
        let draining = self.shutdown.is_draining();
        Report {
            ready: !draining && answers.iter().all(|(_, answer)| answer.is_ok()),
            draining,
            checks: answers
                .into_iter()
                .map(|(name, answer)| (name, answer.err().unwrap_or_else(|| "ok".to_owned())))
                .collect(),
        }
    }
}

/// Serves the operations port until `shutdown` is over.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    readiness: Readiness,
    shutdown: Shutdown,
) -> io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(metrics_text).with_state(metrics));
    let serving = axum::serve(listener, router).with_graceful_shutdown(shutdown.over());
    // A client that keeps its connection open must not keep the process.
    let give_up = async {
        shutdown.over().await;
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        served = serving.into_future() => served,
        () = give_up => Ok(()),
    }
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, Json<Report>) {
    let report = readiness.report().await;
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report))
}

async fn metrics_text(State(metrics): State<Metrics>) -> Response {
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be shown");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests;
