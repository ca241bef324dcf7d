//! The order of dispatch: round-robin over tenants, oldest first within one. Pure.

use std::collections::VecDeque;

use crate::ids::{JobId, WorkspaceId};

/// A tenant with waiting jobs and free slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The tenant.
    pub workspace_id: WorkspaceId,
    /// How many more of its jobs may be dispatched.
    pub free: usize,
    /// Its waiting jobs, oldest first.
    pub waiting: VecDeque<JobId>,
}

/// Picks at most `room` jobs: one of each tenant, in turn, then again, until the room, the slots
/// or the jobs are used up. The first turn goes to the tenant after `last` (in order of id), so
/// that nobody is always first.
#[must_use]
pub fn pick(
    mut candidates: Vec<Candidate>,
    room: usize,
    last: Option<WorkspaceId>,
) -> Vec<(WorkspaceId, JobId)> {
    candidates.sort_by_key(|candidate| candidate.workspace_id);
    let start = last
        .map_or(0, |last| candidates.partition_point(|candidate| candidate.workspace_id <= last));
    let turn = start.min(candidates.len());
    candidates.rotate_left(turn);
    let mut turns: VecDeque<Candidate> = candidates.into();
    let mut picked = Vec::new();
    while picked.len() < room {
        let Some(mut candidate) = turns.pop_front() else { break };
        if candidate.free == 0 {
            continue;
        }
        if let Some(job) = candidate.waiting.pop_front() {
            picked.push((candidate.workspace_id, job));
            candidate.free -= 1;
            turns.push_back(candidate);
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn tenant(n: u128) -> WorkspaceId {
        WorkspaceId(Uuid::from_u128(n))
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        prop::collection::btree_map(0_u128..40, (0_usize..12, 0_usize..20), 0..20).prop_map(|map| {
            let mut next = 0_u128;
            map.into_iter()
                .map(|(n, (free, jobs))| Candidate {
                    workspace_id: tenant(n),
                    free,
                    waiting: (0..jobs)
                        .map(|_| {
                            next += 1;
                            JobId(Uuid::from_u128(next))
                        })
                        .collect(),
                })
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn slots_are_shared_fairly(all in candidates(), room in 0_usize..120, last in 0_u128..40) {
            let picked = pick(all.clone(), room, Some(tenant(last)));
            let supply: usize = all.iter().map(|c| c.free.min(c.waiting.len())).sum();
            // Nothing is left undone while there is room, and nothing is done twice.
            prop_assert_eq!(picked.len(), supply.min(room));
            let unique: HashSet<_> = picked.iter().map(|(_, job)| *job).collect();
            prop_assert_eq!(unique.len(), picked.len());

            let mut got: BTreeMap<WorkspaceId, Vec<JobId>> = BTreeMap::new();
            for (workspace, job) in &picked {
                got.entry(*workspace).or_default().push(*job);
            }
            for c in &all {
                let mine = got.get(&c.workspace_id).cloned().unwrap_or_default();
                prop_assert!(mine.len() <= c.free);
                // Oldest first.
                prop_assert_eq!(&mine[..], &c.waiting.iter().copied().take(mine.len()).collect::<Vec<_>>()[..]);
                // Nobody who could have had more is more than one behind anybody.
                if mine.len() < c.free.min(c.waiting.len()) {
                    for other in got.values() {
                        prop_assert!(other.len() <= mine.len() + 1);
                    }
                }
            }
        }
    }

    #[test]
    fn the_turn_after_the_last_one_comes_first() {
        let one = |n: u128| Candidate {
            workspace_id: tenant(n),
            free: 1,
            waiting: VecDeque::from([JobId(Uuid::from_u128(n))]),
        };
        let order = |last| {
            pick(vec![one(1), one(2), one(3)], 3, last)
                .into_iter()
                .map(|(w, _)| w)
                .collect::<Vec<_>>()
        };
        assert_eq!(order(Some(tenant(2))), [tenant(3), tenant(1), tenant(2)]);
        assert_eq!(order(Some(tenant(3))), [tenant(1), tenant(2), tenant(3)]);
        assert_eq!(order(None), [tenant(1), tenant(2), tenant(3)]);
    }
}
