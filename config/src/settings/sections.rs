//! The sections about what the process does: its ports, its work, its limits.
//!
//! Each `read` asks for all of its settings before it gives up on one, so that every mistake is found.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use entities::Credits;
use serde::Serialize;

use super::{
    Mode,
    pools::Pools,
    proxies::TrustedProxies,
    reader::{Reader, from_str, seconds},
    shown,
    urls::BaseUrl,
};
const ADDRESS: &str = "an IP address and a port, such as 127.0.0.1:8080";

/// The HTTP API.
#[derive(Debug, Clone, Serialize)]
pub struct Gateway {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What links begin with.
    pub public_url: BaseUrl,
    /// An ordinary request is answered within this time.
    #[serde(rename = "request_timeout_seconds", serialize_with = "shown::seconds")]
    pub request_timeout: Duration,
    /// How long readiness is refused before the listener closes.
    #[serde(rename = "drain_seconds", serialize_with = "shown::seconds")]
    pub drain: Duration,
    /// Requests handled at the same time.
    pub concurrency: NonZeroUsize,
    /// Peers whose word on the client's address is believed.
    pub trusted_proxies: TrustedProxies,
}

impl Gateway {
    pub(super) fn read(reader: &mut Reader, mode: Mode) -> Option<Self> {
        let listen: Option<SocketAddr> = reader.required("gateway.listen", from_str(ADDRESS));
        let public_url = reader.optional("gateway.public_url", str::parse);
        let request_timeout = reader.seconds("gateway.request_timeout_seconds", 0.1..=600.0);
        let drain = reader.optional("gateway.drain_seconds", |text| seconds(text, &(0.0..=300.0)));
        let concurrency = reader.number("gateway.concurrency", 1..=1_000_000);
        let trusted_proxies = TrustedProxies::read(reader);
        let listen = listen?;
        Some(Self {
            listen,
            public_url: public_url?.or_else(|| reachable(listen))?,
            request_timeout: request_timeout?,
            drain: drain?.unwrap_or(match mode {
                Mode::Embedded => Duration::ZERO,
                Mode::Distributed => Duration::from_secs(5),
            }),
            concurrency: concurrency.and_then(NonZeroUsize::new)?,
            trusted_proxies: trusted_proxies?,
        })
    }
}

/// A URL of this machine that leads to a listener; "all addresses" is none that can be called.
pub(super) fn reachable(mut listen: SocketAddr) -> Option<BaseUrl> {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{listen}").parse().ok()
}

/// The operations port.
#[derive(Debug, Clone, Serialize)]
pub struct Ops {
    /// Where it listens.
    pub listen: SocketAddr,
}

impl Ops {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        Some(Self { listen: reader.required("ops.listen", from_str(ADDRESS))? })
    }
}

/// The worker pools.
#[derive(Debug, Clone, Serialize)]
pub struct Workers {
    /// How long a claim lasts without being renewed.
    #[serde(rename = "lease_seconds", serialize_with = "shown::seconds")]
    pub lease: Duration,
    /// How long running work may take to finish after a signal.
    #[serde(rename = "grace_seconds", serialize_with = "shown::seconds")]
    pub grace: Duration,
    /// Jobs that one look of a poll loop takes at most.
    pub poll_batch: NonZeroU32,
    /// Looks at running calls that all processes of one pool make in a second.
    pub polls_per_second: NonZeroU32,
    /// The pools that run when everything is in one process.
    pub pools: Pools,
    /// How many jobs of a pool may be at its provider, by all processes together.
    pub max_in_flight: Pools,
}

impl Workers {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let lease = reader.seconds("workers.lease_seconds", 10.0..=3_600.0);
        let grace = reader.seconds("workers.grace_seconds", 0.0..=3_600.0);
        let poll_batch = reader.number("workers.poll_batch", 1..=1_000);
        let polls_per_second = reader.number("workers.polls_per_second", 1..=100_000);
        let pools = reader.pools("workers.pools");
        let max_in_flight = reader.pools("workers.max_in_flight");
        Some(Self {
            lease: lease?,
            grace: grace?,
            poll_batch: poll_batch.and_then(NonZeroU32::new)?,
            polls_per_second: polls_per_second.and_then(NonZeroU32::new)?,
            pools: pools?,
            max_in_flight: max_in_flight?,
        })
    }
}

/// The periodic tasks.
#[derive(Debug, Clone, Serialize)]
pub struct Scheduler {
    /// How long a leader leads without renewing.
    #[serde(rename = "lease_seconds", serialize_with = "shown::seconds")]
    pub lease: Duration,
    /// How often forgotten jobs and expired leases are looked for.
    #[serde(rename = "sweep_seconds", serialize_with = "shown::seconds")]
    pub sweep: Duration,
    /// How often the invariants are checked; less often where that takes more than a twentieth of it.
    #[serde(rename = "reconcile_seconds", serialize_with = "shown::seconds")]
    pub reconcile: Duration,
}

impl Scheduler {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        // A change of leader must end within 20 s, and a sweep must come every 5 s.
        let lease = reader.seconds("scheduler.lease_seconds", 1.0..=15.0);
        let sweep = reader.seconds("scheduler.sweep_seconds", 0.05..=5.0);
        let reconcile = reader.seconds("scheduler.reconcile_seconds", 1.0..=86_400.0);
        Some(Self { lease: lease?, sweep: sweep?, reconcile: reconcile? })
    }
}

/// The batcher of submits.
#[derive(Debug, Clone, Serialize)]
pub struct Submit {
    /// Submits written by one statement at most.
    pub max_batch: NonZeroUsize,
    /// Submits that may wait to be written.
    pub queue: NonZeroUsize,
}

impl Submit {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let max_batch = reader.number("submit.max_batch", 1..=1_000).and_then(NonZeroUsize::new);
        let queue = reader.number("submit.queue", 1..=1_000_000).and_then(NonZeroUsize::new);
        Some(Self { max_batch: max_batch?, queue: queue? })
    }
}

/// How long things are kept.
#[derive(Debug, Clone, Serialize)]
pub struct Retention {
    /// A job's input and files.
    #[serde(rename = "content_days", serialize_with = "shown::days")]
    pub content: Duration,
    /// The log of who used what.
    #[serde(rename = "usage_log_days", serialize_with = "shown::days")]
    pub usage_log: Duration,
    /// What happened to accounts.
    #[serde(rename = "audit_days", serialize_with = "shown::days")]
    pub audit: Duration,
    /// A copy of their data that somebody asked for.
    #[serde(rename = "export_days", serialize_with = "shown::days")]
    pub export: Duration,
    /// How often one of 256 parts of the media is compared with the database.
    #[serde(rename = "orphans_seconds", serialize_with = "shown::seconds")]
    pub orphans: Duration,
    /// What tells of a file that is lost.
    #[serde(rename = "lost_days", serialize_with = "shown::days")]
    pub lost: Duration,
    /// How often what was deleted is taken out of the files of an SQLite database.
    #[serde(rename = "scrub_seconds", serialize_with = "shown::seconds")]
    pub scrub: Duration,
}

impl Retention {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let content = reader.days("retention.content_days");
        let usage_log = reader.days("retention.usage_log_days");
        let audit = reader.days("retention.audit_days");
        let export = reader.days("retention.export_days");
        let orphans = reader.seconds("retention.orphans_seconds", 0.01..=86_400.0);
        let lost = reader.days("retention.lost_days");
        let scrub = reader.seconds("retention.scrub_seconds", 0.1..=86_400.0);
        Some(Self {
            content: content?,
            usage_log: usage_log?,
            audit: audit?,
            export: export?,
            orphans: orphans?,
            lost: lost?,
            scrub: scrub?,
        })
    }
}

/// What one customer may ask for.
#[derive(Debug, Clone, Serialize)]
pub struct Limits {
    /// Jobs of one workspace that are dispatched at the same time.
    pub dispatch_per_workspace: NonZeroU32,
    /// The longest request body, in bytes.
    pub body_bytes: usize,
    /// The longest prompt, in characters.
    pub prompt_chars: usize,
    /// Requests in a minute from one address; here and below, 0 is no limit.
    pub requests_per_address: u32,
    /// Requests in a minute from one address that no key or session comes with.
    pub anonymous_per_address: u32,
    /// Requests in a minute with one key, or in one session.
    pub requests_per_key: u32,
    /// Requests in a minute for one workspace.
    pub requests_per_workspace: u32,
    /// Whether requests are noted in the usage log.
    pub usage_log: bool,
    /// The time whose requests may come at once.
    #[serde(rename = "burst_seconds", serialize_with = "shown::seconds")]
    pub burst: Duration,
    /// How long a request waits for Redis to count it.
    #[serde(rename = "redis_patience_seconds", serialize_with = "shown::seconds")]
    pub patience: Duration,
}

impl Limits {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let dispatch = reader.number("limits.dispatch_per_workspace", 1..=1_000_000);
        let body_bytes = reader.number("limits.body_bytes", 1_024..=1_073_741_824);
        let prompt_chars = reader.number("limits.prompt_chars", 1..=1_000_000);
        let mut rate = |key| reader.number::<u32>(key, 0..=1_000_000_000);
        let requests_per_address = rate("limits.requests_per_address");
        let anonymous_per_address = rate("limits.anonymous_per_address");
        let requests_per_key = rate("limits.requests_per_key");
        let requests_per_workspace = rate("limits.requests_per_workspace");
        let usage_log = reader.required("limits.usage_log", from_str("true or false"));
        let burst = reader.seconds("limits.burst_seconds", 0.1..=3_600.0);
        let patience = reader.seconds("limits.redis_patience_seconds", 0.001..=10.0);
        Some(Self {
            dispatch_per_workspace: dispatch.and_then(NonZeroU32::new)?,
            body_bytes: body_bytes?,
            prompt_chars: prompt_chars?,
            requests_per_address: requests_per_address?,
            anonymous_per_address: anonymous_per_address?,
            requests_per_key: requests_per_key?,
            requests_per_workspace: requests_per_workspace?,
            usage_log: usage_log?,
            burst: burst?,
            patience: patience?,
        })
    }
}

/// The account that the first start makes.
#[derive(Debug, Clone, Serialize)]
pub struct Demo {
    /// Whether it is made.
    pub enabled: bool,
    /// What it is granted.
    pub credits: Credits,
}

impl Demo {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let enabled = reader.required("demo.enabled", from_str("true or false"));
        let credits = reader.number("demo.credits", 0..=1_000_000_000);
        Some(Self { enabled: enabled?, credits: Credits(credits?) })
    }
}
