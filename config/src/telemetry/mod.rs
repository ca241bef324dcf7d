//! What an operator sees of a process: its log, its metrics, and the port that shows them.
//!
//! | file | what |
//! |---|---|
//! | `logs` | the log, and what must never be in it |
//! | `metrics` | every metric by its name, and typed ways to count |
//! | `ops` | `/livez`, `/readyz`, `/metrics` |
//! | `listen` | opening a port, and saying what to do when it is taken |

mod listen;
pub mod logs;
mod metrics;
pub mod ops;

pub use listen::{ListenError, listen};
pub use metrics::{Metrics, MetricsError};
