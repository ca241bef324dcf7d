//! The router, its layers, and serving it until the process drains.

use std::{any::Any, io, net::SocketAddr, ops::Deref, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    response::{IntoResponse, Response},
};
use config::context::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

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

/// What handlers share. Cheap to clone, which axum does for each layer of each request.
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
        Shared { context, waiters, callers, last_use, usage_log, quotas, google, draining };
    let app = App(Arc::new(shared));
    openapi::routes()
        .fallback(|| async { Problem::new(Code::NotFound, "There is nothing at this address.") })
        // From the outside in. Together they cost each request one copy of a boxed service; layer by
        // layer, the router would make one for each layer, and each with all that is within it.
        .layer(
            ServiceBuilder::new()
                .layer(middleware::from_fn_with_state(app.clone(), finish))
                .layer(middleware::from_fn_with_state(app.clone(), log))
                .layer(CatchPanicLayer::custom(panicked))
                .layer(middleware::from_fn_with_state(limits, limit))
                .layer(middleware::from_fn_with_state(app.clone(), identify))
                .layer(DefaultBodyLimit::max(body_limit))
                .layer(middleware::from_fn_with_state(app.clone(), guard)),
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

/// What a panic says may hold anything, so it is neither sent nor logged here; the process's own
/// panic hook has it.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a handler panicked");
    Problem::new(Code::Internal, "Something went wrong on our side.").into_response()
}
