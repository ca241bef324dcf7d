//! The running handles that every part of the platform works with.
//!
//! Built once at start from the settings, then cloned. [`Context::perform`] is the only place that
//! pushes and announces.

mod dispatcher;
mod outbox;

use std::{ops::Deref, sync::Arc};

use entities::{
    Db, Effects, Writer,
    ids::ProcessId,
    job::{Batcher, BatcherLimits, KnownModels, Steps},
};

use crate::{
    announce::Announcer,
    callbacks::CallbackLinks,
    catalogue::Catalogue,
    clock::Clock,
    limiter::Limiter,
    mail::Mailer,
    media::{MediaLinks, MediaStore},
    net::Guarded,
    passwords::Passwords,
    queue::Queue,
    rates::Rates,
    routes::Routes,
    secrets::MasterSecrets,
    settings::Settings,
    shutdown::Shutdown,
    telemetry::Metrics,
};
use outbox::Outbox;

/// Everything that a gateway, a worker or a scheduler needs. A clone is the same one, and costs no
/// more than counting: the gateway makes several for each request.
#[derive(Clone)]
pub struct Context(Arc<Handles>);

impl Deref for Context {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.0
    }
}

/// What a [`Context`] holds.
pub struct Handles {
    /// This process.
    pub process_id: ProcessId,
    /// The database.
    pub db: Db,
    /// Writes state changes, in groups.
    pub writer: Writer,
    /// Takes the steps that every job takes, in groups.
    pub steps: Steps,
    /// Accepts jobs, in groups.
    pub batcher: Batcher,
    /// Carries hints to workers.
    pub queue: Queue,
    /// Tells what changed.
    pub announcer: Announcer,
    /// Keeps media.
    pub media: MediaStore,
    /// Makes and checks links to media.
    pub links: MediaLinks,
    /// Makes and checks the addresses that providers report to.
    pub callbacks: CallbackLinks,
    /// Limits on calls that all processes keep together.
    pub limiter: Limiter,
    /// Which routes to providers may be called.
    pub routes: Routes,
    /// How often somebody may ask us.
    pub rates: Rates,
    /// Fetches what users point to.
    pub guarded: Guarded,
    /// Signs what must come back to us unchanged.
    pub secrets: MasterSecrets,
    /// Sends mails.
    pub mailer: Mailer,
    /// The time.
    pub clock: Clock,
    /// The models.
    pub catalogue: Arc<Catalogue>,
    /// Counts.
    pub metrics: Metrics,
    /// The settings in force.
    pub settings: Arc<Settings>,
    /// Tells when to stop.
    pub shutdown: Shutdown,
    /// Hashes passwords, a few at a time.
    pub passwords: Passwords,
    outbox: Outbox,
}

/// What a context is made of.
pub struct Parts {
    /// The database, its schema checked.
    pub db: Db,
    /// The queue.
    pub queue: Queue,
    /// The announcer.
    pub announcer: Announcer,
    /// The media store.
    pub media: MediaStore,
    /// Links to it.
    pub links: MediaLinks,
    /// The addresses that providers report to.
    pub callbacks: CallbackLinks,
    /// Limits on calls that all processes keep together.
    pub limiter: Limiter,
    /// How often somebody may ask us.
    pub rates: Rates,
    /// Fetches what users point to.
    pub guarded: Guarded,
    /// Signs what must come back to us unchanged.
    pub secrets: MasterSecrets,
    /// Sends mails.
    pub mailer: Mailer,
    /// The time.
    pub clock: Clock,
    /// The models.
    pub catalogue: Catalogue,
    /// Counts.
    pub metrics: Metrics,
    /// The settings in force.
    pub settings: Settings,
    /// Tells when to stop.
    pub shutdown: Shutdown,
}

/// Groups of state changes that are written at the same time on Postgres.
const WRITER_LANES: usize = 4;

impl Context {
    /// Starts the background tasks (batcher, writer, outbox, dispatcher) and answers with the
    /// handles. Must be called inside a tokio runtime; the tasks end with the last clone.
    #[must_use]
    pub fn start(parts: Parts) -> Self {
        let outbox = Outbox::start(
            parts.db.clone(),
            parts.queue.clone(),
            parts.announcer.clone(),
            parts.metrics.clone(),
            parts.clock.clone(),
            parts.settings.workers.max_in_flight.clone(),
        );
        let limits = BatcherLimits {
            group: parts.settings.submit.max_batch.get(),
            waiting: parts.settings.submit.queue.get(),
        };
        let after_commit = outbox.clone();
        let batcher = Batcher::start(parts.db.clone(), limits, move |effects| {
            after_commit.perform(effects);
        });
        let writer = Writer::start(&parts.db, WRITER_LANES);
        let known = KnownModels::these(parts.catalogue.ids().iter().map(ToString::to_string));
        Self(Arc::new(Handles {
            process_id: ProcessId::generate(),
            steps: Steps::start(&parts.db, writer.clone(), known),
            writer,
            batcher,
            queue: parts.queue,
            announcer: parts.announcer,
            media: parts.media,
            links: parts.links,
            callbacks: parts.callbacks,
            limiter: parts.limiter,
            rates: parts.rates,
            routes: Routes::start(parts.db.clone(), parts.clock.clone()),
            db: parts.db,
            guarded: parts.guarded,
            secrets: parts.secrets,
            mailer: parts.mailer,
            passwords: Passwords::default(),
            clock: parts.clock,
            catalogue: Arc::new(parts.catalogue),
            metrics: parts.metrics,
            settings: Arc::new(parts.settings),
            shutdown: parts.shutdown,
            outbox,
        }))
    }

    /// Does what a committed change asks for: pushes, announces, counts, and wakes the dispatcher.
    /// Returns at once; nothing here can fail in a way that matters.
    pub fn perform(&self, effects: Effects) {
        self.outbox.perform(effects);
    }
}
