//! The embedded queue: one waiting line for each pool, shared by all of the pool's workers.
//!
//! Nothing is stored beyond the process. A hint that already waits is not added twice, so that
//! repeated pushes of a slow pool cost nothing; a full line refuses more.
//!
//! apalis' own `MemoryStorage` is not used: its channel has one receiver, so neither a second
//! worker nor a restarted one can join, closing one worker closes the sender of all, and its
//! channel has no bound.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use entities::JobHint;

use super::QueueError;

/// All pools of one embedded queue.
pub struct MemoryQueue {
    limit: usize,
    pools: Mutex<HashMap<String, Arc<MemoryPool>>>,
}

impl MemoryQueue {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, pools: Mutex::default() }
    }

    pub(super) fn pool(&self, name: &str) -> Arc<MemoryPool> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(name) {
            return Arc::clone(pool);
        }
        let pool = Arc::new(MemoryPool {
            name: name.to_owned(),
            limit: self.limit,
            line: Mutex::default(),
        });
        pools.insert(name.to_owned(), Arc::clone(&pool));
        pool
    }
}

/// The waiting line of one pool.
pub(super) struct MemoryPool {
    name: String,
    limit: usize,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<JobHint>,
    known: HashSet<JobHint>,
    /// Everyone who found the line empty. All are woken by a push: a worker that has stopped
    /// since then would otherwise swallow the only wake-up.
    idle: Vec<Waker>,
}

impl MemoryPool {
    pub(super) fn push(&self, hints: &[JobHint]) -> Result<(), QueueError> {
        let (idle, refused) = {
            let mut line = self.lock();
            let mut refused = false;
            for hint in hints {
                if line.known.contains(hint) {
                    continue;
                }
                if line.waiting.len() >= self.limit {
                    refused = true;
                    break;
                }
                line.known.insert(*hint);
                line.waiting.push_back(*hint);
            }
            (std::mem::take(&mut line.idle), refused)
        };
        for waker in idle {
            waker.wake();
        }
        if refused { Err(QueueError::Full { pool: self.name.clone() }) } else { Ok(()) }
    }

    pub(super) fn depth(&self) -> u64 {
        self.lock().waiting.len() as u64
    }

    /// The oldest hint that waits.
    pub(super) fn poll_take(&self, cx: &Context<'_>) -> Poll<JobHint> {
        let mut line = self.lock();
        if let Some(hint) = line.waiting.pop_front() {
            line.known.remove(&hint);
            return Poll::Ready(hint);
        }
        if !line.idle.iter().any(|waker| waker.will_wake(cx.waker())) {
            line.idle.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use entities::ids::JobId;

    use super::*;

    fn hint(epoch: i64) -> JobHint {
        JobHint { job_id: JobId(uuid::Uuid::nil()), epoch }
    }

    #[test]
    fn a_hint_that_waits_is_not_added_twice() {
        let queue = MemoryQueue::new(10);
        queue.pool("a").push(&[hint(1), hint(1), hint(2)]).unwrap();
        queue.pool("a").push(&[hint(1)]).unwrap();
        assert_eq!(queue.pool("a").depth(), 2);
        assert_eq!(queue.pool("b").depth(), 0);
    }

    #[test]
    fn a_taken_hint_may_come_again() {
        let pool = MemoryQueue::new(10).pool("a");
        let cx = Context::from_waker(Waker::noop());
        pool.push(&[hint(1)]).unwrap();
        assert_eq!(pool.poll_take(&cx), Poll::Ready(hint(1)));
        assert_eq!(pool.poll_take(&cx), Poll::Pending);
        pool.push(&[hint(1)]).unwrap();
        assert_eq!(pool.poll_take(&cx), Poll::Ready(hint(1)));
    }

    #[test]
    fn a_full_line_says_so_and_keeps_what_it_has() {
        let pool = MemoryQueue::new(2).pool("a");
        let full = QueueError::Full { pool: "a".to_owned() };
        assert_eq!(pool.push(&[hint(1), hint(2), hint(3)]), Err(full));
        assert_eq!(pool.depth(), 2);
    }
}
