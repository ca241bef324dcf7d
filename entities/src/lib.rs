//! The domain of TikTomato: what is stored, and the rules that guard it.
//!
//! Pure rules (`credits`, `ids`, `time`, `hint`, the ledger's fold, the state machine, dispatch
//! order, policies) know no database; the tables and the use cases that change them build on
//! those. A use case is one function that takes a connection, or a transaction of the caller's,
//! and returns its [`Effects`]. Nothing here speaks HTTP, Redis or to a provider.

pub mod accounts;
pub mod audit;
pub mod callbacks;
pub mod catalogue;
pub mod credits;
pub mod db;
pub mod effects;
pub mod hint;
pub mod ids;
pub mod job;
pub mod leader;
pub mod ledger;
pub mod mail;
pub mod operators;
pub mod pools;
pub mod privacy;
pub mod reconcile;
pub mod routing;
pub mod tables;
pub mod throttle;
pub mod time;
pub mod uploads;
pub mod usage;
pub mod writer;

pub use credits::Credits;
pub use db::Db;
pub use effects::Effects;
pub use hint::JobHint;
pub use time::Timestamp;
pub use writer::{WriteError, Writer};
