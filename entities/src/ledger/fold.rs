//! The balances of a workspace as a pure fold over its transfers.

use super::Account;
use crate::credits::{Credits, OutOfRange};

/// One transfer, without what identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Where the credits come from.
    pub from: Account,
    /// Where they go.
    pub to: Account,
    /// Above zero.
    pub amount: Credits,
}

/// The two balances of a workspace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balances {
    /// Free to be held.
    pub available: Credits,
    /// Promised to live jobs.
    pub held: Credits,
}

/// A transfer that the balances do not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Overdrawn {
    /// A balance would fall below zero.
    #[error("a balance would fall below zero")]
    Negative,
    /// An amount is not above zero, or a sum does not fit.
    #[error("an amount is out of range")]
    Range,
}

impl From<OutOfRange> for Overdrawn {
    fn from(_: OutOfRange) -> Self {
        Self::Range
    }
}

impl Balances {
    /// The balances after `transfer`.
    ///
    /// # Errors
    /// When a balance would fall below zero or an amount is out of range; nothing is changed.
    pub fn after(self, transfer: Transfer) -> Result<Self, Overdrawn> {
        if transfer.amount <= Credits::ZERO {
            return Err(Overdrawn::Range);
        }
        let mut next = self;
        if let Some(balance) = next.of(transfer.from) {
            *balance = balance.minus(transfer.amount)?;
        }
        if let Some(balance) = next.of(transfer.to) {
            *balance = balance.plus(transfer.amount)?;
        }
        if next.available < Credits::ZERO || next.held < Credits::ZERO {
            return Err(Overdrawn::Negative);
        }
        Ok(next)
    }

    fn of(&mut self, account: Account) -> Option<&mut Credits> {
        match account {
            Account::Available => Some(&mut self.available),
            Account::Held => Some(&mut self.held),
            Account::Sales | Account::Purchases | Account::Grants => None,
        }
    }
}

/// The balances that `transfers`, in order, add up to.
///
/// # Errors
/// At the first transfer that the balances before it do not allow.
pub fn fold(transfers: impl IntoIterator<Item = Transfer>) -> Result<Balances, Overdrawn> {
    transfers.into_iter().try_fold(Balances::default(), Balances::after)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::EntryKind;

    fn step() -> impl Strategy<Value = (EntryKind, i64)> {
        let kind = prop_oneof![
            Just(EntryKind::Hold),
            Just(EntryKind::Capture),
            Just(EntryKind::Release),
            Just(EntryKind::Grant),
        ];
        (kind, prop_oneof![-3_i64..200, Just(i64::MAX)])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Against the simplest model there is: two big integers.
        #[test]
        fn balances_follow_a_simple_model(steps in prop::collection::vec(step(), 1..400)) {
            let (mut balances, mut available, mut held) = (Balances::default(), 0_i128, 0_i128);
            for (kind, amount) in steps {
                let (from, to) = kind.accounts();
                let (mut a, mut h) = (available, held);
                match kind {
                    EntryKind::Hold => { a -= i128::from(amount); h += i128::from(amount); }
                    EntryKind::Capture => h -= i128::from(amount),
                    EntryKind::Release => { h -= i128::from(amount); a += i128::from(amount); }
                    EntryKind::Grant => a += i128::from(amount),
                }
                let max = i128::from(i64::MAX);
                let allowed = amount > 0 && a >= 0 && h >= 0 && a <= max && h <= max;
                let next = balances.after(Transfer { from, to, amount: Credits(amount) });
                prop_assert_eq!(next.is_ok(), allowed);
                if let Ok(next) = next {
                    (balances, available, held) = (next, a, h);
                }
                prop_assert_eq!(i128::from(balances.available.0), available);
                prop_assert_eq!(i128::from(balances.held.0), held);
            }
        }
    }

    #[test]
    fn a_fold_stops_at_the_first_bad_transfer() {
        let hold = Transfer { from: Account::Available, to: Account::Held, amount: Credits(1) };
        assert_eq!(fold([hold]), Err(Overdrawn::Negative));
    }
}
