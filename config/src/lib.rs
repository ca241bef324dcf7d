//! Settings in, running handles out: what the gateway, the workers and the scheduler share.
//!
//! It reads the settings and the catalogue, opens the database, the queue, the announcements and
//! the media store, and hands them out as one [`context::Context`].

pub mod announce;
pub mod callbacks;
pub mod catalogue;
pub mod clock;
pub mod context;
pub mod erasure;
pub mod handover;
pub mod limiter;
pub mod mail;
pub mod media;
pub mod net;
pub mod passwords;
pub mod queue;
pub mod random;
pub mod rates;
pub mod routes;
pub mod secrets;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod uploads;
