//! Periodic tasks, behind one leader lease in the database; and sending mails, which every scheduler
//! does, because a slow mail server must not hold up anything else.
//!
//! Several schedulers may run; the one that holds the lease works. Every task is a set of
//! conditional changes, so a leader that was frozen and wakes up does no harm: what it wants to
//! change has changed already. A task that fails is logged and comes round again.

mod erasure;
mod mails;
mod orphans;
mod tasks;

use std::time::Duration;

use config::{announce::Announcement, context::Context};
use entities::{Timestamp, leader};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::task::AbortOnDropHandle;

/// The lease's name.
const LEASE: &str = "scheduler";

/// Runs until shutdown, then gives the lease back.
pub async fn run(context: Context) {
    let span = context.settings.scheduler.lease;
    let mut tick = interval((span / 4).min(Duration::from_secs(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leading: Option<Leading> = None;
    let (lost, _listening) = hints_lost(&context);
    let _sending = mails::start(&context);
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
                let lost = *lost.borrow();
                state.push_again(&context, lost).await;
                state.work(&context).await;
                state.orphans.round(&context).await;
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

/// Before which time hints may have been lost all at once: Redis came back, and may have forgotten
/// everything. A task of its own, so that it never falls behind.
fn hints_lost(context: &Context) -> (watch::Receiver<Option<Timestamp>>, AbortOnDropHandle<()>) {
    let (sender, lost) = watch::channel(None);
    let (mut announcements, clock) = (context.announcer.subscribe(), context.clock.clone());
    let listening = tokio::spawn(async move {
        while let Some(announcement) = announcements.recv().await {
            if announcement == Announcement::Resync {
                sender.send_replace(Some(clock.now()));
            }
        }
    });
    (lost, AbortOnDropHandle::new(listening))
}

fn step_down(context: &Context, leading: &mut Option<Leading>) {
    if leading.take().is_some() {
        tracing::info!("this scheduler leads no more");
        context.metrics.clear_cluster_gauges();
    }
}

/// When each task is due.
#[derive(Default)]
struct Leading {
    until: Option<Instant>,
    due: [Option<Instant>; tasks::TASKS.len()],
    /// Hints that were lost before this time are pushed again.
    pushed_again: Option<Timestamp>,
    orphans: orphans::Orphans,
}

impl Leading {
    async fn push_again(&mut self, context: &Context, lost: Option<Timestamp>) {
        let Some(lost) = lost.filter(|lost| self.pushed_again.is_none_or(|done| done < *lost))
        else {
            return;
        };
        match tasks::push_again(context, lost).await {
            Ok(true) => self.pushed_again = Some(lost),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "hints were not pushed again yet"),
        }
    }

    async fn work(&mut self, context: &Context) {
        for (task, due) in tasks::TASKS.iter().zip(&mut self.due) {
            let began = Instant::now();
            if due.is_some_and(|due| began < due) {
                continue;
            }
            let more = task.run(context).await.unwrap_or_else(|error| {
                tracing::error!(task = task.name(), %error, "a periodic task failed; it will come round again");
                false
            });
            let pause = task.every(&context.settings).max(task.rest(began.elapsed()));
            *due = Some(if more { began } else { began + pause });
            if self.until.is_none_or(|until| Instant::now() >= until) {
                // A long task has outlasted the lease: ask for it again before the next one.
                return;
            }
        }
    }
}
