//! Which routes to providers may be called now, as this process sees it.
//!
//! Breakers and switches are in the database, which all processes share and whose clock counts.
//! Here they are looked at every second, so that no job costs a query; what calls tell counts here
//! at once and goes to the database in the background. While the database is away, the process
//! goes on with what it knows: then its breakers are its own. Redis has no part in this.

mod board;
mod overview;
mod switches;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use entities::{
    Db,
    routing::{self, Board, Report, RouteKey, Standing},
};
use sea_orm::DbErr;
use tokio::sync::{Notify, watch};

use crate::{clock::Clock, random};
use board::Seen;

pub use overview::{Known, ProviderState, RouteState, overview};
pub use switches::{SwitchError, Switches};

/// How often the database is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The most reports of one route that wait for a database that is away; older ones are dropped.
const WAITING: usize = 1_000;

/// Cheap to clone; clones see the same.
#[derive(Clone)]
pub struct Routes(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Clock,
    seen: Mutex<Seen>,
    /// Rung when something should be known to all soon.
    bell: Notify,
    /// Whether the database was read at least once.
    read: watch::Sender<bool>,
}

impl Routes {
    /// Begins to look. Must be called inside a tokio runtime; it ends with the last clone.
    #[must_use]
    pub fn start(db: Db, clock: Clock) -> Self {
        let routes = Self(Arc::new(Inner {
            db,
            clock,
            seen: Mutex::default(),
            bell: Notify::new(),
            read: watch::Sender::new(false),
        }));
        tokio::spawn(keep_looking(Arc::downgrade(&routes.0)));
        routes
    }

    /// Until it is known what is switched off. A worker that has just started waits for this.
    pub async fn ready(&self) {
        // The sender lives as long as this handle.
        drop(self.0.read.subscribe().wait_for(|read| *read).await);
    }

    /// Whether any route of the provider is not simply open.
    #[must_use]
    pub fn is_troubled(&self, provider: &str) -> bool {
        self.seen().is_troubled(provider)
    }

    /// Whether this route may be called.
    #[must_use]
    pub fn standing(&self, provider: &str, model: &str) -> Standing {
        self.seen().standing(provider, model)
    }

    /// Whether an operator switched this route off.
    #[must_use]
    pub fn is_off(&self, provider: &str, model: &str) -> bool {
        self.seen().board.switch(provider, model).is_some()
    }

    /// Takes in what a call told of its route.
    pub fn report(&self, provider: &str, model: &str, report: Report) {
        let urgent = self.seen().report(RouteKey::new(provider, model), report, random::dice());
        if urgent {
            self.0.bell.notify_one();
        }
    }

    /// Takes the turn to try a half-open route. `false`: somebody else has it, or nobody can know.
    pub async fn probe(&self, provider: &str, model: &str) -> bool {
        let key = RouteKey::new(provider, model);
        // It may have closed meanwhile, or be known here to have been tried just now.
        if !self.seen().may_probe(&key) {
            return false;
        }
        match self.0.probe(&key).await {
            Ok(mine) => {
                self.seen().probed(&key);
                mine
            }
            Err(error) => {
                tracing::debug!(%error, "a route was not tried");
                false
            }
        }
    }

    /// All that is known.
    #[must_use]
    pub fn board(&self) -> Board {
        self.seen().now_board()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen()
    }
}

impl Inner {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn probe(&self, key: &RouteKey) -> Result<bool, DbErr> {
        let tx = self.db.begin().await?;
        let mine = routing::probe(&tx, key).await?;
        tx.commit().await?;
        Ok(mine)
    }

    /// Tells the database what calls told, and sees what it knows.
    async fn look(&self) -> Result<(), DbErr> {
        let told = self.seen().take_told();
        if let Err(error) = self.tell(&told).await {
            self.seen().put_back(told);
            return Err(error);
        }
        let board = routing::read(self.db.read()).await?;
        self.seen().renew(board, random::dice());
        self.read.send_replace(true);
        Ok(())
    }

    /// One transaction for all, in the order of their keys, so that two processes never wait for
    /// each other.
    async fn tell(&self, told: &BTreeMap<RouteKey, Vec<Report>>) -> Result<(), DbErr> {
        if told.is_empty() {
            return Ok(());
        }
        let tx = self.db.begin().await?;
        for (key, reports) in told {
            routing::report(&tx, key, reports, self.clock.now(), random::dice()).await?;
        }
        tx.commit().await
    }
}

async fn keep_looking(inner: Weak<Inner>) {
    while let Some(inner) = inner.upgrade() {
        if let Err(error) = inner.look().await {
            tracing::debug!(%error, "routes are taken to be as they were");
            tokio::time::sleep(LOOK).await;
        }
        tokio::select! {
            () = inner.bell.notified() => {
                // What comes at the same time goes together.
                tokio::time::sleep(LOOK / 10).await;
            }
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

#[cfg(test)]
mod tests;
