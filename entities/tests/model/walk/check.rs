//! What the database says, against the model; and the invariants.

use std::time::Duration;

use entities::{
    accounts,
    job::{self, JobState},
    reconcile,
    tables::{jobs, workspaces},
};
use rand::RngExt as _;
use sea_orm::EntityTrait as _;

use super::{super::simple::ROUTES, Walk};

impl Walk {
    /// Lets everything that lives come to its end.
    pub(crate) async fn settle_everything(&mut self) {
        for route in 0..ROUTES.len() {
            if let Some(why) = self.model.shut[route] {
                self.open(route, why).await;
            }
        }
        for _ in 0..100_000 {
            if self.model.live.is_empty() {
                return;
            }
            self.now = self.now.after(Duration::from_secs(20));
            match self.random.random_range(0..5) {
                0 => drop(self.dispatch().await),
                1 => drop(self.sweep().await),
                2 => {
                    let route = self.route();
                    self.lease(ROUTES[route], 50).await;
                }
                3 => drop(self.detour().await),
                _ => {}
            }
            self.claim().await;
            self.work().await;
            if self.random.random_range(0..50) == 0 {
                self.rescue().await;
                self.overdue().await;
            }
        }
        panic!("{:?} never end", self.model.live);
    }

    /// The invariants, the wallets, and the jobs that may have changed since the last time: one
    /// that had ended then does not change.
    pub(crate) async fn check(&mut self) {
        self.check_wallets().await;
        let rows = self.rows(self.watched.iter().copied()).await;
        assert_eq!(rows.len(), self.watched.len());
        self.check_jobs(&rows).await;
        self.watched.clone_from(&self.model.live);
    }

    /// The same, with all jobs that ever were.
    pub(crate) async fn check_all(&mut self) {
        self.check_wallets().await;
        let rows = jobs::Entity::find().all(self.db.read()).await.unwrap();
        assert_eq!(rows.len(), self.model.jobs.len());
        self.check_jobs(&rows).await;
        self.watched.clone_from(&self.model.live);
    }

    async fn check_wallets(&self) {
        let violations = reconcile::reconcile(&self.db).await.unwrap();
        assert!(violations.is_empty(), "{violations:?}");
        for (id, model) in &self.model.wallets {
            let wallet = accounts::wallet(&self.db, *id).await.unwrap();
            let found = (wallet.available.0, wallet.held.0);
            assert_eq!(found, (model.available, model.held), "{id}");
            let row = workspaces::Entity::find_by_id(*id).one(self.db.read()).await.unwrap();
            let slots = usize::try_from(row.unwrap().dispatched).unwrap();
            assert_eq!(slots, self.model.slots(*id), "{id}");
        }
    }

    async fn check_jobs(&self, rows: &[jobs::Model]) {
        for row in rows {
            let model = self.model.jobs.get(&row.id).expect("a job that was never accepted");
            assert_eq!(row.state, model.state, "{row:?}");
            assert_eq!(row.cancel_requested, model.cancel_requested, "{row:?}");
            assert_eq!(row.pool, ROUTES[model.route], "{row:?}");
            assert_eq!(row.ready_at, model.ready_at, "{row:?}");
            let keeps = job::view::keeps_files(self.db.read(), row.id).await.unwrap();
            let ended = matches!(row.state, JobState::Failed | JobState::Canceled);
            assert_eq!(keeps, !ended, "{row:?}");
        }
    }
}
