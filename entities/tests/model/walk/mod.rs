//! The walk: one random step after the other, on the database and on the model.
//!
//! | file | whose steps |
//! |---|---|
//! | `users` | submits, grants, cancels |
//! | `queue` | dispatch, hints on their way, claims |
//! | `routes` | a route is shut and opened; jobs that go to another one, or wait |
//! | `holders` | whoever has a lease goes on with the job, or finds it lost |
//! | `scheduler` | leases that ran out, hints pushed again, deadlines |
//! | `check` | the database against the model |

mod check;
mod holders;
mod queue;
mod routes;
mod scheduler;
mod users;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use entities::{
    Credits, Db, JobHint, Timestamp,
    accounts::{self, NewUser},
    ids::{JobId, WorkspaceId},
    job::{Batcher, BatcherLimits, Claimed},
    ledger,
    tables::jobs,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use self::routes::Detour;
use super::simple::{Model, ROUTES, Wallet};

const SLOTS: i32 = 3;
const SOON: Duration = Duration::from_secs(1);

pub(crate) struct Walk {
    db: Db,
    batcher: Batcher,
    random: StdRng,
    now: Timestamp,
    model: Model,
    /// Pushed and not taken; some stay in here for long.
    hints: Vec<JobHint>,
    /// Whoever was ever given a job; most of them are stale.
    holders: Vec<Claimed>,
    /// Decided and not done; some come too late.
    detours: Vec<Detour>,
    /// Whose turn was the last, in each pool.
    last: [Option<WorkspaceId>; ROUTES.len()],
    next_id: u32,
    /// Lived when they were checked last, or are younger.
    watched: BTreeSet<JobId>,
    taken: BTreeMap<&'static str, u64>,
    _folder: tempfile::TempDir,
}

impl Walk {
    pub(crate) async fn start(seed: u64) -> Self {
        // In memory where the system offers it: durability is not what is tested here.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let url = format!("sqlite://{}", folder.path().join("walk.db").display());
        let db = Db::connect(&url, 2).await.unwrap();
        migration::up(db.write()).await.unwrap();
        // The walk dispatches on its own.
        let batcher = Batcher::start(db.clone(), BatcherLimits::default(), |_| ());
        let mut model = Model::default();
        let now = Timestamp(1_000_000_000_000_000);
        for n in 0..4 {
            let new = NewUser::vouched_for(format!("user{n}@example.com"), None, SLOTS);
            let tx = db.begin().await.unwrap();
            let made = accounts::create_user(&tx, &new, now).await.unwrap();
            ledger::grant(&tx, made.workspace.id, Credits(500), "start", now).await.unwrap();
            tx.commit().await.unwrap();
            let wallet = Wallet { available: 500, ..Wallet::default() };
            model.wallets.insert(made.workspace.id, wallet);
        }
        Self {
            db,
            batcher,
            random: StdRng::seed_from_u64(seed),
            now,
            model,
            hints: Vec::new(),
            holders: Vec::new(),
            detours: Vec::new(),
            last: Default::default(),
            next_id: 0,
            watched: BTreeSet::new(),
            taken: BTreeMap::new(),
            _folder: folder,
        }
    }

    pub(crate) async fn step(&mut self) {
        self.now = self.now.after(Duration::from_millis(self.random.random_range(1..300)));
        let name = match self.random.random_range(0..105) {
            0..10 => self.submit().await,
            10 => self.grant().await,
            11..20 => self.dispatch().await,
            20..36 => self.claim().await,
            36..80 => self.work().await,
            80..94 => self.look().await,
            94..97 => self.cancel().await,
            97 => self.rescue().await,
            98 => self.sweep().await,
            99 => self.overdue().await,
            100..103 => self.detour().await,
            _ => self.shut_or_open().await,
        };
        *self.taken.entry(name).or_default() += 1;
    }

    fn workspace(&mut self) -> WorkspaceId {
        let n = self.random.random_range(0..self.model.wallets.len());
        *self.model.wallets.keys().nth(n).unwrap()
    }

    fn route(&mut self) -> usize {
        self.random.random_range(0..ROUTES.len())
    }

    async fn rows(&self, ids: impl IntoIterator<Item = JobId>) -> Vec<jobs::Model> {
        let these = jobs::Entity::find().filter(jobs::Column::Id.is_in(ids));
        these.all(self.db.read()).await.unwrap()
    }

    async fn row(&self, id: JobId) -> jobs::Model {
        jobs::Entity::find_by_id(id).one(self.db.read()).await.unwrap().unwrap()
    }

    pub(crate) fn summary(&self) -> String {
        let taken: Vec<String> =
            self.taken.iter().map(|(name, count)| format!("{count} {name}")).collect();
        format!("{} jobs; {}", self.model.jobs.len(), taken.join(", "))
    }
}
