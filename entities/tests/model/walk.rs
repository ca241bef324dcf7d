//! The walk: one random step after the other, on the database and on the model.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use entities::{
    Credits, Db, Effects, JobHint, Timestamp,
    accounts::{self, NewUser},
    ids::{AttemptId, JobId, WorkspaceId},
    job::{
        self, Acceptance, AttemptOutcome, Batcher, BatcherLimits, Claimed, Ending, Failure,
        HandBack, JobRef, JobState, Kind, NewJob, NewOutput, Usage, Verdict,
    },
    ledger, reconcile,
    tables::{attempts, jobs, workspaces},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sea_orm::{ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::json;

use super::simple::{Job, Model, Wallet};

const POOL: &str = "pool";
const SLOTS: i32 = 3;
const SOON: Duration = Duration::from_secs(1);

pub(crate) struct Walk {
    db: Db,
    batcher: Batcher,
    effects: Arc<Mutex<Effects>>,
    random: StdRng,
    now: Timestamp,
    model: Model,
    /// Pushed and not taken; some stay in here for long.
    hints: Vec<JobHint>,
    /// Whoever was ever given a job; most of them are stale.
    holders: Vec<Claimed>,
    last: Option<WorkspaceId>,
    next_id: u32,
    taken: BTreeMap<&'static str, u64>,
    _folder: tempfile::TempDir,
}

fn job_and_epoch(claimed: &Claimed) -> (JobId, i64) {
    (claimed.job.id, claimed.job.epoch)
}

impl Walk {
    pub(crate) async fn start(seed: u64) -> Self {
        // In memory where the system offers it: durability is not what is tested here.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let url = format!("sqlite://{}", folder.path().join("walk.db").display());
        let db = Db::connect(&url, 2).await.unwrap();
        migration::up(db.write()).await.unwrap();
        let effects = Arc::new(Mutex::new(Effects::default()));
        let gathered = Arc::clone(&effects);
        let batcher = Batcher::start(db.clone(), BatcherLimits::default(), move |more| {
            gathered.lock().unwrap().merge(more);
        });
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
            effects,
            random: StdRng::seed_from_u64(seed),
            now,
            model,
            hints: Vec::new(),
            holders: Vec::new(),
            last: None,
            next_id: 0,
            taken: BTreeMap::new(),
            _folder: folder,
        }
    }

    pub(crate) async fn step(&mut self) {
        self.now = self.now.after(Duration::from_millis(self.random.random_range(1..300)));
        let name = match self.random.random_range(0..100) {
            0..10 => self.submit().await,
            10 => self.grant().await,
            11..20 => self.dispatch().await,
            20..36 => self.claim().await,
            36..80 => self.work().await,
            80..94 => self.look().await,
            94..97 => self.cancel().await,
            97 => self.rescue().await,
            98 => self.sweep().await,
            _ => self.overdue().await,
        };
        *self.taken.entry(name).or_default() += 1;
    }

    fn workspace(&mut self) -> WorkspaceId {
        let n = self.random.random_range(0..self.model.wallets.len());
        *self.model.wallets.keys().nth(n).unwrap()
    }

    async fn submit(&mut self) -> &'static str {
        let workspace = self.workspace();
        let (price, outputs) = (self.random.random_range(1..90), self.random.random_range(1..5));
        self.next_id += 1;
        let id = JobId(uuid::Uuid::from_u64_pair(self.now.0.unsigned_abs(), self.next_id.into()));
        let new = NewJob {
            id,
            workspace_id: workspace,
            api_key_id: None,
            model: "demo/sketch".into(),
            kind: Kind::Image,
            pool: POOL.into(),
            input: json!({}),
            metadata: json!({}),
            resolved: json!({}),
            credits: Credits(price),
            outputs_expected: i32::try_from(outputs).unwrap(),
            idempotency: None,
            uploads: Vec::new(),
            created_at: self.now,
            expires_at: self.now.after(Duration::from_secs(3_600)),
        };
        let verdict = self.batcher.submit(new).await.unwrap();
        let job = Job {
            workspace,
            price,
            outputs,
            state: JobState::Queued,
            dispatched: false,
            cancel_requested: false,
        };
        let available = self.model.wallets[&workspace].available;
        if price <= available {
            assert_eq!(verdict, Verdict::Accepted);
            self.model.submitted(id, job);
            return "submit";
        }
        assert_eq!(verdict, Verdict::Insufficient { available: Credits(available) });
        "refused submit"
    }

    async fn grant(&mut self) -> &'static str {
        let workspace = self.workspace();
        let amount = self.random.random_range(1..150);
        let tx = self.db.begin().await.unwrap();
        ledger::grant(&tx, workspace, Credits(amount), "more", self.now).await.unwrap();
        tx.commit().await.unwrap();
        self.model.wallets.get_mut(&workspace).unwrap().available += amount;
        "grant"
    }

    async fn dispatch(&mut self) -> &'static str {
        let tx = self.db.begin().await.unwrap();
        let (effects, last) = job::dispatch(&tx, POOL, None, self.last, self.now).await.unwrap();
        tx.commit().await.unwrap();
        self.last = last;
        let (mut turns, mut rounds) = (BTreeMap::<WorkspaceId, u32>::new(), Vec::new());
        for (_, hint) in &effects.pushes {
            let job = self.model.jobs.get_mut(&hint.job_id).unwrap();
            assert!(job.state == JobState::Queued && !job.dispatched, "{hint:?} {job:?}");
            job.dispatched = true;
            let turn = turns.entry(job.workspace).or_default();
            *turn += 1;
            rounds.push(*turn);
        }
        assert!(rounds.is_sorted(), "nobody has a second turn before others had one: {rounds:?}");
        for workspace in self.model.wallets.keys() {
            assert!(self.model.slots(*workspace) <= usize::try_from(SLOTS).unwrap());
        }
        self.push(effects);
        "dispatch"
    }

    /// Some hints are lost, some come twice.
    fn push(&mut self, effects: Effects) {
        for (_, hint) in effects.pushes {
            match self.random.random_range(0..10) {
                0 => {}
                1 => self.hints.extend([hint, hint]),
                _ => self.hints.push(hint),
            }
        }
    }

    async fn claim(&mut self) -> &'static str {
        if self.hints.is_empty() {
            return "no hint";
        }
        let n = self.random.random_range(0..self.hints.len());
        let hint = self.hints.swap_remove(n);
        let row = self.row(hint.job_id).await;
        let route = |_: &jobs::Model| Some(("demo".to_owned(), "sketch".to_owned()));
        let tx = self.db.begin().await.unwrap();
        let claimed = {
            // The answer to the first try may get lost: the second finds what it did.
            let attempt = AttemptId::generate();
            let first = job::claim(&tx, hint, attempt, SOON, self.now, route).await.unwrap();
            let again = job::claim(&tx, hint, attempt, SOON, self.now, route).await.unwrap();
            assert_eq!(first.as_ref().map(job_and_epoch), again.as_ref().map(job_and_epoch));
            let stranger = AttemptId::generate();
            let other = job::claim(&tx, hint, stranger, SOON, self.now, route).await.unwrap();
            assert!(other.is_none(), "a job was claimed twice: {other:?}");
            again
        };
        tx.commit().await.unwrap();
        let model = &self.model.jobs[&hint.job_id];
        let expected =
            model.state == JobState::Queued && model.dispatched && row.epoch == hint.epoch;
        assert_eq!(claimed.is_some(), expected, "{hint:?} {model:?}");
        let Some(claimed) = claimed else { return "stale hint" };
        assert_eq!(claimed.attempt.as_ref().unwrap().number, row.attempts + 1);
        self.model.moved(hint.job_id, JobState::Submitting);
        self.holders.push(claimed);
        "claim"
    }

    /// Somebody who was given a job tries to go on with it; only the newest holder can.
    async fn work(&mut self) -> &'static str {
        if self.holders.is_empty() {
            return "no holder";
        }
        // Mostly whoever got a job last, else anybody of long ago.
        let oldest = match self.random.random_range(0..4) {
            0 => 0,
            _ => self.holders.len().saturating_sub(8),
        };
        let n = self.random.random_range(oldest..self.holders.len());
        let holder = self.holders.remove(n);
        let (id, state) = (holder.job.id, holder.job.state);
        let fresh = self.row(id).await.epoch == holder.job.epoch;
        let name = self.try_one(&holder, state, fresh).await;
        if self.holders.len() < 200 && self.random.random_range(0..4) == 0 {
            // It comes back later, and is stale by then.
            self.holders.insert(0, holder);
        }
        if fresh { name } else { "stale holder" }
    }

    async fn try_one(&mut self, holder: &Claimed, state: JobState, fresh: bool) -> &'static str {
        let (job, attempt) = (&holder.job, holder.attempt.as_ref().unwrap());
        let (guard, now, id) = (JobRef::from(job), self.now, job.id);
        let dice = self.random.random_range(0..10);
        if state == JobState::Storing && dice < 7 {
            return self.succeed(holder, fresh).await;
        }
        let tx = self.db.begin().await.unwrap();
        let (name, done, to) = match (state, dice) {
            (JobState::Submitting, 0..5) | (JobState::Uncertain, 0..6) => {
                let acceptance = acceptance(attempt.id);
                let done = job::accepted(&tx, &guard, &acceptance, now).await.unwrap().is_some();
                ("accepted", done, Some(JobState::Running))
            }
            (JobState::Submitting, 5) => {
                let done = job::uncertain(&tx, &guard, attempt.id, now).await.unwrap().is_some();
                ("lost answer", done, Some(JobState::Uncertain))
            }
            (JobState::Submitting, 6..8) => {
                let back = HandBack {
                    attempt_id: attempt.id,
                    outcome: AttemptOutcome::Throttled,
                    wait: SOON,
                    route: 0,
                    counts: false,
                };
                let done = job::hand_back(&tx, job, &back, POOL, now).await.unwrap().is_some();
                ("hand back", done, Some(JobState::Queued))
            }
            (JobState::Submitting, 8) => {
                let moved =
                    job::finished_at_once(&tx, &guard, attempt.id, Usage::UNKNOWN, now).await;
                ("at once", self.stored(holder, moved.unwrap()), Some(JobState::Storing))
            }
            (JobState::Running, 0..6) => {
                let used = Usage { cost_usd_micros: Some(7), ..Usage::UNKNOWN };
                let moved = job::media_ready(&tx, &guard, attempt.id, used).await;
                ("media ready", self.stored(holder, moved.unwrap()), Some(JobState::Storing))
            }
            (JobState::Running | JobState::Uncertain, 6..8) => {
                let done = job::poll_again(&tx, job, None, SOON, now).await.unwrap().is_some();
                ("poll again", done, Some(state))
            }
            (JobState::Storing, 7..9) => {
                let done = job::store_again(&tx, job, SOON, now).await.unwrap().is_some();
                ("store again", done, Some(state))
            }
            _ => {
                let failure = Failure { code: "provider_failed", detail: "no".into() };
                let attempt = Some((attempt.id, AttemptOutcome::Failed));
                let ending = Ending::Failed(failure);
                let done = job::end(&tx, &guard, attempt, &ending, now).await.unwrap().is_some();
                ("fail", done, None)
            }
        };
        tx.commit().await.unwrap();
        assert_eq!(done, fresh, "{name} {job:?}");
        if name == "accepted" && !fresh {
            self.late_answer(holder).await;
        }
        match to {
            Some(JobState::Queued) if fresh => self.model.handed_back(id),
            Some(to) if fresh => self.model.moved(id, to),
            None if fresh => self.model.ended(id, JobState::Failed, 0),
            _ => {}
        }
        name
    }

    /// What the provider answered is true, although the lease was lost meanwhile.
    async fn late_answer(&mut self, holder: &Claimed) {
        let (id, attempt) = (holder.job.id, holder.attempt.as_ref().unwrap());
        let row = self.row(id).await;
        if row.attempts != attempt.number {
            // It was handed back, so the provider cannot have accepted it.
            return;
        }
        let tx = self.db.begin().await.unwrap();
        let late = job::accepted_late(&tx, id, &acceptance(attempt.id), self.now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(late.is_some(), row.state == JobState::Uncertain, "{row:?}");
        let known = attempts::Entity::find_by_id(attempt.id).one(self.db.read()).await.unwrap();
        let known = known.unwrap().accepted_at.is_some();
        match row.state {
            JobState::Uncertain => self.model.moved(id, JobState::Running),
            JobState::Running | JobState::Storing | JobState::Succeeded => assert!(known),
            JobState::Failed | JobState::Canceled => assert!(known, "what it cost is remembered"),
            JobState::Queued | JobState::Submitting => assert!(!known),
        }
    }

    async fn succeed(&mut self, holder: &Claimed, fresh: bool) -> &'static str {
        let (job, attempt) = (&holder.job, holder.attempt.as_ref().unwrap());
        let asked = u32::try_from(job.outputs_expected).unwrap();
        let files = files(job.id, self.random.random_range(1..=asked));
        let tx = self.db.begin().await.unwrap();
        let done = job::succeed(&tx, job, attempt.id, &files, self.now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(done.is_some(), fresh, "succeed {job:?}");
        if fresh {
            let came = u32::try_from(files.len()).unwrap();
            self.model.ended(job.id, JobState::Succeeded, came);
        }
        "succeed"
    }

    /// The holder keeps its lease while it stores.
    fn stored(&mut self, holder: &Claimed, moved: Option<jobs::Model>) -> bool {
        let Some(job) = moved else { return false };
        self.holders.push(Claimed { job, attempt: holder.attempt.clone() });
        true
    }

    /// The poll loop of some process leases what is due.
    async fn look(&mut self) -> &'static str {
        let limit = self.random.random_range(1..6);
        let found = self.lease(limit).await;
        if found == 0 { "nothing due" } else { "lease due" }
    }

    async fn lease(&mut self, limit: u32) -> usize {
        let tx = self.db.begin().await.unwrap();
        let due = job::lease_due(&tx, POOL, limit, SOON, self.now).await.unwrap();
        tx.commit().await.unwrap();
        let count = due.len();
        for claimed in due {
            assert_eq!(claimed.job.state, self.model.jobs[&claimed.job.id].state);
            self.holders.push(claimed);
        }
        count
    }

    async fn cancel(&mut self) -> &'static str {
        if self.model.jobs.is_empty() {
            return "no job";
        }
        let n = self.random.random_range(0..self.model.jobs.len());
        let (id, model) = self.model.jobs.iter().nth(n).unwrap();
        let (id, model) = (*id, model.clone());
        let tx = self.db.begin().await.unwrap();
        let other = self.workspace();
        if other != model.workspace {
            assert!(job::cancel(&tx, other, id, self.now).await.unwrap().is_none());
        }
        assert!(job::cancel(&tx, model.workspace, id, self.now).await.unwrap().is_some());
        tx.commit().await.unwrap();
        match model.state {
            JobState::Queued => self.model.ended(id, JobState::Canceled, 0),
            JobState::Submitting | JobState::Uncertain | JobState::Running => {
                self.model.jobs.get_mut(&id).unwrap().cancel_requested = true;
            }
            _ => {}
        }
        "cancel"
    }

    /// All leases run out at once, as after a power cut.
    async fn rescue(&mut self) -> &'static str {
        let text = "UPDATE jobs SET lease_until = 1 WHERE lease_until IS NOT NULL";
        self.db.write().execute_unprepared(text).await.unwrap();
        // Only this counts how often it happens to a job; the poll loop must not be faster.
        let expired = jobs::Entity::find().filter(jobs::Column::LeaseUntil.eq(1));
        let expired = expired.all(self.db.read()).await.unwrap();
        let before = self.holders.len();
        self.lease(1_000).await;
        for holder in &self.holders[before..] {
            assert!(!expired.iter().any(|job| job.id == holder.job.id), "{holder:?}");
        }
        let tx = self.db.begin().await.unwrap();
        job::rescue(&tx, 10_000, self.now).await.unwrap();
        tx.commit().await.unwrap();
        self.follow(&[JobState::Uncertain, JobState::Failed]).await;
        "rescue"
    }

    async fn sweep(&mut self) -> &'static str {
        self.now = self.now.after(Duration::from_secs(5));
        let tx = self.db.begin().await.unwrap();
        let effects = job::sweep(&tx, self.now).await.unwrap();
        tx.commit().await.unwrap();
        for (_, hint) in &effects.pushes {
            let job = &self.model.jobs[&hint.job_id];
            assert!(job.state == JobState::Queued && job.dispatched, "{hint:?} {job:?}");
        }
        self.push(effects);
        "sweep"
    }

    async fn overdue(&mut self) -> &'static str {
        let tx = self.db.begin().await.unwrap();
        job::end_overdue(&tx, 10_000, self.now).await.unwrap();
        tx.commit().await.unwrap();
        self.follow(&[JobState::Failed, JobState::Canceled]).await;
        "deadlines"
    }

    /// The scheduler chose by its own rules; what it did must be allowed and is taken over.
    async fn follow(&mut self, allowed: &[JobState]) {
        let live = self.model.live_jobs();
        for row in self.rows(live).await {
            let before = self.model.jobs[&row.id].clone();
            if before.state == row.state {
                continue;
            }
            assert!(allowed.contains(&row.state), "{:?} {row:?}", before.state);
            if row.state.is_terminal() {
                self.model.ended(row.id, row.state, 0);
            } else {
                self.model.moved(row.id, row.state);
            }
        }
    }

    async fn rows(&self, ids: Vec<JobId>) -> Vec<jobs::Model> {
        let these = jobs::Entity::find().filter(jobs::Column::Id.is_in(ids));
        these.all(self.db.read()).await.unwrap()
    }

    async fn row(&self, id: JobId) -> jobs::Model {
        jobs::Entity::find_by_id(id).one(self.db.read()).await.unwrap().unwrap()
    }

    /// Lets everything that lives come to its end.
    pub(crate) async fn settle_everything(&mut self) {
        for _ in 0..100_000 {
            if self.model.live_jobs().is_empty() {
                return;
            }
            self.now = self.now.after(Duration::from_secs(20));
            match self.random.random_range(0..5) {
                0 => drop(self.dispatch().await),
                1 => drop(self.sweep().await),
                2 => drop(self.lease(50).await),
                _ => {}
            }
            self.claim().await;
            self.work().await;
            if self.random.random_range(0..50) == 0 {
                self.rescue().await;
                self.overdue().await;
            }
        }
        panic!("{:?} never end", self.model.live_jobs());
    }

    /// Everything that the database says, against the model; and the invariants.
    pub(crate) async fn check(&mut self) {
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
        for row in jobs::Entity::find().all(self.db.read()).await.unwrap() {
            let model = self.model.jobs.get(&row.id).expect("a job that was never accepted");
            assert_eq!(row.state, model.state, "{row:?}");
            assert_eq!(row.cancel_requested, model.cancel_requested, "{row:?}");
            let keeps = job::view::keeps_files(self.db.read(), row.id).await.unwrap();
            let ended = matches!(row.state, JobState::Failed | JobState::Canceled);
            assert_eq!(keeps, !ended, "{row:?}");
        }
        // Gathered by the batcher; the walk dispatches on its own.
        *self.effects.lock().unwrap() = Effects::default();
    }

    pub(crate) fn summary(&self) -> String {
        let taken: Vec<String> =
            self.taken.iter().map(|(name, count)| format!("{count} {name}")).collect();
        format!("{} jobs; {}", self.model.jobs.len(), taken.join(", "))
    }
}

fn acceptance(attempt_id: AttemptId) -> Acceptance {
    Acceptance {
        attempt_id,
        request_id: attempt_id.to_string(),
        handle: json!(null),
        poll_after: SOON,
    }
}

fn files(id: JobId, count: u32) -> Vec<NewOutput> {
    (0..count)
        .map(|position| NewOutput {
            key: format!("jobs/{id}/{position}"),
            content_type: "image/png".into(),
            bytes: 10,
            sha256: "00".repeat(32),
            width: Some(1),
            height: Some(1),
            duration: None,
            thumbnail: None,
        })
        .collect()
}
