//! The one way to change a job: an UPDATE that finds the row only in the expected state and epoch.

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, ExprTrait, QueryFilter,
    sea_query::{BinOper, Expr, SimpleExpr},
};

use super::JobState;
use crate::{
    ids::{JobId, WorkspaceId},
    tables::jobs,
};

/// A job as its holder knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobRef {
    /// Which.
    pub id: JobId,
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// In this state,
    pub state: JobState,
    /// at this epoch.
    pub epoch: i64,
}

impl From<&jobs::Model> for JobRef {
    fn from(job: &jobs::Model) -> Self {
        Self { id: job.id, workspace_id: job.workspace_id, state: job.state, epoch: job.epoch }
    }
}

/// Whether a change shows to the user and so raises `version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    Yes,
    No,
}

/// That a job is in that state, for a statement that names the job. It is said in a way that no index
/// of the jobs in one state serves: those are full of rows that left the state a moment ago, and to
/// the planner they look as good as the key.
pub(crate) fn is_in(state: JobState) -> SimpleExpr {
    let joined = BinOper::Custom("||");
    let column = Expr::col((jobs::Entity, jobs::Column::State));
    ExprTrait::eq(column.binary(joined, Expr::cust("''")), state.name())
}

/// Applies `change` to the job if it still is what `job` says, and raises the epoch. `None`:
/// someone else was first.
pub(crate) async fn change(
    db: &impl ConnectionTrait,
    job: &JobRef,
    to: JobState,
    shows: Shows,
    change: jobs::ActiveModel,
) -> Result<Option<jobs::Model>, DbErr> {
    if job.state != to {
        job.state.check(to).map_err(|error| DbErr::Custom(error.to_string()))?;
    }
    let mut change = change;
    change.state = sea_orm::ActiveValue::Set(to);
    let mut update = jobs::Entity::update_many()
        .set(change)
        .col_expr(jobs::Column::Epoch, Expr::col(jobs::Column::Epoch).add(1))
        .filter(jobs::Column::Id.eq(job.id))
        .filter(is_in(job.state))
        .filter(jobs::Column::Epoch.eq(job.epoch));
    if shows == Shows::Yes {
        update = update.col_expr(jobs::Column::Version, Expr::col(jobs::Column::Version).add(1));
    }
    Ok(update.exec_with_returning(db).await?.into_iter().next())
}
