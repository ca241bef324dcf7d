//! A worker that was frozen and wakes up late: what it believes is history, and it must do no harm.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use config::{
    announce::Announcer,
    callbacks::CallbackLinks,
    catalogue::Catalogue,
    clock::Clock,
    context::{Context, Parts},
    limiter::Limiter,
    mail::Mailer,
    media::{MediaKey, MediaLinks, MediaStore, PutLimits},
    net::{Fetcher, Guarded},
    queue::Queue,
    rates::Rates,
    secrets::MasterSecrets,
    settings::{Mode, Settings, Sources},
    shutdown::Shutdown,
    telemetry::Metrics,
};
use entities::{
    Credits, Db, JobHint,
    accounts::{self, NewUser},
    ids::{AttemptId, JobId},
    job::{self, Claimed, JobState, Kind, KnownModels, NewJob, NewOutput, Usage},
    ledger,
    tables::{attempts, jobs},
};
use serde_json::json;
use tokio::sync::Notify;

use crate::{cadence::Cadence, engine::Engine, providers::demo::DemoProvider};

const LEASE: Duration = Duration::from_secs(60);

async fn engine(folder: &std::path::Path) -> Engine {
    // Another test may have been first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut env = BTreeMap::new();
    env.insert("TIKTOMATO_DATA".to_owned(), folder.display().to_string());
    let settings = Settings::load(Sources { file: None, env, mode: Mode::Embedded }).unwrap();
    let db = Db::connect(&format!("sqlite://{}/test.db", folder.display()), 2).await.unwrap();
    migration::up(db.write()).await.unwrap();
    let secrets = MasterSecrets::new(&["x".repeat(32).into()]).unwrap();
    let base = "http://localhost/".parse().unwrap();
    let clock = Clock::system(0);
    let now = clock.clone();
    let provider = DemoProvider::new(folder, LEASE, Arc::new(move || now.now())).unwrap();
    let callbacks = CallbackLinks::new(secrets.clone(), settings.gateway.public_url.clone());
    let public_url = settings.gateway.public_url.clone();
    let mailer = Mailer::new(&settings.mail, secrets.clone(), public_url).unwrap();
    let context = Context::start(Parts {
        db,
        callbacks,
        limiter: Limiter::local(),
        rates: Rates::local(),
        guarded: Guarded::new(settings.inputs.allowed()).unwrap(),
        queue: Queue::memory(),
        announcer: Announcer::local(),
        media: MediaStore::local(folder).unwrap(),
        links: MediaLinks::new(secrets.clone(), base, LEASE),
        secrets,
        mailer,
        clock,
        catalogue: Catalogue::built_in().unwrap(),
        metrics: Metrics::new().unwrap(),
        settings,
        shutdown: Shutdown::new(),
    });
    Engine {
        context,
        provider: Arc::new(provider),
        pool: "demo".into(),
        lease: LEASE,
        fetcher: Fetcher::new().unwrap(),
        due: Arc::new(Notify::new()),
        cadence: Arc::new(Cadence::new(1_000.0)),
    }
}

/// A job that a worker is about to send.
async fn claimed(engine: &Engine) -> Claimed {
    let (db, now) = (&engine.context.db, engine.now());
    let user = NewUser::vouched_for("a@example.com", None, 5);
    let tx = db.begin().await.unwrap();
    let workspace = accounts::create_user(&tx, &user, now).await.unwrap().workspace.id;
    ledger::grant(&tx, workspace, Credits(100), "test", now).await.unwrap();
    tx.commit().await.unwrap();
    let id = JobId::generate();
    let new = NewJob {
        id,
        workspace_id: workspace,
        api_key_id: None,
        model: "demo/sketch".into(),
        kind: Kind::Image,
        // Not one that something else dispatches.
        pool: "test".into(),
        input: json!({}),
        metadata: json!({}),
        resolved: json!({}),
        credits: Credits(10),
        outputs_expected: 1,
        idempotency: None,
        uploads: Vec::new(),
        created_at: now,
        expires_at: now.after(LEASE),
    };
    engine.context.batcher.submit(new).await.unwrap();
    let route = |_: &jobs::Model| Some(("demo".to_owned(), "sketch".to_owned()));
    loop {
        let tx = db.begin().await.unwrap();
        drop(job::dispatch(&tx, "test", None, None, engine.now()).await.unwrap());
        tx.commit().await.unwrap();
        let tx = db.begin().await.unwrap();
        let hint = JobHint { job_id: id, epoch: row(engine, id).await.epoch };
        let done =
            job::claim(&tx, hint, AttemptId::generate(), LEASE, now, &KnownModels::ALL, route)
                .await
                .unwrap();
        tx.commit().await.unwrap();
        if let Some(claimed) = done {
            return claimed;
        }
    }
}

async fn row(engine: &Engine, id: JobId) -> jobs::Model {
    use sea_orm::EntityTrait as _;
    jobs::Entity::find_by_id(id).one(engine.context.db.read()).await.unwrap().unwrap()
}

/// All leases run out and are taken back.
async fn rescue(engine: &Engine) {
    use sea_orm::ConnectionTrait as _;
    let text = "UPDATE jobs SET lease_until = 1 WHERE lease_until IS NOT NULL";
    engine.context.db.write().execute_unprepared(text).await.unwrap();
    let tx = engine.context.db.begin().await.unwrap();
    job::rescue(&tx, 10, engine.now()).await.unwrap();
    tx.commit().await.unwrap();
}

/// A worker looks at the job, whose media is ready.
async fn storing(engine: &Engine, attempt: &attempts::Model) -> jobs::Model {
    let tx = engine.context.db.begin().await.unwrap();
    let due = job::lease_due(&tx, "test", 1, LEASE, engine.now().after(LEASE)).await.unwrap();
    let mut job = due.into_iter().next().unwrap().job;
    if job.state == JobState::Running {
        let guard = (&job).into();
        job = job::media_ready(&tx, &guard, attempt.id, Usage::UNKNOWN).await.unwrap().unwrap();
    }
    tx.commit().await.unwrap();
    job
}

async fn put(engine: &Engine, id: JobId) -> NewOutput {
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(8, 8).write_to(&mut png, image::ImageFormat::Png).unwrap();
    let bytes = Bytes::from(png.into_inner());
    let source = futures::stream::iter([Ok(bytes)]);
    let key = MediaKey::output(id, 0);
    let stored = engine.context.media.put(&key, source, PutLimits::image()).await.unwrap();
    NewOutput {
        key: stored.key.to_string(),
        content_type: stored.content_type.mime().to_owned(),
        bytes: stored.bytes,
        sha256: stored.sha256,
        width: stored.width,
        height: stored.height,
        duration: None,
        thumbnail: None,
    }
}

async fn is_stored(engine: &Engine, id: JobId) -> bool {
    engine.context.media.head(MediaKey::output(id, 0).as_str()).await.is_ok()
}

fn answer() -> crate::providers::Accepted {
    let (request_id, handle) = ("demo_1".to_owned(), json!(null));
    crate::providers::Accepted { request_id, handle, poll_after: Duration::ZERO }
}

#[tokio::test]
async fn a_woken_worker_deletes_nothing_that_was_paid_for() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path()).await;
    let Claimed { job, attempt } = claimed(&engine).await;
    let attempt = attempt.unwrap();
    engine.accepted(&job, &attempt, answer()).await.unwrap();
    let frozen = storing(&engine, &attempt).await;
    rescue(&engine).await;
    let other = storing(&engine, &attempt).await;
    let output = put(&engine, job.id).await;
    engine.succeed(&other, &attempt, vec![output.clone()]).await.unwrap();
    // It gives up storing, too late; and it succeeds, too late.
    engine.media_lost(&frozen, &attempt).await.unwrap();
    engine.succeed(&frozen, &attempt, vec![output]).await.unwrap();
    assert_eq!(row(&engine, job.id).await.state, JobState::Succeeded);
    assert!(is_stored(&engine, job.id).await);
}

#[tokio::test]
async fn a_woken_worker_leaves_no_files_of_a_job_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path()).await;
    let Claimed { job, attempt } = claimed(&engine).await;
    let attempt = attempt.unwrap();
    engine.accepted(&job, &attempt, answer()).await.unwrap();
    let frozen = storing(&engine, &attempt).await;
    rescue(&engine).await;
    let other = storing(&engine, &attempt).await;
    engine.media_lost(&other, &attempt).await.unwrap();
    let output = put(&engine, job.id).await;
    engine.succeed(&frozen, &attempt, vec![output]).await.unwrap();
    assert_eq!(row(&engine, job.id).await.state, JobState::Failed);
    assert!(!is_stored(&engine, job.id).await);
}

#[tokio::test]
async fn a_late_answer_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path()).await;
    let Claimed { job, attempt } = claimed(&engine).await;
    rescue(&engine).await;
    assert_eq!(row(&engine, job.id).await.state, JobState::Uncertain);
    engine.accepted(&job, &attempt.unwrap(), answer()).await.unwrap();
    assert_eq!(row(&engine, job.id).await.state, JobState::Running);
}

#[tokio::test]
async fn a_result_is_kept_although_the_answer_of_its_commit_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path()).await;
    let Claimed { job, attempt } = claimed(&engine).await;
    let attempt = attempt.unwrap();
    let steps = &engine.context.steps;
    let ready = || steps.ready(&job, attempt.id, Usage::UNKNOWN, Some(engine.now()));
    let first = ready().await.unwrap().unwrap();
    // The worker asks again, and holds what no provider would give it a second time.
    let again = ready().await.unwrap().unwrap();
    assert_eq!((again.state, again.epoch), (JobState::Storing, first.epoch));
    let output = put(&engine, job.id).await;
    engine.succeed(&again, &attempt, vec![output]).await.unwrap();
    assert_eq!(row(&engine, job.id).await.state, JobState::Succeeded);
    // Whoever lost the job meanwhile gets nothing.
    assert!(ready().await.unwrap().is_none());
}
