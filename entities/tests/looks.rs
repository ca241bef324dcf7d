//! A call that runs at its provider, on a real SQLite file. How long it is left alone after a look
//! that was in vain depends on how many were in vain one after the other, not on how many there were;
//! and one that is given up leaves what it may have cost.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use entities::{
    Credits, Db, Timestamp,
    accounts::{self, NewUser},
    ids::{AttemptId, JobId},
    job::{
        self, Acceptance, Batcher, BatcherLimits, JobRef, Kind, KnownModels, Look, NewJob, Usage,
        policy,
    },
    ledger,
    routing::{self, GivenUp, RouteKey},
};
use serde_json::json;

const POOL: &str = "demo";
const LEASE: Duration = Duration::from_secs(60);

/// One route, on which a call costs 10,000 for a unit and 30,000 at most.
fn resolved() -> serde_json::Value {
    json!({"model": "demo/sketch", "kind": "image", "credits": 40, "outputs": 1, "routes": [{
        "provider": POOL, "pool": POOL, "provider_model": "sketch", "input": {},
        "unit_usd_micros": 10_000, "worst_usd_micros": 30_000,
    }]})
}

/// A job that runs at its provider, which is looked at again and again.
struct Running {
    db: Db,
    now: Timestamp,
    attempt_id: AttemptId,
    _folder: tempfile::TempDir,
}

impl Running {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("looks.db").display());
        let db = Db::connect(&url, 2).await.unwrap();
        migration::up(db.write()).await.unwrap();
        let now = Timestamp(1_000_000_000_000_000);
        let tx = db.begin().await.unwrap();
        let new = NewUser::vouched_for("somebody@example.com".to_owned(), None, 1);
        let made = accounts::create_user(&tx, &new, now).await.unwrap();
        ledger::grant(&tx, made.workspace.id, Credits(10), "start", now).await.unwrap();
        tx.commit().await.unwrap();
        let job = NewJob {
            id: JobId::generate(),
            workspace_id: made.workspace.id,
            api_key_id: None,
            model: "demo/sketch".into(),
            kind: Kind::Image,
            pool: POOL.into(),
            input: json!({}),
            metadata: json!({}),
            resolved: resolved(),
            credits: Credits(10),
            outputs_expected: 1,
            idempotency: None,
            uploads: Vec::new(),
            created_at: now,
            expires_at: now.after(Duration::from_secs(3_600)),
        };
        let batcher = Batcher::start(db.clone(), BatcherLimits::default(), |_| ());
        batcher.submit(job).await.unwrap();
        let tx = db.begin().await.unwrap();
        let (effects, _) = job::dispatch(&tx, POOL, None, None, now).await.unwrap();
        let (_, hint) = effects.pushes[0];
        let id = AttemptId::generate();
        let route = |_: &_| Some((POOL.to_owned(), "sketch".to_owned()));
        let claimed =
            job::claim(&tx, hint, id, LEASE, now, &KnownModels::ALL, route).await.unwrap().unwrap();
        let acceptance = Acceptance {
            attempt_id: id,
            request_id: "call".into(),
            handle: json!(null),
            poll_after: Duration::ZERO,
        };
        let guard = JobRef::from(&claimed.job);
        assert!(job::accepted(&tx, &guard, &acceptance, now).await.unwrap().is_some());
        tx.commit().await.unwrap();
        Self { db, now, attempt_id: id, _folder: folder }
    }

    /// One look. The answer is how long the call would be left alone, at most, if it was in vain.
    async fn look(&mut self, look: Look) -> u64 {
        let tx = self.db.begin().await.unwrap();
        let due = job::lease_due(&tx, POOL, 1, LEASE, self.now).await.unwrap();
        let wait = policy::failed_poll_delay(due[0].job.polls, 1.0);
        assert!(job::poll_again(&tx, &due[0].job, look, wait, self.now).await.unwrap().is_some());
        tx.commit().await.unwrap();
        self.now = self.now.after(wait);
        wait.as_secs()
    }
}

#[tokio::test]
async fn looks_in_vain_are_spaced_by_their_own_number() {
    let mut running = Running::start().await;
    for part in 1..=9 {
        let progress = (part > 3).then(|| f64::from(part) / 10.0);
        assert_eq!(running.look(Look::Running { progress }).await, 2, "after {part} answers");
    }
    let mut waits = Vec::new();
    for _ in 0..6 {
        waits.push(running.look(Look::InVain).await);
    }
    assert_eq!(waits, [2, 4, 8, 16, 30, 30]);
    running.look(Look::Running { progress: None }).await;
    assert_eq!(running.look(Look::InVain).await, 2, "it answered in between");
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_what_it_may_have_cost() {
    let running = Running::start().await;
    let (db, later) = (&running.db, running.now.after(Duration::from_secs(3_600)));
    assert!(routing::given_up(db.read()).await.unwrap().is_empty());
    let tx = db.begin().await.unwrap();
    let (_, ended) = job::end_overdue(&tx, 10, later).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ended, 1);
    let lost = GivenUp { calls: 1, possible_cost_usd_micros: 30_000 };
    let given_up = routing::given_up(db.read()).await.unwrap();
    assert_eq!(given_up, [(RouteKey::new(POOL, "sketch"), lost)].into());
    // Its result comes after all: it is discarded, and what it cost is known.
    let usage = Usage { cost_usd_micros: Some(20_000), billed_units_micros: Some(2_000_000) };
    job::note_usage(db.write(), running.attempt_id, usage).await.unwrap();
    assert!(routing::given_up(db.read()).await.unwrap().is_empty());
    // The same call is not given up a second time.
    let tx = db.begin().await.unwrap();
    assert_eq!(job::end_overdue(&tx, 10, later).await.unwrap().1, 0);
    tx.commit().await.unwrap();
}
