//! `callbacks`: what a provider reported, as it came.

use sea_orm::entity::prelude::*;

use crate::{
    Timestamp,
    ids::{AttemptId, CallbackId},
};

/// What a provider reported, as it came.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "callbacks")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: CallbackId,
    /// The call it is about.
    pub attempt_id: AttemptId,
    /// Who was called.
    pub provider: String,
    /// When it came.
    pub received_at: Timestamp,
    /// Its headers: a list of values for each name.
    #[sea_orm(column_type = "JsonBinary")]
    pub headers: Json,
    /// Its body.
    pub body: Vec<u8>,
    /// When a worker judged it.
    pub processed_at: Option<Timestamp>,
    /// What it was good for.
    pub verdict: Option<String>,
}

/// Joins are written out where they are needed.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
