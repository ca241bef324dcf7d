//! Where the jobs run: the demo provider inside the worker, or a simulator in a thread of its own,
//! so that it answers however busy the generator is.

use std::{collections::HashMap, thread, time::Duration};

use anyhow::Context;
use serde_json::{Value, json};
use sim::{fal, faults::Rule, kie, record::Entry};
use tokio::sync::oneshot;

use crate::{
    cli::{At, FlightArgs},
    services::free_port,
};

/// How long the demo provider holds each job: the time to bring all of them into flight.
const DEMO_SECONDS: u32 = 600;

pub(super) enum Provider {
    Demo,
    Fal(fal::Fal, #[expect(dead_code, reason = "held so that it runs")] Running),
    Kie(kie::Kie, #[expect(dead_code, reason = "held so that it runs")] Running),
}

/// A thread that ends when this is dropped.
pub(super) struct Running {
    _stop: oneshot::Sender<()>,
}

impl Provider {
    pub(super) fn start(args: &FlightArgs) -> anyhow::Result<Self> {
        let slow = u64::from(args.latency_seconds) * 1_000;
        Ok(match args.at {
            At::Demo => Self::Demo,
            At::Fal => {
                let (fal, running) = in_a_thread(fal::start)?;
                fal.rules()
                    .add(Rule::always(fal::fault::Fault::Run(fal::fault::RunFault::Slow(slow))));
                Self::Fal(fal, running)
            }
            At::Kie => {
                let (kie, running) = in_a_thread(|| kie::start(0))?;
                kie.rules()
                    .add(Rule::always(kie::fault::Fault::Run(kie::fault::RunFault::Slow(slow))));
                Self::Kie(kie, running)
            }
        })
    }

    /// How long it takes for a job.
    pub(super) fn time(&self, args: &FlightArgs) -> Duration {
        Duration::from_secs(match self {
            Self::Demo => DEMO_SECONDS.into(),
            Self::Fal(..) | Self::Kie(..) => args.latency_seconds.into(),
        })
    }

    pub(super) fn describe(&self, args: &FlightArgs) -> String {
        let callbacks = if args.no_callbacks { "without callbacks" } else { "with callbacks" };
        let seconds = self.time(args).as_secs();
        match self {
            Self::Demo => format!("demo, {seconds} s for each job"),
            Self::Fal(..) => format!("fal.ai simulated, {seconds} s for each job, {callbacks}"),
            Self::Kie(..) => format!("kie.ai simulated, {seconds} s for each job, {callbacks}"),
        }
    }

    /// Settings that lead there.
    pub(super) fn settings(
        &self,
        args: &FlightArgs,
    ) -> anyhow::Result<Vec<(&'static str, String)>> {
        let pool = |name: &str| format!("{name}={}", args.target.pool());
        let mut settings = match self {
            Self::Demo => vec![("TIKTOMATO__WORKERS__POOLS", pool("demo"))],
            Self::Fal(sim, _) => vec![
                ("TIKTOMATO__WORKERS__POOLS", pool("fal")),
                ("FAL_KEY", fal::KEY.to_owned()),
                ("TIKTOMATO__PROVIDERS__FAL_URL", sim.base()),
                (
                    "TIKTOMATO__PROVIDERS__FAL_JWKS_URL",
                    format!("{}/.well-known/jwks.json", sim.base()),
                ),
                ("TIKTOMATO__PROVIDERS__FAL_MEDIA_HOSTS", sim.base()),
                ("TIKTOMATO__PROVIDERS__FAL_USER_ID", fal::USER.to_owned()),
            ],
            Self::Kie(sim, _) => vec![
                ("TIKTOMATO__WORKERS__POOLS", pool("kieai")),
                ("KIE_API_KEY", kie::KEY.to_owned()),
                ("TIKTOMATO__PROVIDERS__KIE_URL", sim.base()),
                ("TIKTOMATO__PROVIDERS__KIE_MEDIA_HOSTS", sim.base()),
            ],
        };
        if !matches!(self, Self::Demo) && !args.no_callbacks {
            let gateway = free_port()?;
            settings.push(("TIKTOMATO__GATEWAY__LISTEN", gateway.to_string()));
            settings.push(("TIKTOMATO__GATEWAY__PUBLIC_URL", format!("http://{gateway}")));
        }
        Ok(settings)
    }

    /// The n-th job's body.
    pub(super) fn body(&self, n: u32) -> Value {
        let prompt = format!("a red kite over a quiet lake, take {n}");
        match self {
            Self::Demo => json!({"model": "demo/clip", "input": {
                "prompt": prompt, "width": 64, "height": 64, "duration_seconds": 1,
                "delay_seconds": DEMO_SECONDS,
            }}),
            Self::Fal(..) => json!({"model": "fal/kling-video", "input": {
                "prompt": prompt, "duration_seconds": 5,
            }}),
            Self::Kie(..) => json!({"model": "kling/kling-3.0", "input": {
                "prompt": prompt, "duration_seconds": 5,
            }}),
        }
    }

    /// When each accepted request had ended, in microseconds since 1970, by the provider's id.
    pub(super) fn ended(&self) -> HashMap<String, i64> {
        let entries = match self {
            Self::Demo => Vec::new(),
            Self::Fal(sim, _) => sim.accepted(),
            Self::Kie(sim, _) => sim.accepted(),
        };
        entries.into_iter().filter_map(|Entry { id, ended_at, .. }| Some((id, ended_at?))).collect()
    }
}

/// Starts a simulator in a thread of its own.
fn in_a_thread<T, F>(start: impl FnOnce() -> F + Send + 'static) -> anyhow::Result<(T, Running)>
where
    T: Send + 'static,
    F: Future<Output = std::io::Result<(T, sim::serve::Server)>>,
{
    let (say, said) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async move {
            let started = start().await;
            let server = started.map(|(sim, server)| {
                drop(say.send(Ok(sim)));
                server
            });
            // It serves until nobody holds the other end.
            let Ok(_server) = server else { return };
            drop(stopped.await);
        });
    });
    let sim: std::io::Result<T> = said.recv().context("the simulator did not start")?;
    Ok((sim?, Running { _stop: stop }))
}
