//! Settings: built-in defaults, a file, the environment; typed, checked and masked.
//!
//! Nothing here reads the environment by itself: it is a parameter. Loading finds every mistake,
//! not only the first, and no mistake and no description ever repeats a secret.

mod inputs;
mod layers;
mod mistake;
mod outside;
mod people;
mod pools;
mod providers;
mod proxies;
mod reader;
mod sections;
mod shown;
#[cfg(test)]
mod tests;
mod urls;

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use serde::Serialize;

pub use inputs::Inputs;
pub use mistake::{Mistake, Place};
pub use outside::{ClockSettings, Data, Database, Log, LogFormat, Media, Redis, Secrets, Stripe};
pub use people::{Accounts, Google, Mail};
pub use pools::Pools;
pub use providers::{Offer, Providers};
pub use proxies::TrustedProxies;
pub use sections::{Demo, Gateway, Limits, Ops, Retention, Scheduler, Submit, Workers};
pub use urls::{BaseUrl, DatabaseKind, DatabaseUrl, RedisUrl};

/// The built-in values, as the file that an operator can read.
pub const DEFAULTS: &str = include_str!("../../default.toml");

/// How the processes are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything in one process, or a command that needs nothing but the database: whatever is
    /// not set is in the data folder.
    Embedded,
    /// Separate processes that share a database, Redis and a master secret.
    Distributed,
}

/// Where settings come from.
#[derive(Debug, Clone)]
pub struct Sources<'a> {
    /// `--config FILE`
    pub file: Option<&'a Path>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// What the command needs.
    pub mode: Mode,
}

/// All settings, checked.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "each section's type says what it is")]
pub struct Settings {
    pub gateway: Gateway,
    pub ops: Ops,
    pub database: Database,
    pub redis: Redis,
    pub media: Media,
    pub secrets: Secrets,
    pub clock: ClockSettings,
    pub data: Data,
    pub workers: Workers,
    pub scheduler: Scheduler,
    pub submit: Submit,
    pub inputs: Inputs,
    pub retention: Retention,
    pub limits: Limits,
    pub accounts: Accounts,
    pub mail: Mail,
    pub google: Google,
    pub demo: Demo,
    pub providers: Providers,
    pub stripe: Stripe,
    pub log: Log,
}

impl Settings {
    /// Loads and checks the settings.
    ///
    /// # Errors
    /// Every mistake that was found; never an empty list.
    pub fn load(sources: Sources<'_>) -> Result<Self, Vec<Mistake>> {
        let mut reader = open(&sources);
        let settings = Self::read(&mut reader, sources.mode);
        reader.refuse_unknown(&sources.env);
        match settings {
            Some(settings) if reader.mistakes.is_empty() => Ok(settings),
            _ => Err(reader.mistakes),
        }
    }

    fn read(reader: &mut reader::Reader, mode: Mode) -> Option<Self> {
        let gateway = Gateway::read(reader, mode);
        let ops = Ops::read(reader);
        let data = Data::read(reader);
        let database = Database::read(reader, mode, data.as_ref());
        let redis = Redis::read(reader, mode);
        let public_url = gateway.as_ref().map(|gateway| &gateway.public_url);
        let media = Media::read(reader, data.as_ref(), public_url);
        let secrets = Secrets::read(reader, mode);
        let clock = ClockSettings::read(reader);
        let workers = Workers::read(reader);
        let scheduler = Scheduler::read(reader);
        let submit = Submit::read(reader);
        let inputs = Inputs::read(reader);
        let retention = Retention::read(reader);
        let limits = Limits::read(reader);
        let accounts = Accounts::read(reader);
        let mail = Mail::read(reader, data.as_ref());
        let google = Google::read(reader);
        let demo = Demo::read(reader);
        let providers = Providers::read(reader);
        let stripe = Stripe::read(reader);
        let log = Log::read(reader);
        // Separate processes have these two ports on different machines, or fail to listen.
        if let (Mode::Embedded, Some(gateway), Some(ops)) = (mode, &gateway, &ops) {
            refuse_one_port_for_two(reader, gateway.listen, ops.listen);
        }
        Some(Self {
            gateway: gateway?,
            ops: ops?,
            database: database?,
            redis: redis?,
            media: media?,
            secrets: secrets?,
            clock: clock?,
            data: data?,
            workers: workers?,
            scheduler: scheduler?,
            submit: submit?,
            inputs: inputs?,
            retention: retention?,
            limits: limits?,
            accounts: accounts?,
            mail: mail?,
            google: google?,
            demo: demo?,
            providers: providers?,
            stripe: stripe?,
            log: log?,
        })
    }

    /// The settings in force as TOML, secrets masked.
    #[must_use]
    pub fn describe(&self) -> String {
        let shown =
            toml::to_string(self).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"));
        match self.inputs.warning() {
            Some(warning) => format!("# WARNING: {warning}\n\n{shown}"),
            None => shown,
        }
    }

    /// Links that were to begin with the gateway's own address begin with the one that it got:
    /// port 0 asks the system for any free port.
    #[must_use]
    pub fn listening_on(mut self, address: SocketAddr) -> Self {
        let (planned, actual) =
            (sections::reachable(self.gateway.listen), sections::reachable(address));
        if let (Some(planned), Some(actual)) = (planned, actual) {
            for url in [&mut self.gateway.public_url, &mut self.media.public_url] {
                if *url == planned {
                    url.clone_from(&actual);
                }
            }
        }
        self.gateway.listen = address;
        self
    }
}

fn open(sources: &Sources<'_>) -> reader::Reader {
    let mut layers = Vec::new();
    let mut mistakes = Vec::new();
    match layers::text(DEFAULTS, &Place::BuiltIn) {
        Ok(layer) => layers.push(layer),
        Err(problem) => mistakes.push(Mistake::File { path: "default.toml".into(), problem }),
    }
    match sources.file.map(layers::file) {
        Some(Ok(layer)) => layers.push(layer),
        Some(Err(mistake)) => mistakes.push(mistake),
        None => {}
    }
    layers.extend(layers::environment(&sources.env));
    reader::Reader::new(layers, mistakes)
}

fn refuse_one_port_for_two(reader: &mut reader::Reader, gateway: SocketAddr, ops: SocketAddr) {
    let overlap =
        gateway.ip() == ops.ip() || gateway.ip().is_unspecified() || ops.ip().is_unspecified();
    if gateway.port() != 0 && gateway.port() == ops.port() && overlap {
        let problem = format!("must not be the gateway's port, {}", gateway.port());
        reader.bad_here("ops.listen", problem);
    }
}

/// The environment variable that sets `key`, such as `gateway.listen`.
#[must_use]
pub fn variable(key: &str) -> String {
    layers::own_variable(key)
}

/// The process environment for [`Sources`]; a variable that is not UTF-8 cannot be a setting.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
