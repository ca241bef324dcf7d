//! What keys with a spending limit have spent. A period's counter rises with each hold and falls
//! with what is released of it, whenever that is, so that it is what the key's jobs of that period
//! hold or were charged.
//!
//! Stored: `key_spending`, only for keys that have a limit. It changes only in transactions that
//! lock the workspace's wallet too, which come one after the other.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use chrono::{DateTime, Datelike as _, Months, Utc};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, ExprTrait, QueryFilter,
    sea_query::{Expr, OnConflict},
};

use super::{SpendPeriod, SpendingLimit};
use crate::{Credits, Timestamp, ids::ApiKeyId, tables::key_spending};

/// How long counters are kept: a hold lives for a day or two.
const KEPT: Duration = Duration::from_secs(62 * 86_400);

impl SpendPeriod {
    /// The name of the period that the time is in: `2026-11-26` or `2026-11`, in UTC.
    #[must_use]
    pub fn name(self, at: Timestamp) -> String {
        let at = DateTime::<Utc>::from(at);
        match self {
            Self::Day => at.format("%Y-%m-%d").to_string(),
            Self::Month => at.format("%Y-%m").to_string(),
        }
    }

    /// When the period that the time is in ends and the limit counts anew.
    #[must_use]
    pub fn end(self, at: Timestamp) -> Timestamp {
        let day = DateTime::<Utc>::from(at).date_naive();
        let next = match self {
            Self::Day => day.succ_opt(),
            Self::Month => {
                day.with_day(1).and_then(|first| first.checked_add_months(Months::new(1)))
            }
        };
        // Only the end of the calendar has no next day.
        next.and_then(|next| next.and_hms_opt(0, 0, 0))
            .map_or(Timestamp(i64::MAX), |next| next.and_utc().into())
    }
}

/// What keys with a limit may still spend, by key and period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowances {
    limits: HashMap<ApiKeyId, SpendingLimit>,
    spent: HashMap<(ApiKeyId, String), Credits>,
}

impl Allowances {
    /// Reads what has been spent of these limits in the periods that the times are in.
    pub(crate) async fn read(
        db: &impl ConnectionTrait,
        limits: HashMap<ApiKeyId, SpendingLimit>,
        times: impl Iterator<Item = (ApiKeyId, Timestamp)>,
    ) -> Result<Self, DbErr> {
        let mut periods: Vec<String> = times
            .filter_map(|(key, at)| limits.get(&key).map(|limit| limit.per.name(at)))
            .collect();
        if periods.is_empty() {
            return Ok(Self::default());
        }
        periods.sort_unstable();
        periods.dedup();
        let rows = key_spending::Entity::find()
            .filter(key_spending::Column::KeyId.is_in(limits.keys().copied()))
            .filter(key_spending::Column::Period.is_in(periods))
            .all(db)
            .await?;
        let spent = rows.into_iter().map(|row| ((row.key_id, row.period), row.spent)).collect();
        Ok(Self { limits, spent })
    }

    /// For tests: a key that has spent nothing yet.
    #[cfg(test)]
    pub(crate) fn of(key: ApiKeyId, limit: SpendingLimit) -> Self {
        Self { limits: HashMap::from([(key, limit)]), spent: HashMap::new() }
    }

    /// What the key may still spend at this time; `None`: it has no limit.
    #[must_use]
    pub fn left(&self, key: ApiKeyId, at: Timestamp) -> Option<Credits> {
        let limit = self.limits.get(&key)?;
        let spent = self.spent.get(&(key, limit.per.name(at))).copied().unwrap_or(Credits::ZERO);
        Some(Ord::max(limit.credits.minus(spent).unwrap_or(Credits::ZERO), Credits::ZERO))
    }

    /// Counts what the key spends, if it has a limit.
    pub fn take(&mut self, key: ApiKeyId, at: Timestamp, amount: Credits) {
        let Some(limit) = self.limits.get(&key) else { return };
        let spent = self.spent.entry((key, limit.per.name(at))).or_insert(Credits::ZERO);
        // It was compared with the limit before, so it fits.
        *spent = spent.plus(amount).unwrap_or(*spent);
    }

    /// Whether no key has a limit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Sums up by key and period, without what belongs to a key without a limit.
    pub(crate) fn sums(
        &self,
        holds: impl Iterator<Item = (ApiKeyId, Timestamp, Credits)>,
    ) -> Result<BTreeMap<(ApiKeyId, String), Credits>, DbErr> {
        let mut sums: BTreeMap<(ApiKeyId, String), Credits> = BTreeMap::new();
        for (key, at, amount) in holds {
            let Some(limit) = self.limits.get(&key) else { continue };
            let sum = sums.entry((key, limit.per.name(at))).or_insert(Credits::ZERO);
            *sum = sum.plus(amount).map_err(|error| DbErr::Custom(error.to_string()))?;
        }
        Ok(sums)
    }
}

/// Counts new holds.
pub(crate) async fn add(
    db: &impl ConnectionTrait,
    sums: BTreeMap<(ApiKeyId, String), Credits>,
) -> Result<(), DbErr> {
    if sums.is_empty() {
        return Ok(());
    }
    let rows = sums.into_iter().map(|((key, period), sum)| key_spending::ActiveModel {
        key_id: Set(key),
        period: Set(period),
        spent: Set(sum),
    });
    let table = key_spending::Entity;
    let sum = Expr::col((table, key_spending::Column::Spent)).add(Expr::cust("excluded.spent"));
    let add = OnConflict::columns([key_spending::Column::KeyId, key_spending::Column::Period])
        .value(key_spending::Column::Spent, sum)
        .to_owned();
    key_spending::Entity::insert_many(rows).on_conflict(add).exec_without_returning(db).await?;
    Ok(())
}

/// Counts back what is released of a hold that was opened at this time. A key without a limit has
/// no counter.
pub(crate) async fn give_back(
    db: &impl ConnectionTrait,
    key: ApiKeyId,
    opened_at: Timestamp,
    released: Credits,
) -> Result<(), DbErr> {
    let periods = [SpendPeriod::Day, SpendPeriod::Month].map(|per| per.name(opened_at));
    key_spending::Entity::update_many()
        .col_expr(
            key_spending::Column::Spent,
            Expr::col(key_spending::Column::Spent).sub(released.0),
        )
        .filter(key_spending::Column::KeyId.eq(key))
        .filter(key_spending::Column::Period.is_in(periods))
        .exec(db)
        .await?;
    Ok(())
}

/// Forgets counters of periods that ended so long ago that no hold of theirs is open.
///
/// # Errors
/// When the database fails.
pub async fn forget_spending(db: &impl ConnectionTrait, now: Timestamp) -> Result<(), DbErr> {
    // A month's name sorts before those of its days and after those of the month before.
    let oldest = SpendPeriod::Month.name(now.before(KEPT));
    key_spending::Entity::delete_many()
        .filter(key_spending::Column::Period.lt(oldest))
        .exec(db)
        .await?;
    Ok(())
}

/// What each of the keys has spent in the period that is named beside it.
pub(crate) async fn spent(
    db: &impl ConnectionTrait,
    keys: impl Iterator<Item = (ApiKeyId, String)>,
) -> Result<HashMap<ApiKeyId, Credits>, DbErr> {
    let wanted: HashMap<ApiKeyId, String> = keys.collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = key_spending::Entity::find()
        .filter(key_spending::Column::KeyId.is_in(wanted.keys().copied()))
        .filter(key_spending::Column::Period.is_in(wanted.values().cloned()))
        .all(db)
        .await?;
    Ok(rows
        .into_iter()
        .filter(|row| wanted.get(&row.key_id) == Some(&row.period))
        .map(|row| (row.key_id, row.spent))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        serde_json::from_value(text.into()).unwrap()
    }

    #[test]
    fn periods_are_those_of_utc() {
        let late = at("2026-12-31T23:59:59.999999Z");
        assert_eq!(SpendPeriod::Day.name(late), "2026-12-31");
        assert_eq!(SpendPeriod::Month.name(late), "2026-12");
        assert_eq!(SpendPeriod::Day.end(late), at("2027-01-01T00:00:00Z"));
        assert_eq!(SpendPeriod::Month.end(at("2026-02-28T12:00:00Z")), at("2026-03-01T00:00:00Z"));
        assert_eq!(SpendPeriod::Day.end(at("2026-11-26T00:00:00Z")), at("2026-11-27T00:00:00Z"));
    }

    #[test]
    fn a_key_spends_up_to_its_limit_in_each_period() {
        let key = ApiKeyId::generate();
        let limit = SpendingLimit { credits: Credits(10), per: SpendPeriod::Day };
        let mut allowances = Allowances::of(key, limit);
        let (today, tomorrow) = (at("2026-11-26T23:00:00Z"), at("2026-11-27T00:00:00Z"));
        allowances.take(key, today, Credits(7));
        assert_eq!(allowances.left(key, today), Some(Credits(3)));
        assert_eq!(allowances.left(key, tomorrow), Some(Credits(10)));
        assert_eq!(allowances.left(ApiKeyId::generate(), today), None);
    }
}
