//! The steps that are written for many jobs at once: each job gets what it would get alone.

mod by_key;

use std::time::Duration;

use entities::{
    Credits, Db, JobHint, Timestamp, Writer,
    ids::{AttemptId, JobId, WorkspaceId},
    job::{
        self, Acceptance, AttemptOutcome, Batcher, BatcherLimits, Claimed, Ending, Failure, JobRef,
        JobState, Kind, KnownModels, NewJob, NewOutput, NewThumbnail, Steps, Usage, Verdict,
    },
    tables::{attempts, holds, jobs, outputs, wallets, workspaces},
};
use futures::future::join_all;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::json;

use crate::harness::{Backend, Cluster};

on_both!(many_jobs_fare_as_one_alone);

/// A pool that nobody serves, so that the platform leaves its jobs alone.
const POOL: &str = "nobody";
const LEASE: Duration = Duration::from_secs(60);
const PRICE: i64 = 10;

struct Stage {
    db: Db,
    steps: Steps,
    workspace: WorkspaceId,
    now: Timestamp,
}

fn first_route(_: &jobs::Model) -> Option<(String, String)> {
    Some(("demo".to_owned(), "sketch".to_owned()))
}

impl Stage {
    async fn set(cluster: &Cluster) -> Self {
        cluster.user(1_000);
        Self::at(&cluster.database_url()).await
    }

    async fn at(url: &str) -> Self {
        let db = Db::connect(url, 8).await.unwrap();
        let funded = wallets::Column::Available.eq(1_000);
        let wallet = wallets::Entity::find().filter(funded).one(db.read()).await.unwrap().unwrap();
        let steps = Steps::start(&db, Writer::start(&db, 2), KnownModels::ALL);
        let now = entities::db::database_now(db.read()).await.unwrap();
        Self { db, steps, workspace: wallet.workspace_id, now }
    }

    fn job(&self, n: usize, outputs: i32) -> NewJob {
        let route =
            json!({"provider": "demo", "pool": POOL, "provider_model": "sketch", "input": {}});
        NewJob {
            id: JobId::generate(),
            workspace_id: self.workspace,
            api_key_id: None,
            model: "demo/sketch".into(),
            kind: Kind::Image,
            pool: POOL.into(),
            input: json!({"prompt": "quotes ' and \" and \\ and {}"}),
            metadata: json!({}),
            resolved: json!({"model": "demo/sketch", "kind": "image", "credits": PRICE,
                "outputs": outputs, "routes": [route]}),
            credits: Credits(PRICE),
            outputs_expected: outputs,
            idempotency: (n > 0).then(|| (format!("step-{n}"), [7; 32])),
            uploads: Vec::new(),
            created_at: self.now,
            expires_at: self.now.after(LEASE),
        }
    }

    /// Six jobs, the last of which asks for two files; submitted twice, dispatched once.
    async fn dispatched(&self) -> Vec<JobHint> {
        let batcher = Batcher::start(self.db.clone(), BatcherLimits::default(), |_| {});
        let new: Vec<NewJob> = (0..6).map(|n| self.job(n, if n == 5 { 2 } else { 1 })).collect();
        let again: Vec<NewJob> =
            new[1..].iter().map(|job| NewJob { id: JobId::generate(), ..job.clone() }).collect();
        let first = join_all(new.iter().map(|job| batcher.submit(job.clone()))).await;
        assert!(first.iter().all(|verdict| matches!(verdict, Ok(Verdict::Accepted))), "{first:?}");
        let mixed = again.iter().cloned().chain([self.job(0, 1)]);
        let second = join_all(mixed.map(|job| batcher.submit(job))).await;
        for (verdict, job) in second.iter().zip(&new[1..]) {
            assert!(matches!(verdict, Ok(Verdict::Replayed(id)) if *id == job.id), "{verdict:?}");
        }
        assert!(matches!(second[5], Ok(Verdict::Accepted)), "{:?}", second[5]);
        let tx = self.db.begin().await.unwrap();
        let (effects, _) = job::dispatch(&tx, POOL, None, None, self.now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(effects.pushes.len(), 7);
        effects.pushes.into_iter().map(|(_, hint)| hint).collect()
    }

    async fn row(&self, id: JobId) -> jobs::Model {
        jobs::Entity::find_by_id(id).one(self.db.read()).await.unwrap().unwrap()
    }

    /// Every hint comes twice, some are stale; each job is claimed once.
    async fn claimed(&self, hints: &[JobHint]) -> Vec<Claimed> {
        let stale = hints.iter().map(|hint| JobHint { epoch: hint.epoch - 1, ..*hint });
        let all: Vec<(JobHint, AttemptId)> = hints
            .iter()
            .copied()
            .chain(hints.iter().copied())
            .chain(stale)
            .map(|hint| (hint, AttemptId::generate()))
            .collect();
        let claim = |(hint, attempt): &(JobHint, AttemptId)| {
            self.steps.claim(*hint, *attempt, LEASE, self.now, first_route)
        };
        let done = join_all(all.iter().map(claim)).await;
        let won: Vec<Claimed> = done.into_iter().filter_map(|claimed| claimed.unwrap()).collect();
        assert_eq!(won.len(), hints.len());
        for claimed in &won {
            let made = attempts::Entity::find()
                .filter(attempts::Column::JobId.eq(claimed.job.id))
                .all(self.db.read())
                .await
                .unwrap();
            assert_eq!(made, [claimed.attempt.clone().unwrap()]);
            assert_eq!(self.row(claimed.job.id).await, claimed.job);
            assert_eq!(
                claimed.job.run_deadline,
                Some(self.now.after(Kind::Image.run_time_limit()))
            );
        }
        // Whoever lost the answer asks again and gets the same.
        let lost = &won[0];
        let hint = JobHint { job_id: lost.job.id, epoch: lost.job.epoch - 1 };
        let attempt = lost.attempt.as_ref().unwrap();
        let again = self.steps.claim(hint, attempt.id, LEASE, self.now, first_route).await;
        assert_eq!(again.unwrap().unwrap().job, lost.job);
        won
    }

    /// Two of the answers name the same request: one of them cannot be written, the rest is.
    async fn accepted(&self, claimed: &[Claimed]) {
        let names = ["one", "two", "same", "same"];
        let accept = |(claimed, name): (&Claimed, &str)| {
            let acceptance = Acceptance {
                attempt_id: claimed.attempt.as_ref().unwrap().id,
                request_id: name.to_owned(),
                handle: json!({"at": "it's"}),
                poll_after: Duration::from_secs(600),
            };
            self.steps.accepted(JobRef::from(&claimed.job), acceptance, self.now)
        };
        let done = join_all(claimed.iter().zip(names).map(accept)).await;
        let faults = done.iter().filter(|done| done.is_err()).count();
        assert_eq!(faults, 1, "{done:?}");
        for (claimed, done) in claimed.iter().zip(&done) {
            let row = self.row(claimed.job.id).await;
            let expected = if done.is_ok() { JobState::Running } else { JobState::Submitting };
            assert_eq!(row.state, expected);
            if let Ok(effects) = done {
                let changed = &effects.as_ref().unwrap().changed;
                assert_eq!(changed, &[(row.id, row.version)]);
            }
        }
        // An answer that comes again finds nothing to do.
        let again = accept((&claimed[0], "one")).await.unwrap();
        assert_eq!(again, None);
        let failed = claimed.iter().zip(&done).find(|(_, done)| done.is_err()).unwrap().0;
        let tx = self.db.begin().await.unwrap();
        let failure = Failure { code: "rejected", detail: "a test".to_owned() };
        let attempt = Some((failed.attempt.as_ref().unwrap().id, AttemptOutcome::Failed));
        let guard = JobRef::from(&failed.job);
        job::end(&tx, &guard, attempt, &Ending::Failed(failure), self.now).await.unwrap().unwrap();
        tx.commit().await.unwrap();
    }

    /// Every job that is held is ready to be stored, and is so once.
    async fn stored(&self, claimed: &[Claimed]) -> Vec<(jobs::Model, attempts::Model)> {
        let mut held = Vec::new();
        for claimed in claimed {
            held.push((self.row(claimed.job.id).await, claimed.attempt.clone().unwrap()));
        }
        held.retain(|(job, _)| !job.state.is_terminal());
        let used = Usage { cost_usd_micros: Some(3), ..Usage::UNKNOWN };
        let ready = |(job, attempt): &(jobs::Model, attempts::Model)| {
            let at_once = (job.state == JobState::Submitting).then_some(self.now);
            let (job, id) = (job.clone(), attempt.id);
            async move { self.steps.ready(&job, id, used, at_once).await.unwrap() }
        };
        let twice = join_all(held.iter().chain(&held).map(ready)).await;
        // Whoever holds a lease may have lost the first answer, and gets the same again.
        let (first, second) = twice.split_at(held.len());
        let moved: Vec<jobs::Model> = first
            .iter()
            .zip(second)
            .map(|answers| match answers {
                (Some(one), Some(other)) => {
                    assert_eq!(one, other);
                    one.clone()
                }
                (Some(one), None) | (None, Some(one)) => one.clone(),
                (None, None) => panic!("nobody was told"),
            })
            .collect();
        let mut stored = Vec::new();
        for job in moved {
            assert_eq!(self.row(job.id).await, job);
            let attempt = held.iter().find(|(held, _)| held.id == job.id).unwrap().1.clone();
            let row = attempts::Entity::find_by_id(attempt.id).one(self.db.read()).await.unwrap();
            let row = row.unwrap();
            assert_eq!((row.cost_usd_micros, row.accepted_at), (Some(3), Some(self.now)));
            stored.push((job, attempt));
        }
        stored
    }

    /// Every job is settled by two holders at once; one of them is first.
    async fn settled(&self, stored: &[(jobs::Model, attempts::Model)]) {
        let files = |job: &jobs::Model| {
            vec![NewOutput {
                key: format!("jobs/00/{}/0", job.id),
                content_type: "image/png".to_owned(),
                bytes: 5,
                sha256: "00".repeat(32),
                width: Some(64),
                height: None,
                duration: None,
                thumbnail: Some(NewThumbnail {
                    content_type: "image/webp".to_owned(),
                    bytes: 3,
                    width: 320,
                    height: 64,
                }),
            }]
        };
        let succeed = |(job, attempt): &(jobs::Model, attempts::Model)| {
            let (job, attempt, files) = (job.clone(), attempt.clone(), files(job));
            async move { self.steps.succeed(&job, &attempt, files, self.now).await.unwrap() }
        };
        let done = join_all(stored.iter().chain(stored).map(succeed)).await;
        let first = done.iter().flatten().count();
        assert_eq!(first, stored.len(), "{done:?}");
        assert!(done.iter().flatten().all(|effects| effects.dispatch.contains(POOL)));
        for (job, attempt) in stored {
            let row = self.row(job.id).await;
            assert_eq!((row.state, row.finished_at), (JobState::Succeeded, Some(self.now)));
            assert_eq!((row.lease_until, row.progress), (None, Some(1.0)));
            let hold = holds::Entity::find_by_id(job.id).one(self.db.read()).await.unwrap();
            let hold = hold.unwrap();
            // One file of two is half the price.
            let captured = PRICE / i64::from(job.outputs_expected);
            assert_eq!((hold.captured.0, hold.released.0), (captured, PRICE - captured));
            let ofjob = outputs::Column::JobId.eq(job.id);
            let output = outputs::Entity::find().filter(ofjob).one(self.db.read()).await.unwrap();
            let output = output.unwrap();
            assert_eq!((output.width, output.height, output.bytes), (Some(64), None, 5));
            let small = (output.thumbnail_type.as_deref(), output.thumbnail_bytes);
            assert_eq!(small, (Some("image/webp"), Some(3)));
            assert_eq!((output.thumbnail_width, output.thumbnail_height), (Some(320), Some(64)));
            let row = attempts::Entity::find_by_id(attempt.id).one(self.db.read()).await.unwrap();
            assert_eq!(row.unwrap().outcome, AttemptOutcome::Succeeded);
        }
    }
}

async fn many_jobs_fare_as_one_alone(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let stage = Stage::set(&cluster).await;
    let hints = stage.dispatched().await;
    let claimed = stage.claimed(&hints).await;
    stage.accepted(&claimed[..4]).await;
    let stored = stage.stored(&claimed).await;
    assert_eq!(stored.len(), 6, "one was refused");
    stage.settled(&stored).await;
    let wallet = wallets::Entity::find_by_id(stage.workspace).one(stage.db.read()).await.unwrap();
    let spent: i64 = stored.iter().map(|(job, _)| PRICE / i64::from(job.outputs_expected)).sum();
    let wallet = wallet.unwrap();
    assert_eq!((wallet.available.0, wallet.held.0), (1_000 - spent, 0));
    let space = workspaces::Entity::find_by_id(stage.workspace).one(stage.db.read()).await.unwrap();
    assert_eq!(space.unwrap().dispatched, 0);
    stage.db.close().await;
    cluster.finish().await;
}
