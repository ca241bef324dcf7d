//! How a process ends: in phases, so that no request and no job is dropped by a restart.
//!
//! 1. *Draining*, from the first signal: `/readyz` says no, everything still works.
//! 2. *Closing*, after the drain delay: listeners close, loops take no new work.
//! 3. *Over*, when all tracked tasks are done or the grace has passed: the operations port closes.
//!
//! A second Ctrl-C ends the process at once. Nothing is stored; what is cut off is in the database.

use std::{future::Future, io, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TrackedFuture},
};

/// What a shell expects after Ctrl-C: 128 and the number of the signal.
const INTERRUPTED: i32 = 130;

/// A handle on the process's end. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    closing: CancellationToken,
    over: CancellationToken,
    tasks: TaskTracker,
}

/// How the end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All tracked tasks are done.
    Cleanly,
    /// So many tasks were still running when the grace had passed.
    CutOff(usize),
}

impl Shutdown {
    /// A process that runs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the end, as a signal does.
    pub fn begin(&self) {
        self.draining.cancel();
    }

    /// Whether the end has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until the end begins.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.draining.clone().cancelled_owned()
    }

    /// Waits until listeners must close and loops must take no new work.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.closing.clone().cancelled_owned()
    }

    /// Whether listeners must close and loops must take no new work.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Canceled when listeners must close and loops must take no new work.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.closing.child_token()
    }

    /// Waits until nothing is left to wait for.
    pub fn over(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.over.clone().cancelled_owned()
    }

    /// Runs a task that the end waits for, within the grace.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Makes the end wait for this part, within the grace.
    pub fn track<F: Future>(&self, part: F) -> TrackedFuture<F> {
        self.tasks.track_future(part)
    }

    /// Begins the end on SIGTERM or SIGINT; a second SIGINT exits at once with code 130. Both are
    /// listened for from when this returns.
    ///
    /// # Errors
    /// When the system refuses to report signals.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        // Not tracked: it goes on listening to the very end.
        tokio::spawn(async move {
            let mut interrupted = false;
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => {
                        if interrupted {
                            exit_at_once();
                        }
                        interrupted = true;
                        "SIGINT"
                    }
                };
                tracing::info!(signal = name, "stopping; a second Ctrl-C stops at once");
                shutdown.begin();
            }
        });
        Ok(())
    }

    /// Waits for the beginning of the end and leads through its phases.
    pub async fn run(&self, drain_delay: Duration, grace: Duration) -> Ended {
        self.draining.cancelled().await;
        if !drain_delay.is_zero() {
            tracing::info!(seconds = drain_delay.as_secs_f64(), "draining");
            tokio::time::sleep(drain_delay).await;
        }
        self.closing.cancel();
        self.tasks.close();
        let left = tokio::time::timeout(grace, self.tasks.wait()).await;
        self.over.cancel();
        match left {
            Ok(()) => Ended::Cleanly,
            Err(_) => Ended::CutOff(self.tasks.len()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "whoever presses Ctrl-C twice wants no unwinding")]
fn exit_at_once() -> ! {
    std::process::exit(INTERRUPTED)
}

#[cfg(test)]
mod tests;
