//! How many requests are handled at the same time, and for how long one may take.
//!
//! Both end in 503 with `Retry-After`: the client did nothing wrong and may come back. A submit
//! that is cut off here may be committed; its `Idempotency-Key` finds it.

use std::time::Duration;

use axum::{
    extract::Request,
    response::{IntoResponse as _, Response},
};
use config::settings::Settings;
use tokio::sync::Semaphore;

use crate::problem::{Code, Problem};

/// The longest `?wait=`, and time to read the database after it.
const WAIT: Duration = Duration::from_secs(65);

/// A large upload over a slow line.
const ARRIVAL: Duration = Duration::from_secs(120);

/// What is needed for it.
pub(crate) struct Limits {
    places: Semaphore,
    patience: Duration,
}

impl Limits {
    pub(crate) fn new(settings: &Settings) -> Self {
        let places = settings.gateway.concurrency.get().min(Semaphore::MAX_PERMITS);
        Self { places: Semaphore::new(places), patience: settings.gateway.request_timeout }
    }

    /// A request that asks to wait gets its wait on top, and an upload the time to arrive.
    fn patience(&self, request: &Request) -> Duration {
        if request.uri().path() == "/v1/uploads" {
            return self.patience + ARRIVAL;
        }
        let waits = request
            .uri()
            .query()
            .is_some_and(|query| query.split('&').any(|pair| pair.starts_with("wait=")));
        if waits { self.patience + WAIT } else { self.patience }
    }
}

/// Lets a request pass if there is a place for it, and cuts it off when its time is over.
pub(crate) async fn limit<F, Fut>(limits: &Limits, request: Request, next: F) -> Response
where
    F: FnOnce(Request) -> Fut,
    Fut: Future<Output = Response>,
{
    let Ok(_place) = limits.places.try_acquire() else {
        return Problem::new(Code::Unavailable, "Too many requests are being handled. Try again.")
            .into_response();
    };
    let patience = limits.patience(&request);
    match tokio::time::timeout(patience, next(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Code::Unavailable, "This took too long. Try again.").into_response(),
    }
}
