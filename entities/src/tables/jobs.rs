//! `jobs`: a job: its state, its schedule and what was resolved when it was submitted.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{ApiKeyId, JobId, WorkspaceId},
    job::{JobState, Kind},
};

/// A job: its state, its schedule and what was resolved when it was submitted.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "jobs")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: JobId,
    /// The owner.
    pub workspace_id: WorkspaceId,
    /// The key that submitted it.
    pub api_key_id: Option<ApiKeyId>,
    /// The public model id.
    pub model: String,
    /// What it makes.
    pub kind: Kind,
    /// The pool that serves its current route.
    pub pool: String,
    /// Where it stands.
    pub state: JobState,
    /// Rises with every claim, hand-back, rescue and transition; guards each of them.
    pub epoch: i64,
    /// Rises with every change that its user can see.
    pub version: i64,
    /// As the user gave it, defaults filled in.
    #[sea_orm(column_type = "JsonBinary")]
    pub input: Json,
    /// The user's own words.
    #[sea_orm(column_type = "JsonBinary")]
    pub metadata: Json,
    /// Price and routes as they were at submit.
    #[sea_orm(column_type = "JsonBinary")]
    pub resolved: Json,
    /// How many files were asked for.
    pub outputs_expected: i32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Not dispatched before this.
    pub ready_at: Timestamp,
    /// Null while it waits for a slot.
    pub dispatched_at: Option<Timestamp>,
    /// When its hint was last pushed.
    pub pushed_at: Option<Timestamp>,
    /// How often its hint was pushed since it was dispatched.
    pub pushes: i32,
    /// On the database's clock.
    pub lease_until: Option<Timestamp>,
    /// When the poll loop looks at it next.
    pub next_poll_at: Option<Timestamp>,
    /// Looks since the provider last said something of it.
    pub polls: i32,
    /// How many calls were begun.
    pub attempts: i32,
    /// The index of its current route.
    pub route: i32,
    /// Proven refusals since the last accepted call.
    pub refusals: i32,
    /// Leases lost without progress.
    pub lost_leases: i32,
    /// How often copying its media failed.
    pub store_tries: i32,
    /// It must be claimed before this.
    pub queue_deadline: Timestamp,
    /// Set at the first claim.
    pub run_deadline: Option<Timestamp>,
    /// When waiting for a lost answer ends.
    pub uncertain_until: Option<Timestamp>,
    /// When it was first claimed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Its user wants it canceled.
    pub cancel_requested: bool,
    /// The provider was asked to cancel.
    pub cancel_sent: bool,
    /// 0 to 1.
    pub progress: Option<f64>,
    /// Why it failed, for programs.
    pub error_code: Option<String>,
    /// Why it failed, for people.
    pub error_detail: Option<String>,
    /// When its content is deleted.
    pub expires_at: Timestamp,
    /// When its user deleted it.
    pub deleted_at: Option<Timestamp>,
    /// When its content was erased, by its user or because its time was over.
    pub erased_at: Option<Timestamp>,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
