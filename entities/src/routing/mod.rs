//! Routes to providers: which may be called now, and which are switched off.
//!
//! | file | what |
//! |---|---|
//! | `breaker` | when a route opens and closes by itself (pure) |
//! | `choose` | which of a job's routes is taken (pure) |
//! | `given_up` | what calls without a verdict may have cost |
//! | `store` | breakers and operators' switches in the database, which all processes share |
//! | `waiting` | jobs that wait for a route, or go to another one |
//!
//! Their times are on the database's clock, so that processes agree on them. Nothing here fails
//! but the database; a process that cannot reach it goes on with what it knew.

mod breaker;
mod choose;
mod given_up;
mod store;
mod waiting;

pub use breaker::{Breaker, Cause, PROBE_EVERY, Position, Report, Trouble};
pub use choose::{Choice, Standing, Way, choose, wait_behind};
pub(crate) use given_up::note_possible_cost;
pub use given_up::{GivenUp, given_up};
pub use store::{Board, RouteKey, Switch, probe, read, report, switch_off, switch_on};
pub use waiting::{defer, find_queued, wake};
