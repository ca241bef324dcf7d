//! Routes that are shut, by an operator or by their breaker, and opened again. A job whose route is
//! shut goes to the other one; where both are, it waits, uncounted, until one opens.

use std::time::Duration;

use entities::{
    JobHint,
    job::JobState,
    routing::{self, Board, Choice, Report, RouteKey, Standing, Trouble, Way, choose, wait_behind},
    tables::jobs,
};
use rand::RngExt as _;
use sea_orm::ConnectionTrait as _;

use super::{
    super::simple::{ROUTES, Shut},
    Walk,
};

/// What both providers offer.
pub(super) const MODEL: &str = "sketch";

/// Where a worker that found a job's route shut wants to send it.
#[derive(Debug)]
pub(super) struct Detour {
    job: jobs::Model,
    to: usize,
    wait: Option<Duration>,
}

impl Walk {
    /// A route that is open is sometimes shut, one that is shut is opened.
    pub(super) async fn shut_or_open(&mut self) -> &'static str {
        let route = self.route();
        let name = match self.model.shut[route] {
            None if self.random.random_range(0..2) > 0 => return "routes stay",
            None => self.shut(route).await,
            Some(why) => {
                self.open(route, why).await;
                "open route"
            }
        };
        let board = routing::read(self.db.read()).await.unwrap();
        for (route, shut) in self.model.shut.iter().enumerate() {
            assert_eq!(stands(&board, route), *shut, "{} {board:?}", ROUTES[route]);
        }
        name
    }

    async fn shut(&mut self, route: usize) -> &'static str {
        let (provider, key) = (ROUTES[route], RouteKey::new(ROUTES[route], MODEL));
        let reports: &[Report] = match self.random.random_range(0..4) {
            0 => &[Report::Account],
            1 => &[Report::Failed(Trouble::Unavailable); 5],
            _ => &[],
        };
        if reports.is_empty() {
            routing::switch_off(self.db.write(), provider, None, "a test").await.unwrap();
            self.model.shut[route] = Some(Shut::Switch);
            return "switch off";
        }
        let tx = self.db.begin().await.unwrap();
        routing::report(&tx, &key, reports, self.now, 0.5).await.unwrap();
        tx.commit().await.unwrap();
        self.model.shut[route] = Some(Shut::Breaker);
        "break route"
    }

    /// Everybody who waits for it is ready at once.
    pub(super) async fn open(&mut self, route: usize, why: Shut) {
        let (provider, key) = (ROUTES[route], RouteKey::new(ROUTES[route], MODEL));
        let tx = self.db.begin().await.unwrap();
        match why {
            Shut::Switch => {
                assert!(routing::switch_on(&tx, provider, None, self.now).await.unwrap());
                assert!(!routing::switch_on(&tx, provider, None, self.now).await.unwrap());
            }
            Shut::Breaker => {
                // Its time has passed.
                tx.execute_unprepared("UPDATE breakers SET retry_at = 1").await.unwrap();
                assert!(routing::probe(&tx, &key).await.unwrap());
                assert!(!routing::probe(&tx, &key).await.unwrap(), "one at a time");
                let accepted = [Report::Accepted];
                routing::report(&tx, &key, &accepted, self.now, 0.5).await.unwrap();
            }
        }
        tx.commit().await.unwrap();
        self.model.opened(route, self.now);
        self.nobody_waits_longer_than_it_should().await;
    }

    /// A worker looks at the job of `hint` before it claims it. Whether it may; else the job will
    /// be sent elsewhere, if `queued`, and nothing is known yet of who is faster.
    pub(super) async fn admit(&mut self, hint: JobHint, queued: bool) -> bool {
        if self.model.shut == [None; ROUTES.len()] {
            return true;
        }
        let found = routing::find_queued(self.db.read(), hint).await.unwrap();
        assert_eq!(found.is_some(), queued, "{hint:?}");
        let Some(job) = found else { return false };
        let ways = self.model.shut.map(|shut| Way {
            standing: if shut.is_none() { Standing::Ready } else { Standing::Off },
            fits: true,
        });
        let (to, wait) = match choose(&ways, self.model.jobs[&job.id].route, true) {
            Choice::Stay => return true,
            Choice::Move(to) => (to, None),
            Choice::Wait { route, wait } => {
                (route, Some(wait_behind(wait, self.random.random_range(0.0..1.0))))
            }
            Choice::Probe | Choice::Nowhere => panic!("no route is half open, and all fit"),
        };
        self.detours.push(Detour { job, to, wait });
        false
    }

    /// The job goes to another route or waits, unless somebody was faster. Nothing is counted.
    pub(super) async fn detour(&mut self) -> &'static str {
        if self.detours.is_empty() {
            return "no detour";
        }
        let n = self.random.random_range(0..self.detours.len());
        let Detour { job, to, wait } = self.detours.swap_remove(n);
        let before = self.row(job.id).await;
        let route = i32::try_from(to).unwrap();
        let tx = self.db.begin().await.unwrap();
        let moved = routing::defer(&tx, &job, route, ROUTES[to], wait, self.now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(moved.is_some(), before.epoch == job.epoch, "{before:?}");
        let Some(effects) = moved else { return "stale detour" };
        for pool in [ROUTES[to], &before.pool] {
            assert!(effects.dispatch.contains(pool), "there is room in {pool}: {effects:?}");
        }
        let after = self.row(job.id).await;
        let counts = |job: &jobs::Model| {
            (job.attempts, job.refusals, job.lost_leases, job.queue_deadline, job.version)
        };
        assert_eq!(counts(&after), counts(&before), "nothing was sent, nothing is counted");
        self.model.waits(job.id, to, wait.map(|wait| self.now.after(wait)));
        if wait.is_some() { "wait for route" } else { "take other route" }
    }

    async fn nobody_waits_longer_than_it_should(&self) {
        for row in self.rows(self.model.live.iter().copied()).await {
            let model = &self.model.jobs[&row.id];
            if model.state == JobState::Queued {
                assert_eq!(row.ready_at, model.ready_at, "{row:?}");
            }
        }
    }
}

/// Why the route is shut, as the database tells it.
fn stands(board: &Board, route: usize) -> Option<Shut> {
    let key = RouteKey::new(ROUTES[route], MODEL);
    if board.switch(&key.provider, &key.model).is_some() {
        return Some(Shut::Switch);
    }
    board.breakers.get(&key)?.cause.map(|_| Shut::Breaker)
}
