//! Which addresses had their free credits: an account that was deleted leaves nothing else behind.
//!
//! The mark is a keyed hash (HMAC-SHA-256 under a key that is derived from the master secret for
//! this purpose alone), so the table by itself names nobody and cannot be searched with a list of
//! addresses.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait as _,
    QueryFilter, sea_query::OnConflict,
};

use crate::{Timestamp, tables::grant_marks};

/// Whether this is the first grant to an address; from now on it is not. `marks` are the address's
/// marks under each master secret in force, the newest first: the newest is written, all count.
/// Called in the transaction that grants.
///
/// # Errors
/// When the database fails, or there is no mark.
pub async fn first_grant(
    db: &impl ConnectionTrait,
    marks: &[[u8; 32]],
    now: Timestamp,
) -> Result<bool, DbErr> {
    let newest = marks.first().ok_or_else(|| DbErr::Custom("an address without a mark".into()))?;
    let known = grant_marks::Entity::find()
        .filter(grant_marks::Column::Mark.is_in(marks.iter().map(|mark| mark.to_vec())))
        .count(db)
        .await?;
    if known > 0 {
        return Ok(false);
    }
    let mark = grant_marks::ActiveModel { mark: Set(newest.to_vec()), made_at: Set(now) };
    let written = grant_marks::Entity::insert(mark)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(db)
        .await?;
    Ok(written == 1)
}
