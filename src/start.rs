//! From settings to running handles.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use config::{
    announce::Announcer,
    callbacks::CallbackLinks,
    catalogue::Catalogue,
    clock::Clock,
    context::{Context, Parts},
    handover::Handover,
    limiter::Limiter,
    mail::Mailer,
    media::{MediaLinks, MediaStore},
    net::Guarded,
    queue::{Queue, RedisQueueSettings},
    rates::Rates,
    secrets::MasterSecrets,
    settings::{Mistake, Mode, Offer, Settings, Sources, environment},
    shutdown::Shutdown,
    telemetry::{self, Metrics},
};
use entities::{Db, catalogue::ModelId};

use crate::cli::Files;

/// Separate processes if there is a database to share, else everything in one.
pub(crate) fn mode() -> Mode {
    let environment = environment();
    let shared = ["DATABASE_URL", "TIKTOMATO__DATABASE__URL"]
        .iter()
        .filter_map(|name| environment.get(*name))
        .any(|url| url.starts_with("postgres"));
    if shared { Mode::Distributed } else { Mode::Embedded }
}

/// The settings, or every mistake in them.
pub(crate) fn load_settings(files: &Files, mode: Mode) -> Result<Settings, Vec<Mistake>> {
    Settings::load(Sources { file: files.config.as_deref(), env: environment(), mode })
}

/// The settings, or one sentence with all mistakes.
pub(crate) fn settings(files: &Files, mode: Mode) -> Result<Settings> {
    load_settings(files, mode).map_err(|mistakes| {
        let all: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(all.join("; "))
    })
}

/// The catalogue, or every mistake in it.
pub(crate) fn load_catalogue(files: &Files) -> Result<Catalogue, Vec<String>> {
    let loaded = match &files.models {
        None => Catalogue::built_in(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| vec![format!("{} cannot be read: {error}", path.display())])?;
            Catalogue::load(&text, &path.display().to_string())
        }
    };
    loaded.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

/// Whether there is such a provider and we have a key for it.
pub(crate) fn is_offered(settings: &Settings, provider: &str) -> bool {
    settings.providers.offer(provider) == Offer::Yes
}

/// Why models of the catalogue are not offered: one sentence for each provider.
pub(crate) fn not_offered(settings: &Settings, catalogue: &Catalogue) -> Vec<String> {
    let models = catalogue.providers();
    let told = |(provider, count): (&&str, &usize)| match settings.providers.offer(provider) {
        Offer::Yes => None,
        Offer::NeedsKey(variable) => Some(format!(
            "{provider}: {variable} is not set, so its pool does not run and its routes to {count} model(s) are not offered"
        )),
        Offer::Unknown => Some(format!(
            "{provider}: there is no such provider, so its routes to {count} model(s) are not offered"
        )),
    };
    models.iter().filter_map(told).collect()
}

/// How media of inputs reaches providers that cannot follow our links, and which routes it cannot
/// reach at all: one sentence for each provider and way.
pub(crate) fn handovers(settings: &Settings, catalogue: &Catalogue) -> BTreeSet<String> {
    let models = catalogue.list().filter(|model| model.takes_media());
    let routes = models.flat_map(|model| model.routes().map(move |route| (model.id(), route)));
    let told = |(id, (provider, model)): (&ModelId, (&str, &str))| {
        let way = match settings.handover(provider, model) {
            _ if provider == "demo" || !is_offered(settings, provider) => return None,
            Handover::Link => return None,
            Handover::Never => {
                return Some(format!(
                    "inputs: media cannot be handed to {model} at {provider}, so this route to {id} is not offered"
                ));
            }
            Handover::Data { most } => format!("in the call, at most {most} bytes of a job"),
            Handover::Upload { most } => format!("uploaded there, at most {most} bytes of a file"),
        };
        let why = match settings.inputs.as_bytes {
            true => "inputs.as_bytes is set".to_owned(),
            false => format!(
                "media.public_url {} cannot be called from there",
                settings.media.public_url
            ),
        };
        Some(format!("inputs: media goes to {provider} as bytes ({way}), because {why}"))
    };
    routes.filter_map(told).collect()
}

/// What an operator should confirm before selling: costs that no page of the provider's confirms.
pub(crate) fn unconfirmed(catalogue: &Catalogue) -> Option<String> {
    let routes = catalogue.unconfirmed();
    (!routes.is_empty()).then(|| {
        format!(
            "the cost of {} route(s) is not the provider's own word and is to be confirmed before anything is sold: {}",
            routes.len(),
            routes.join(", ")
        )
    })
}

/// What people will miss that is not set up: one sentence for each.
pub(crate) fn not_set_up(settings: &Settings) -> Vec<String> {
    let mut sentences = Vec::new();
    if settings.mail.smtp_url.is_none() {
        let folder = settings.mail.dir.display();
        sentences.push(format!(
            "mail: mail.smtp_url is not set, so mails are put in {folder}, where nobody gets them"
        ));
    }
    if settings.google.client().is_none() {
        let variables = "google.client_id and google.client_secret";
        sentences
            .push(format!("google: {variables} are not set, so nobody can sign in with Google"));
    }
    sentences
}

/// Starts the log.
pub(crate) fn logs(settings: &Settings) -> Result<()> {
    telemetry::logs::init(&settings.log).context("the log cannot start")
}

/// Makes the data folder.
pub(crate) fn data_folder(settings: &Settings) -> Result<()> {
    let folder = &settings.data.dir;
    std::fs::create_dir_all(folder)
        .and_then(|()| {
            let probe = folder.join(".probe");
            std::fs::write(&probe, b"")?;
            std::fs::remove_file(&probe)
        })
        .with_context(|| {
            format!(
                "the data folder {} cannot be written to (setting data.dir or TIKTOMATO_DATA)",
                folder.display()
            )
        })
}

/// The time.
pub(crate) fn clock(settings: &Settings) -> Clock {
    Clock::system(settings.clock.offset_seconds)
}

/// How many of a new workspace's jobs may be dispatched at once.
pub(crate) fn dispatch_limit(settings: &Settings) -> i32 {
    i32::try_from(settings.limits.dispatch_per_workspace.get()).unwrap_or(i32::MAX)
}

/// Opens the database.
pub(crate) async fn connect(settings: &Settings) -> Result<Db> {
    let url = settings.database.url.expose();
    let connections = settings.database.max_connections.get();
    let db = Db::connect(url, connections).await.context("the database cannot be opened")?;
    Ok(db)
}

/// Refuses a server that is too old, and an older or newer schema.
pub(crate) async fn check_schema(db: &Db) -> Result<()> {
    db.check_version().await?;
    Ok(migration::check(db.write()).await?)
}

/// The queue, the announcements and the limits of separate processes: all on Redis.
async fn shared(settings: &Settings) -> Result<(Queue, Announcer, Limiter, Rates)> {
    let url = settings.redis.url.as_ref().context("separate processes need redis.url")?;
    let mut queue = RedisQueueSettings::new(url.expose());
    queue.server.check_version().await?;
    // A hint whose worker says nothing for as long as a lease lasts has no worker.
    queue.claim_window = settings.workers.lease;
    queue.prefix.clone_from(&settings.redis.prefix);
    let announcer = Announcer::redis(queue.server.clone(), &settings.redis.prefix)?;
    let limiter = Limiter::redis(queue.server.clone(), &settings.redis.prefix)?;
    let rates =
        Rates::redis(queue.server.clone(), &settings.redis.prefix, settings.limits.patience)?;
    Ok((Queue::redis(queue).await?, announcer, limiter, rates))
}

/// The master secrets.
pub(crate) fn secrets(settings: &Settings, mode: Mode) -> Result<MasterSecrets> {
    match mode {
        Mode::Embedded if settings.secrets.master.is_empty() => {
            MasterSecrets::load_or_create(&settings.data.dir, config::random::secret())
        }
        Mode::Embedded | Mode::Distributed => MasterSecrets::new(&settings.secrets.master),
    }
    .context("the master secrets cannot be used")
}

/// Builds and starts everything that the parts share.
pub(crate) async fn context(files: &Files, settings: Settings, mode: Mode) -> Result<Context> {
    let catalogue = match load_catalogue(files) {
        Ok(catalogue) => catalogue
            .offering(|provider| is_offered(&settings, provider))
            .handing_over(|provider, model| settings.handover(provider, model)),
        Err(mistakes) => bail!(mistakes.join("; ")),
    };
    let db = connect(&settings).await?;
    if mode == Mode::Embedded {
        migration::up(db.write()).await?;
    }
    check_schema(&db).await?;
    let secrets = secrets(&settings, mode)?;
    let media =
        MediaStore::local(&settings.media.dir).context("the media folder cannot be used")?;
    media.probe().await.context("the media folder cannot be used")?;
    let callbacks = CallbackLinks::new(secrets.clone(), settings.gateway.public_url.clone());
    let mailer = Mailer::new(&settings.mail, secrets.clone(), settings.gateway.public_url.clone())
        .context("mails cannot be sent")?;
    let links = MediaLinks::new(
        secrets.clone(),
        settings.media.public_url.as_url().clone(),
        settings.media.link,
    );
    let guarded = Guarded::new(settings.inputs.allowed())
        .context("the client for users' URLs cannot be set up")?;
    let (queue, announcer, limiter, rates) = match mode {
        Mode::Embedded => (Queue::memory(), Announcer::local(), Limiter::local(), Rates::local()),
        Mode::Distributed => shared(&settings).await?,
    };
    let clock = clock(&settings);
    Ok(Context::start(Parts {
        db,
        queue,
        announcer,
        media,
        links,
        callbacks,
        limiter,
        rates,
        guarded,
        secrets,
        mailer,
        clock,
        catalogue,
        metrics: Metrics::new().context("the metrics cannot be set up")?,
        shutdown: Shutdown::new(),
        settings,
    }))
}
