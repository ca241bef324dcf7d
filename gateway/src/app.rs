//! The router, its layers, and serving it until the process drains.

use std::{io, net::SocketAddr, ops::Deref, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use config::context::Context;
use futures::FutureExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;

use crate::{
    auth::identify,
    callers::Callers,
    finish::finish,
    last_use::LastUse,
    limits::{Limits, limit},
    openapi,
    people::{Google, guard},
    platform,
    problem::{Code, Problem},
    rate::Quotas,
    usage_log::{UsageLog, log},
    waiters::Waiters,
};

/// What handlers share. Cheap to clone, which axum does for each request.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What an [`App`] holds.
pub(crate) struct Shared {
    pub(crate) context: Context,
    pub(crate) limits: Limits,
    pub(crate) waiters: Waiters,
    pub(crate) callers: Callers,
    pub(crate) last_use: LastUse,
    pub(crate) usage_log: UsageLog,
    /// What the settings allow.
    pub(crate) quotas: Quotas,
    /// Set up or not.
    pub(crate) google: Option<Google>,
    /// Cancelled when the process begins to drain: waits and streams end.
    pub(crate) draining: CancellationToken,
}

/// The API as a service. Must be called within a Tokio runtime: it starts the task that wakes
/// waiting requests and the one that notes when keys were used, which end with the router or when
/// the process drains.
pub fn router(context: Context) -> Router {
    let draining = platform::draining(&context);
    let waiters = Waiters::start(&context, draining.clone());
    let body_limit = platform::body_limit(&context);
    let last_use = LastUse::start(&context);
    let limits = Limits::new(&context.settings);
    let callers = Callers::start(&context, draining.clone());
    let usage_log = UsageLog::start(&context);
    let quotas = Quotas::new(&context.settings, &context.rates);
    let google = Google::new(&context);
    let shared =
        Shared { context, limits, waiters, callers, last_use, usage_log, quotas, google, draining };
    let app = App(Arc::new(shared));
    openapi::routes()
        .fallback(|| async { Problem::new(Code::NotFound, "There is nothing at this address.") })
        .layer(
            ServiceBuilder::new()
                .layer(middleware::from_fn_with_state(app.clone(), around))
                .layer(DefaultBodyLimit::max(body_limit)),
        )
        .with_state(app)
}

/// Serves the API until the process drains; open requests are answered first.
///
/// # Errors
/// When the listener fails.
pub async fn serve(context: Context, listener: TcpListener) -> io::Result<()> {
    let draining = platform::draining(&context);
    let service = router(context).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(draining.cancelled_owned()).await
}

/// What surrounds every handler, from the outside in. It is one layer: each further one would cost
/// every request a box, and a copy of all services within it.
async fn around(State(app): State<App>, request: Request, next: Next) -> Response {
    let app = &app;
    let guarded = |request| guard(app, request, |request| next.run(request));
    let limited = |request, client, visit| {
        let identified = move |request| identify(app, request, client, visit, guarded);
        caught(limit(&app.limits, request, identified))
    };
    finish(app, request, |request| log(app, request, limited)).await
}

/// The response, also when the handler panics. What a panic says may hold anything, so it is
/// neither sent nor logged here; the process's own panic hook has it.
async fn caught(response: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(response).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!("a handler panicked");
        Problem::new(Code::Internal, "Something went wrong on our side.").into_response()
    })
}
