//! One pool in this process: apalis workers that submit, a loop that polls, and a heartbeat that
//! tells the dispatcher how much the pool can take.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc, time::Duration};

use apalis::prelude::Monitor;
use config::{
    context::Context,
    net::{ClientError, Fetcher},
};
use entities::{job, pools};
use tokio::sync::Notify;

use crate::{
    cadence::Cadence, callbacks::callback_loop, copies::copies_loop, engine::Engine,
    exports::export_loop, poll::poll_loop, providers::Provider,
};

/// A pool and how many calls it makes at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSize {
    /// Its name; the same as its provider's.
    pub name: String,
    /// Calls at the same time.
    pub concurrency: NonZeroUsize,
}

/// How often a pool says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Runs the pools until shutdown: then takes nothing new, finishes what is in hand within the
/// grace time, and returns.
///
/// # Errors
/// See [`PoolError`].
pub async fn run(
    context: Context,
    providers: &BTreeMap<String, Arc<dyn Provider>>,
    sizes: &[PoolSize],
) -> Result<(), PoolError> {
    let fetcher = Fetcher::new()?;
    // Whatever an operator switched off stays off, also right after a start.
    tokio::select! {
        () = context.routes.ready() => {}
        () = context.shutdown.wait() => return Ok(()),
    }
    let mut monitor = Monitor::new();
    let mut loops = Vec::new();
    for size in sizes {
        let provider = providers
            .get(&size.name)
            .ok_or_else(|| PoolError::UnknownPool { name: size.name.clone() })?;
        has_time(&context, provider.as_ref(), &size.name)?;
        provider.retries().count_in(context.metrics.clone());
        let engine = Engine {
            context: context.clone(),
            provider: Arc::clone(provider),
            pool: size.name.as_str().into(),
            lease: context.settings.workers.lease,
            fetcher: fetcher.clone(),
            due: Arc::new(Notify::new()),
            cadence: Arc::new(Cadence::new(looks_per_second(provider.as_ref(), &context))),
        };
        let submitting = engine.clone();
        monitor =
            context.queue.register(monitor, &size.name, size.concurrency.get(), move |hint| {
                let engine = submitting.clone();
                async move { engine.handle(hint).await }
            });
        loops.push(tokio::spawn(callback_loop(engine.clone())));
        loops.push(tokio::spawn(copies_loop(engine.clone())));
        loops.push(tokio::spawn(poll_loop(engine.clone(), size.concurrency.get())));
        loops.push(tokio::spawn(heartbeat(engine, size.concurrency.get())));
    }
    loops.push(tokio::spawn(export_loop(context.clone())));
    let stop = context.shutdown.clone();
    let grace = context.settings.workers.grace;
    let signal = async move {
        stop.wait().await;
        Ok(())
    };
    if let Err(error) =
        monitor.should_restart(|_, _| true).shutdown_timeout(grace).run_with_signal(signal).await
    {
        tracing::error!(%error, "the workers did not stop cleanly");
    }
    for handle in loops {
        if let Err(error) = handle.await {
            tracing::error!(%error, "a pool's loop ended badly");
        }
    }
    if let Err(error) = pools::retire(context.db.write(), context.process_id).await {
        tracing::warn!(%error, "could not say goodbye; the heartbeat will run out");
    }
    Ok(())
}

/// Whether a lease, and the grace time of a stop, are long enough for the provider's calls.
fn has_time(context: &Context, provider: &dyn Provider, pool: &str) -> Result<(), PoolError> {
    let (workers, longest) = (&context.settings.workers, provider.submit_timeout());
    let needed = longest + job::policy::LEASE_MARGIN;
    if workers.lease <= needed {
        return Err(PoolError::ShortLease { name: pool.to_owned(), needed: needed.as_secs() });
    }
    if workers.grace < longest {
        tracing::warn!(
            pool,
            needed = longest.as_secs(),
            "workers.grace_seconds is shorter than a call may take: a stop can lose its answer"
        );
    }
    Ok(())
}

/// A pool that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// Media could not be fetched.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No provider serves it.
    #[error("there is no provider for the pool {name:?}")]
    UnknownPool {
        /// The pool.
        name: String,
    },
    /// Nothing could ever be sent under such a lease.
    #[error(
        "the pool {name:?} needs leases of more than {needed} s (setting workers.lease_seconds)"
    )]
    ShortLease {
        /// The pool.
        name: String,
        /// In seconds.
        needed: u64,
    },
}

/// The setting, or less where the provider allows no more.
fn looks_per_second(provider: &dyn Provider, context: &Context) -> f64 {
    let most = f64::from(context.settings.workers.polls_per_second.get());
    provider.looks_per_second().map_or(most, |own| own.min(most))
}

async fn heartbeat(engine: Engine, concurrency: usize) {
    let capacity = i32::try_from(concurrency).unwrap_or(i32::MAX);
    let stopping = engine.context.shutdown.clone();
    loop {
        let (db, id) = (engine.context.db.write(), engine.context.process_id);
        if let Err(error) = pools::announce(db, id, &engine.pool, capacity).await {
            tracing::debug!(%error, "the pool's heartbeat was not written");
        }
        match pools::polled(engine.context.db.read(), &engine.pool).await {
            Ok(count) => engine.cadence.in_flight(u32::try_from(count).unwrap_or(u32::MAX)),
            Err(error) => tracing::debug!(%error, "the pool's calls in flight were not counted"),
        }
        tokio::select! {
            () = stopping.wait() => return,
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
    }
}
