//! Periodic tasks, behind one leader lease in the database.
//!
//! Several schedulers may run; the one that holds the lease works. Every task is a set of
//! conditional changes, so a leader that was frozen and wakes up does no harm: what it wants to
//! change has changed already. A task that fails is logged and comes round again.

mod tasks;

use std::time::Duration;

use config::context::Context;
use entities::leader;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// The lease's name.
const LEASE: &str = "scheduler";

/// Runs until shutdown, then gives the lease back.
pub async fn run(context: Context) {
    let span = context.settings.scheduler.lease;
    let mut tick = interval((span / 4).min(Duration::from_secs(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leading: Option<Leading> = None;
    loop {
        tokio::select! {
            () = context.shutdown.wait() => break,
            _ = tick.tick() => {}
        }
        let asked = Instant::now();
        match leader::hold(context.db.write(), LEASE, context.process_id, span).await {
            Ok(Some(epoch)) => {
                let state = leading.get_or_insert_with(|| {
                    tracing::info!(epoch, "this scheduler leads");
                    Leading::default()
                });
                state.until = Some(asked + span);
                state.work(&context).await;
            }
            Ok(None) => step_down(&context, &mut leading),
            Err(error) => {
                tracing::warn!(%error, "the scheduler cannot reach the database");
                let lost = leading.as_ref().and_then(|state| state.until);
                if lost.is_none_or(|until| Instant::now() >= until) {
                    step_down(&context, &mut leading);
                }
            }
        }
    }
    if leading.is_some()
        && let Err(error) = leader::resign(context.db.write(), LEASE, context.process_id).await
    {
        tracing::warn!(%error, "the leader's lease was not given back; it will run out");
    }
}

fn step_down(context: &Context, leading: &mut Option<Leading>) {
    if leading.take().is_some() {
        tracing::info!("this scheduler leads no more");
        context.metrics.clear_cluster_gauges();
    }
}

/// When each task ran last.
#[derive(Default)]
struct Leading {
    until: Option<Instant>,
    last: [Option<Instant>; tasks::TASKS.len()],
}

impl Leading {
    async fn work(&mut self, context: &Context) {
        for (task, last) in tasks::TASKS.iter().zip(&mut self.last) {
            let every = task.every(&context.settings);
            if last.is_some_and(|last| last.elapsed() < every) {
                continue;
            }
            *last = Some(Instant::now());
            if let Err(error) = task.run(context).await {
                tracing::error!(task = task.name(), %error, "a periodic task failed; it will come round again");
            }
            if self.until.is_none_or(|until| Instant::now() >= until) {
                // A long task has outlasted the lease: ask for it again before the next one.
                return;
            }
        }
    }
}
