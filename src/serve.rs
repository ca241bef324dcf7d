//! The long-running commands: which parts run in this process, and how they start and stop.

use std::{collections::BTreeMap, pin::pin, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use config::{
    context::Context,
    settings::{Mode, Offer, Settings},
    shutdown::Ended,
    telemetry::ops::{self, Readiness},
};
use futures::future::BoxFuture;
use tokio::{net::TcpListener, task::JoinSet};
use workers::{
    PoolSize,
    providers::{
        Provider,
        demo::DemoProvider,
        fal::{self, FalProvider},
        huggingface::{self, HuggingFaceProvider},
        kie::{self, KieProvider},
    },
};

use crate::{cli::Files, start, welcome};

/// How long closing the database's connections may take.
const LAST_GOODBYE: Duration = Duration::from_secs(2);

type Part = BoxFuture<'static, Result<()>>;

/// Everything in one process.
pub(crate) async fn everything(files: &Files, once: bool) -> Result<ExitCode> {
    let settings = start::settings(files, Mode::Embedded)?;
    start::logs(&settings)?;
    start::data_folder(&settings)?;
    let (settings, listener) = gateway_listener(settings).await?;
    let ops_listener = ops::listen(settings.ops.listen, "ops.listen").await?;
    let context = start::context(files, settings, Mode::Embedded).await?;
    let account = welcome::account(&context).await?;
    let pools = embedded_pools(&context);
    let parts: Vec<Part> = vec![
        gateway_part(&context, listener),
        workers_part(&context, pools),
        scheduler_part(&context),
        Box::pin(welcome::show(context.clone(), account, once)),
    ];
    let drain = context.settings.gateway.drain;
    run(context, parts, ops_listener, drain).await
}

/// The HTTP API alone.
pub(crate) async fn gateway(files: &Files) -> Result<ExitCode> {
    let settings = start::settings(files, Mode::Distributed)?;
    start::logs(&settings)?;
    let (settings, listener) = gateway_listener(settings).await?;
    let ops_listener = ops::listen(settings.ops.listen, "ops.listen").await?;
    let context = start::context(files, settings, Mode::Distributed).await?;
    let parts = vec![gateway_part(&context, listener)];
    let drain = context.settings.gateway.drain;
    run(context, parts, ops_listener, drain).await
}

/// Worker pools alone.
pub(crate) async fn workers(files: &Files, pools: &[PoolSize]) -> Result<ExitCode> {
    let settings = start::settings(files, Mode::Distributed)?;
    start::logs(&settings)?;
    for pool in pools {
        if let Offer::NeedsKey(variable) = settings.providers.offer(&pool.name) {
            bail!("the pool {} needs {variable}, which is not set", pool.name);
        }
    }
    let ops_listener = ops::listen(settings.ops.listen, "ops.listen").await?;
    let context = start::context(files, settings, Mode::Distributed).await?;
    let parts = vec![workers_part(&context, pools.to_vec())];
    run(context, parts, ops_listener, Duration::ZERO).await
}

/// Periodic tasks alone.
pub(crate) async fn scheduler(files: &Files) -> Result<ExitCode> {
    let settings = start::settings(files, Mode::Distributed)?;
    start::logs(&settings)?;
    let ops_listener = ops::listen(settings.ops.listen, "ops.listen").await?;
    let context = start::context(files, settings, Mode::Distributed).await?;
    let parts = vec![scheduler_part(&context)];
    run(context, parts, ops_listener, Duration::ZERO).await
}

/// Opens the gateway's port; links begin with the address that it got.
async fn gateway_listener(settings: Settings) -> Result<(Settings, TcpListener)> {
    let listener = ops::listen(settings.gateway.listen, "gateway.listen").await?;
    let address = listener.local_addr().context("the gateway's port has no address")?;
    Ok((settings.listening_on(address), listener))
}

/// Runs the parts until all have ended; the first that fails stops the others. `drain` is for a
/// load balancer to look away; whom nobody sends requests to needs none. What is still
/// running when the grace has passed is cut off: its jobs come back by their leases.
async fn run(
    context: Context,
    parts: Vec<Part>,
    ops: TcpListener,
    drain: Duration,
) -> Result<ExitCode> {
    context.shutdown.on_signals().context("signals cannot be listened for")?;
    let phases = context.shutdown.clone();
    let grace = context.settings.workers.grace;
    tokio::spawn(async move {
        if let Ended::CutOff(parts) = phases.run(drain, grace).await {
            tracing::warn!(parts, "the grace has passed; what is still running is cut off");
        }
    });
    let mut running = JoinSet::new();
    // Not tracked: it answers until everything else has ended.
    running.spawn(ops_part(&context, ops));
    for part in parts {
        running.spawn(context.shutdown.track(part));
    }
    let mut first = Ok(());
    let mut over = pin!(context.shutdown.over());
    let mut cut_off = false;
    loop {
        let ended = tokio::select! {
            ended = running.join_next() => ended,
            () = &mut over, if !cut_off => {
                running.abort_all();
                cut_off = true;
                continue;
            }
        };
        let ended = match ended {
            None => break,
            Some(Err(error)) if error.is_cancelled() => continue,
            Some(ended) => {
                ended.context("a part of the program ended badly").and_then(|result| result)
            }
        };
        if ended.is_err() && first.is_ok() {
            context.shutdown.begin();
            first = ended;
        }
    }
    // A connection that somebody still holds, or to a database that is away, must not keep us.
    drop(tokio::time::timeout(LAST_GOODBYE, context.db.clone().close()).await);
    first.map(|()| ExitCode::SUCCESS)
}

fn gateway_part(context: &Context, listener: TcpListener) -> Part {
    let context = context.clone();
    Box::pin(async move { gateway::serve(context, listener).await.context("the gateway failed") })
}

fn workers_part(context: &Context, pools: Vec<PoolSize>) -> Part {
    let context = context.clone();
    Box::pin(async move {
        let providers = providers(&context)?;
        Ok(workers::run(context, &providers, &pools).await?)
    })
}

fn scheduler_part(context: &Context) -> Part {
    let context = context.clone();
    Box::pin(async move {
        scheduler::run(context).await;
        Ok(())
    })
}

fn ops_part(context: &Context, listener: TcpListener) -> Part {
    let context = context.clone();
    Box::pin(async move {
        let db = context.db.clone();
        let media = context.media.clone();
        let readiness = Readiness::new(context.shutdown.clone())
            .check("database", move || {
                let db = db.clone();
                async move { db.ping().await.map_err(|error| error.to_string()) }
            })
            .check("media", move || {
                let media = media.clone();
                async move { media.probe().await.map_err(|error| error.to_string()) }
            });
        let (metrics, shutdown) = (context.metrics.clone(), context.shutdown.clone());
        ops::serve(listener, metrics, readiness, shutdown)
            .await
            .context("the operations port failed")
    })
}

/// The pools of the settings, as far as there is a key for their provider.
fn embedded_pools(context: &Context) -> Vec<PoolSize> {
    let settings = &context.settings;
    let needs_key = |name: &str| matches!(settings.providers.offer(name), Offer::NeedsKey(_));
    let pools = settings.workers.pools.iter().filter(|(name, _)| !needs_key(name));
    pools.map(|(name, concurrency)| PoolSize { name: name.to_owned(), concurrency }).collect()
}

/// The providers that there is a key for.
fn providers(context: &Context) -> Result<BTreeMap<String, Arc<dyn Provider>>> {
    let (clock, settings) = (context.clock.clone(), &context.settings.providers);
    let (folder, kept) = (&context.settings.data.dir, context.settings.retention.content);
    let demo = DemoProvider::new(folder, kept, Arc::new(move || clock.now()))
        .context("the demo provider cannot use the data folder")?
        .at_once(settings.demo_at_once);
    let mut all: Vec<Arc<dyn Provider>> = vec![Arc::new(demo)];
    if settings.offer(fal::NAME) == Offer::Yes {
        let callbacks = context.callbacks.reachable_from(settings.fal_url.as_url());
        let clock = context.clock.clone();
        let provider = FalProvider::new(settings, callbacks, Arc::new(move || clock.now()))
            .context("fal.ai cannot be used")?;
        all.push(Arc::new(provider));
    }
    if settings.offer(huggingface::NAME) == Offer::Yes {
        let provider = HuggingFaceProvider::new(settings, context.clock.clone())
            .context("Hugging Face cannot be used")?;
        all.push(Arc::new(provider));
    }
    if settings.offer(kie::NAME) == Offer::Yes {
        let callbacks = context.callbacks.reachable_from(settings.kie_url.as_url());
        let (limiter, clock) = (context.limiter.clone(), context.clock.clone());
        let provider = KieProvider::new(settings, callbacks, limiter, clock)
            .context("kie.ai cannot be used")?;
        all.push(Arc::new(provider));
    }
    Ok(all.into_iter().map(|provider| (provider.name().to_owned(), provider)).collect())
}
