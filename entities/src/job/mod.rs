//! Jobs: the state machine, and one use case for each thing that can happen to a job.
//!
//! | file | what |
//! |---|---|
//! | `state`, `order`, `policy`, `decide`, `pace` | pure rules |
//! | `batcher`, `submit` | accepting jobs, in groups |
//! | `dispatch` | handing out slots, fairly |
//! | `known` | which models' jobs a process claims |
//! | `claim`, `progress`, `late`, `settle`, `cancel` | what workers and users do |
//! | `steps` | the same for many jobs at once, where one statement can |
//! | `sweep`, `rescue`, `deadlines` | what the scheduler does |
//! | `view`, `delete`, `erase` | what users read and remove, and what is removed when its time is over |
//!
//! Every change is one UPDATE on `id`, `state` and `epoch` (`guarded`); when it finds no row,
//! someone else was first and the caller stops quietly.

mod batcher;
mod cancel;
mod claim;
mod deadlines;
mod decide;
mod delete;
mod dispatch;
mod erase;
mod guarded;
mod known;
mod late;
mod order;
mod outcome;
mod pace;
pub mod policy;
mod progress;
mod rescue;
mod settle;
mod state;
mod steps;
mod submit;
mod submit_once;
mod submit_write;
mod sweep;
pub mod view;

pub use batcher::{Batcher, BatcherLimits, SubmitError};
pub use cancel::cancel;
pub use claim::{
    Claimed, Lease, changed_before, claim, lease_due, lease_remaining, next_due, regain, renew,
};
pub use deadlines::{end_overdue, forget_old_idempotency_keys};
pub use decide::{Decision, Wallet, decide};
pub use delete::{Deleted, delete};
pub use dispatch::{dispatch, pools_with_waiting_jobs};
pub use erase::{Expired, erase, expired};
pub use guarded::JobRef;
pub use known::KnownModels;
pub use late::accepted_late;
pub use order::{Candidate, pick};
pub use outcome::{AttemptOutcome, Kind, Usage};
pub(crate) use progress::requeue;
pub use progress::{
    Acceptance, HandBack, Look, accepted, bound, finished_at_once, hand_back, mark_cancel_sent,
    media_ready, poll_again, store_again, uncertain,
};
pub use rescue::rescue;
pub use settle::{Ending, Failure, NewOutput, NewThumbnail, end, note_usage, succeed};
pub use state::{IllegalMove, JobState, PublicStatus};
pub use steps::{RouteOf, Steps};
pub use submit::{NewJob, Replay, Verdict, find_replay};
pub use sweep::{push_again, sweep};
