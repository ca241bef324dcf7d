//! The verdicts of a group of submits. Pure.

use std::collections::HashMap;

use super::submit::NewJob;
use crate::{
    Credits, Timestamp,
    accounts::Allowances,
    ids::{ApiKeyId, JobId, WorkspaceId},
};

/// A wallet's balances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wallet {
    /// Free to be held.
    pub available: Credits,
    /// Held already.
    pub held: Credits,
}

/// An idempotency record that is still valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The hash of the request that it answers.
    pub body_hash: Vec<u8>,
    /// The job that it made.
    pub job_id: JobId,
}

/// What is to become of a submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Write it.
    Accept,
    /// Answer with this job.
    Replay(JobId),
    /// The key belongs to another request.
    KeyConflict,
    /// The wallet does not cover it.
    Insufficient {
        /// What it has.
        available: Credits,
    },
    /// The API key may not spend so much.
    OverLimit {
        /// What it may still spend.
        left: Credits,
    },
    /// The API key does not work any more.
    Revoked,
}

/// What is known of the keys that submit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// Those that are not revoked, and when they expire.
    pub live: HashMap<ApiKeyId, Option<Timestamp>>,
    /// What those with a spending limit may still spend.
    pub allowances: Allowances,
}

impl Keys {
    fn works(&self, key: ApiKeyId, at: Timestamp) -> bool {
        self.live.get(&key).is_some_and(|end| end.is_none_or(|end| at < end))
    }
}

/// Decides a group in the order of arrival: what an earlier one takes, a later one lacks; the same
/// idempotency key twice follows the first. A replay needs no money.
#[must_use]
pub fn decide(
    group: &[NewJob],
    mut wallets: HashMap<WorkspaceId, Wallet>,
    mut keys: Keys,
    mut known: HashMap<(WorkspaceId, String), Known>,
) -> Vec<Decision> {
    group
        .iter()
        .map(|job| {
            if job.api_key_id.is_some_and(|key| !keys.works(key, job.created_at)) {
                return Decision::Revoked;
            }
            if let Some((key, hash)) = &job.idempotency
                && let Some(record) = known.get(&(job.workspace_id, key.clone()))
            {
                return if record.body_hash == hash {
                    Decision::Replay(record.job_id)
                } else {
                    Decision::KeyConflict
                };
            }
            let left = job.api_key_id.and_then(|key| keys.allowances.left(key, job.created_at));
            if let Some(left) = left.filter(|left| *left < job.credits) {
                return Decision::OverLimit { left };
            }
            if let Some(short) = take(wallets.get_mut(&job.workspace_id), job.credits) {
                return short;
            }
            if let Some(key) = job.api_key_id {
                keys.allowances.take(key, job.created_at, job.credits);
            }
            if let Some((key, hash)) = &job.idempotency {
                let record = Known { body_hash: hash.to_vec(), job_id: job.id };
                known.insert((job.workspace_id, key.clone()), record);
            }
            Decision::Accept
        })
        .collect()
}

/// Holds `price` in the wallet; the refusal if it cannot.
fn take(wallet: Option<&mut Wallet>, price: Credits) -> Option<Decision> {
    let Some(wallet) = wallet else {
        return Some(Decision::Insufficient { available: Credits::ZERO });
    };
    let short = Decision::Insufficient { available: wallet.available };
    if price <= Credits::ZERO || price > wallet.available {
        return Some(short);
    }
    let (Ok(available), Ok(held)) = (wallet.available.minus(price), wallet.held.plus(price)) else {
        return Some(short);
    };
    *wallet = Wallet { available, held };
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{
        accounts::{SpendPeriod, SpendingLimit},
        job::Kind,
    };

    fn job(n: u128, workspace: u128, price: i64, key: Option<(u8, u8)>) -> NewJob {
        NewJob {
            id: JobId(Uuid::from_u128(n)),
            workspace_id: WorkspaceId(Uuid::from_u128(workspace)),
            api_key_id: None,
            model: "demo/sketch".into(),
            kind: Kind::Image,
            pool: "demo".into(),
            input: json!({}),
            metadata: json!({}),
            resolved: json!({}),
            credits: Credits(price),
            outputs_expected: 1,
            idempotency: key.map(|(key, body)| (key.to_string(), [body; 32])),
            uploads: Vec::new(),
            created_at: Timestamp(0),
            expires_at: Timestamp(0),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Whatever the grouping, the verdicts are those of one submit after the other, and no
        /// wallet is overdrawn.
        #[test]
        fn a_group_is_as_good_as_one_by_one(
            submits in prop::collection::vec((0_u128..3, 1_i64..50, prop::option::of((0_u8..6, 0_u8..2))), 1..60),
            funds in prop::collection::vec(0_i64..300, 3),
        ) {
            let jobs: Vec<NewJob> = submits.iter().enumerate()
                .map(|(n, (w, price, key))| job(n as u128, *w, *price, *key)).collect();
            let wallets: HashMap<_, _> = funds.iter().enumerate().map(|(w, available)| {
                (WorkspaceId(Uuid::from_u128(w as u128)), Wallet { available: Credits(*available), held: Credits(0) })
            }).collect();
            let together = decide(&jobs, wallets, Keys::default(), HashMap::new());

            let mut left = funds.clone();
            let mut keys: HashMap<(u128, u8), (u8, JobId)> = HashMap::new();
            for ((job, (w, price, key)), decision) in jobs.iter().zip(&submits).zip(&together) {
                let slot = usize::try_from(*w).unwrap();
                let expected = match key.and_then(|(k, body)| keys.get(&(*w, k)).map(|known| (body, *known))) {
                    Some((body, (known, id))) if body == known => Decision::Replay(id),
                    Some(_) => Decision::KeyConflict,
                    None if *price <= left[slot] => {
                        left[slot] -= price;
                        if let Some((k, body)) = key { keys.insert((*w, *k), (*body, job.id)); }
                        Decision::Accept
                    }
                    None => Decision::Insufficient { available: Credits(left[slot]) },
                };
                prop_assert_eq!(*decision, expected);
            }
        }
    }

    #[test]
    fn nothing_is_accepted_without_a_wallet_or_for_nothing() {
        let refused = Decision::Insufficient { available: Credits(0) };
        let none =
            |jobs: &[NewJob], wallets| decide(jobs, wallets, Keys::default(), HashMap::new());
        assert_eq!(none(&[job(1, 1, 5, None)], HashMap::new()), [refused]);
        let wallet = Wallet { available: Credits(0), held: Credits(0) };
        let wallets = HashMap::from([(WorkspaceId(Uuid::from_u128(1)), wallet)]);
        assert_eq!(none(&[job(1, 1, 0, None), job(2, 1, -5, None)], wallets), [refused, refused]);
    }

    #[test]
    fn a_key_spends_no_more_than_its_limit_and_works_until_its_end() {
        let key = ApiKeyId(Uuid::from_u128(9));
        let limit = SpendingLimit { credits: Credits(10), per: SpendPeriod::Day };
        let keys = Keys {
            live: HashMap::from([(key, Some(Timestamp(5)))]),
            allowances: Allowances::of(key, limit),
        };
        let wallet = Wallet { available: Credits(15), held: Credits(0) };
        let wallets = HashMap::from([(WorkspaceId(Uuid::from_u128(1)), wallet)]);
        let submit = |n: u128, price: i64, at: i64| NewJob {
            api_key_id: Some(key),
            created_at: Timestamp(at),
            ..job(n, 1, price, None)
        };
        let jobs = [
            submit(1, 7, 0),
            submit(2, 4, 0),
            submit(3, 3, 4),
            submit(4, 1, 0),
            submit(5, 1, 5),
            job(6, 1, 6, None),
            job(7, 1, 5, None),
        ];
        let left = |left| Decision::OverLimit { left: Credits(left) };
        let short = Decision::Insufficient { available: Credits(5) };
        let verdicts = [
            Decision::Accept,
            left(3),
            Decision::Accept,
            left(0),
            Decision::Revoked,
            short,
            Decision::Accept,
        ];
        assert_eq!(decide(&jobs, wallets, keys, HashMap::new()), verdicts);
    }
}
