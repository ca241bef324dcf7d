//! Hints to push, handlers that remember, and monitors that run in the background.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use apalis::prelude::{Monitor, MonitorContext, MonitorError};
use config::queue::Queue;
use entities::{JobHint, ids::JobId};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// No condition may take longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const POOL: &str = "demo";

pub(crate) fn hints(count: i64) -> Vec<JobHint> {
    (0..count).map(|epoch| JobHint { job_id: JobId::generate(), epoch }).collect()
}

/// Waits for `future`, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("this never happened: {what}"),
    }
}

/// Asks until the answer is yes.
pub(crate) async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !ask().await {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Remembers which hints a handler saw and how often.
#[derive(Clone)]
pub(crate) struct Memory {
    seen: Arc<Mutex<Vec<JobHint>>>,
    count: watch::Sender<usize>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { seen: Arc::default(), count: watch::Sender::new(0) }
    }

    pub(crate) fn note(&self, hint: JobHint) {
        let count = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(hint);
            seen.len()
        };
        self.count.send_if_modified(|known| {
            let more = count > *known;
            *known = count.max(*known);
            more
        });
    }

    pub(crate) fn seen(&self) -> Vec<JobHint> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until so many calls were noted.
    pub(crate) async fn reaches(&self, count: usize) {
        let mut watched = self.count.subscribe();
        let what = format!("{count} handled hints");
        soon(&what, watched.wait_for(|seen| *seen >= count)).await.unwrap();
    }

    /// Waits until each of `hints` was seen.
    pub(crate) async fn saw_all(&self, hints: &[JobHint]) {
        until("every hint handled", async || {
            let seen = self.times();
            hints.iter().all(|hint| seen.contains_key(hint))
        })
        .await;
    }

    pub(crate) fn times(&self) -> HashMap<JobHint, usize> {
        let mut times = HashMap::new();
        for hint in self.seen() {
            *times.entry(hint).or_default() += 1;
        }
        times
    }

    /// Each of `hints` was seen once, and nothing else.
    pub(crate) fn assert_once(&self, hints: &[JobHint]) {
        let times = self.times();
        for hint in hints {
            assert_eq!(times.get(hint), Some(&1), "{hint:?}");
        }
        assert_eq!(times.len(), hints.len());
    }
}

/// Holds handlers back until the test lets them go.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub(crate) fn let_through(&self, count: usize) {
        self.0.add_permits(count);
    }

    pub(crate) fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// A monitor at work.
pub(crate) struct Workers {
    pub(crate) context: MonitorContext,
    running: JoinHandle<Result<(), MonitorError>>,
}

impl Workers {
    pub(crate) fn start<F, Fut>(queue: &Queue, concurrency: usize, handler: F) -> Self
    where
        F: Fn(JobHint) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let monitor = queue.register(Monitor::new(), POOL, concurrency, handler);
        let context = monitor.context();
        Self { context, running: tokio::spawn(monitor.run()) }
    }

    /// Workers that only remember.
    pub(crate) fn noting(queue: &Queue, concurrency: usize, memory: &Memory) -> Self {
        let memory = memory.clone();
        Self::start(queue, concurrency, move |hint| {
            let memory = memory.clone();
            async move { memory.note(hint) }
        })
    }

    pub(crate) fn begin_stop(&self) {
        self.context.shutdown().unwrap();
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_finished()
    }

    pub(crate) async fn stopped(self) {
        soon("a stopped monitor", self.running).await.unwrap().unwrap();
    }

    pub(crate) async fn stop(self) {
        self.begin_stop();
        self.stopped().await;
    }
}
