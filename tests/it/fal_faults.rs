//! Everything that is known to go wrong at fal.ai: the job ends as it should, the user pays only
//! for what is delivered, and fal.ai accepted at most one request for each job.

use std::collections::HashSet;

use serde_json::{Value, json};
use sim::{
    fal::{
        Fal,
        fault::{CallbackFault, Failure, Fault, MediaFault, RunFault, SubmitFault},
    },
    faults::Rule,
    serve::Server,
};
use url::Url;

use crate::harness::{Api, Backend, Cluster, Options, eventually, uuid_of};

on_both!(
    refused_or_failed,
    survived,
    media_that_cannot_be_used,
    a_locked_account_waits,
    a_lost_answer_is_never_sent_again,
    a_request_that_stalls_is_given_up,
);

const CREDITS: i64 = 100_000;

/// A platform whose fal.ai is simulated, in this process and behind HTTP.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) user: Api,
    pub(crate) fal: Fal,
    _server: Server,
}

impl Scene {
    pub(crate) async fn new(backend: Backend) -> Self {
        Self::with(backend, Vec::new()).await
    }

    /// With more settings.
    pub(crate) async fn with(backend: Backend, more: Vec<(&'static str, String)>) -> Self {
        let (fal, server) = sim::fal::start().await.unwrap();
        let base = fal.base();
        let mut env = vec![
            ("FAL_KEY", sim::fal::KEY.to_owned()),
            ("TIKTOMATO__PROVIDERS__FAL_URL", base.clone()),
            ("TIKTOMATO__PROVIDERS__FAL_API_URL", base.clone()),
            ("TIKTOMATO__PROVIDERS__FAL_JWKS_URL", format!("{base}/.well-known/jwks.json")),
            // Users may point to the simulator's files.
            (
                "TIKTOMATO__INPUTS__ALLOW_PRIVATE",
                base.trim_start_matches("http://").trim_end_matches('/').to_owned(),
            ),
            ("TIKTOMATO__PROVIDERS__FAL_MEDIA_HOSTS", base),
            ("TIKTOMATO__PROVIDERS__FAL_USER_ID", sim::fal::USER.to_owned()),
        ];
        env.extend(more);
        let worker_args = &["workers", "--pool", "fal=16"];
        let options = Options { env, worker_args, ..Options::default() };
        let cluster = Cluster::start(backend, options).await;
        let user = cluster.user(CREDITS);
        Self { cluster, user, fal, _server: server }
    }

    /// Submits a picture; the id of its job.
    pub(crate) async fn submit(&self, prompt: &str, more: Value) -> String {
        let mut input = json!({"prompt": prompt, "image_size": "square"});
        for (name, value) in more.as_object().unwrap() {
            input[name] = value.clone();
        }
        let body = json!({"model": "fal/flux-schnell", "input": input});
        let job = self.user.post("/v1/jobs", &body).await.expect(202);
        job["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn succeeds(&self, prompt: &str, more: Value) -> Value {
        let job = self.user.ended(&self.submit(prompt, more).await).await;
        assert_eq!(job["status"], "succeeded", "{prompt}: {job}");
        job
    }

    /// Waits until fal.ai has accepted so many requests.
    pub(crate) async fn is_accepted(&self, count: usize) {
        eventually("fal.ai accepts it", async || {
            (self.fal.accepted().len() >= count).then_some(())
        })
        .await;
    }

    /// Moves time; everything starts again.
    pub(crate) async fn later(&mut self, seconds: u32) {
        self.cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", &seconds.to_string());
        self.cluster.stop().await;
        self.cluster.start_all().await;
    }

    /// The end of every test: at most one request was accepted for each job, and what every
    /// cluster's end checks.
    pub(crate) async fn finish(self) {
        let database = self.cluster.database().await;
        let attempts = database.attempts().await;
        database.close().await;
        let mut jobs = HashSet::new();
        for request in self.fal.accepted() {
            let callback = Url::parse(request.callback.as_deref().unwrap()).unwrap();
            let attempt = uuid_of(callback.path().rsplit('/').next().unwrap());
            let job = attempts.get(&attempt).expect("it was written down before it was sent");
            assert!(jobs.insert(*job), "two requests were accepted for {job}: {request:?}");
        }
        self.cluster.finish().await;
    }
}

/// Runs all these at the same time, each a job of its own whose prompt carries its fault.
async fn each<T>(scene: &Scene, cases: Vec<(Fault, T)>, check: impl Fn(&str, &Value, &T)) -> usize {
    let mut jobs = Vec::new();
    for (number, (fault, expected)) in cases.into_iter().enumerate() {
        let prompt = format!("case {number}.");
        let name = format!("{fault:?}");
        scene.fal.rules().add(Rule::when(&prompt, fault));
        jobs.push((name, scene.submit(&prompt, json!({})).await, expected));
    }
    for (name, id, expected) in &jobs {
        let job = scene.user.ended(id).await;
        check(name, &job, expected);
    }
    jobs.len()
}

pub(crate) fn outcomes(job: &Value) -> Vec<&str> {
    let attempts = job["attempts"].as_array().unwrap();
    attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap()).collect()
}

fn fails(name: &str, job: &Value, code: &str, outcome: &str) {
    assert_eq!(job["status"], "failed", "{name}: {job}");
    assert_eq!(job["error"]["code"], code, "{name}: {job}");
    assert_eq!(outcomes(job), [outcome], "{name}: {job}");
    let credits = &job["credits"];
    assert_eq!((&credits["held"], &credits["charged"]), (&json!(0), &json!(0)), "{name}: {job}");
    let detail = job["error"]["detail"].as_str().unwrap();
    assert!(!detail.contains("fal") && !detail.contains("http"), "{name}: {detail}");
}

async fn refused_or_failed(backend: Backend) {
    let scene = Scene::new(backend).await;
    let run = |failure| Fault::Run(RunFault::Fail(failure));
    let refuse = |failure| Fault::Submit(SubmitFault::Refuse(failure));
    let silent = RunFault::FailSilently(Failure::typed(500, "internal_error"));
    let list = |kind: &str| Failure::list(422, kind, "It is not accepted.");
    let cases = vec![
        (refuse(list("less_than_equal")), ("rejected", "rejected")),
        (refuse(Failure::text(422, "the prompt is too long")), ("rejected", "rejected")),
        (run(list("image_too_large")), ("rejected", "rejected")),
        (run(list("content_policy_violation")), ("moderated", "moderated")),
        (Fault::Run(RunFault::Black), ("moderated", "moderated")),
        (run(list("no_media_generated")), ("provider_failed", "failed")),
        (run(Failure::typed(503, "runner_disconnected")), ("provider_failed", "failed")),
        (run(Failure::typed(504, "request_timeout")), ("provider_failed", "failed")),
        (run(Failure::start_deadline()), ("provider_failed", "failed")),
        (Fault::Run(silent), ("provider_failed", "failed")),
        (Fault::Run(RunFault::Gone), ("provider_failed", "failed")),
    ];
    each(&scene, cases, |name, job, (code, outcome)| fails(name, job, code, outcome)).await;
    assert_eq!(scene.user.credits().await, (CREDITS, 0));
    assert_eq!(scene.fal.accepted().len(), 9, "two were refused");
    scene.finish().await;
}

async fn survived(backend: Backend) {
    let scene = Scene::new(backend).await;
    let elsewhere = SubmitFault::Links("http://127.0.0.1:9".to_owned());
    let callbacks = [
        CallbackFault::Missing,
        CallbackFault::Twice,
        CallbackFault::Late(500),
        CallbackFault::Forged,
        CallbackFault::OtherAccount,
        CallbackFault::Old,
        CallbackFault::PayloadError,
        CallbackFault::OtherRequest,
    ];
    let mut cases = vec![
        (Fault::Submit(elsewhere), ()),
        (Fault::Submit(SubmitFault::NoLinks), ()),
        (Fault::Submit(SubmitFault::OldLinks), ()),
        (Fault::Submit(SubmitFault::Late(1_000)), ()),
        (Fault::Run(RunFault::Odd), ()),
        (Fault::Run(RunFault::Slow(2_000)), ()),
    ];
    cases.extend(callbacks.map(|fault| (Fault::Callback(fault), ())));
    let once = each(&scene, cases, |name, job, ()| {
        assert_eq!(job["status"], "succeeded", "{name}: {job}");
        assert_eq!(outcomes(job), ["succeeded"], "{name}: {job}");
    })
    .await;
    // Refused for being too much, then looked at in vain, then taken and delivered.
    let busy = SubmitFault::Refuse(Failure::throttled().with("retry-after", "1"));
    scene.fal.rules().add(Rule::once(Fault::Submit(busy)));
    for failure in [Failure::throttled(), Failure::text(502, "bad gateway"), Failure::locked()] {
        scene.fal.rules().add(Rule::once(Fault::Look(failure)));
    }
    let job = scene.succeeds("patience", json!({})).await;
    assert_eq!(outcomes(&job), ["throttled", "succeeded"], "{job}");
    assert_eq!(scene.fal.accepted().len(), once + 1);
    let charged = i64::try_from(once + 1).unwrap() * 8;
    assert_eq!(scene.user.credits().await, (CREDITS - charged, 0));
    scene.finish().await;
}

async fn media_that_cannot_be_used(backend: Backend) {
    let scene = Scene::new(backend).await;
    let strange = sim::serve::listen(0).await.unwrap();
    let cases = vec![
        (Fault::Media(MediaFault::Elsewhere(strange.1.clone())), ()),
        (Fault::Media(MediaFault::Redirect(format!("{}/secret", strange.1))), ()),
        (Fault::Media(MediaFault::Garbage), ()),
    ];
    each(&scene, cases, |name, job, ()| fails(name, job, "media_failed", "failed")).await;
    // Nobody came to the strange place.
    let visit = tokio::time::timeout(std::time::Duration::from_millis(1), strange.0.accept()).await;
    assert!(visit.is_err(), "media was asked for where it may not be");
    // What breaks off, or is late, is fetched again.
    for fault in [MediaFault::Torn, MediaFault::Gone] {
        scene.fal.rules().add(Rule::once(Fault::Media(fault)));
        scene.succeeds("again", json!({})).await;
    }
    assert_eq!(scene.fal.accepted().len(), 5, "nothing was made a second time");
    scene.finish().await;
}

/// Our account's trouble is not the user's: the job waits, and an operator is told.
async fn a_locked_account_waits(backend: Backend) {
    let scene = Scene::new(backend).await;
    scene.fal.lock(true);
    let id = scene.submit("patience", json!({})).await;
    eventually("the account is refused", async || {
        let job = scene.user.job(&id).await;
        assert!(!crate::harness::is_terminal(&job), "{job}");
        (outcomes(&job).first() == Some(&"account") && job["status"] == "queued").then_some(())
    })
    .await;
    assert!(scene.cluster.logs().contains("refuses our account"), "an operator must be told");
    assert!(!scene.cluster.logs().contains(sim::fal::KEY), "the key is in the log");
    assert_eq!(scene.user.cancel(&id).await["status"], "canceled");
    assert_eq!(scene.user.credits().await, (CREDITS, 0));
    assert_eq!(scene.fal.accepted().len(), 0);
    scene.finish().await;
}

/// Without a callback nobody can know what became of it: it is given up, never sent again.
async fn a_lost_answer_is_never_sent_again(backend: Backend) {
    let mut scene = Scene::new(backend).await;
    scene.fal.rules().add(Rule::always(Fault::Callback(CallbackFault::Missing)));
    let mut ids = Vec::new();
    for (prompt, fault) in [("lost", SubmitFault::LoseAnswer), ("garbage", SubmitFault::Garbage)] {
        scene.fal.rules().add(Rule::when(prompt, Fault::Submit(fault)));
        ids.push(scene.submit(prompt, json!({})).await);
    }
    for id in &ids {
        eventually("the answer is lost", async || {
            let job = scene.user.job(id).await;
            (outcomes(&job) == ["unknown"] && job["status"] == "running").then_some(())
        })
        .await;
    }
    scene.later(1_000).await;
    for id in &ids {
        let job = scene.user.ended(id).await;
        fails("a lost answer", &job, job["error"]["code"].as_str().unwrap(), "unknown");
    }
    assert_eq!(scene.fal.accepted().len(), 2);
    assert_eq!(scene.user.credits().await, (CREDITS, 0));
    scene.finish().await;
}

async fn a_request_that_stalls_is_given_up(backend: Backend) {
    let mut scene = Scene::new(backend).await;
    let faults = [("stall", RunFault::Stall), ("queue", RunFault::Queue)];
    let mut ids = Vec::new();
    for (prompt, fault) in faults {
        scene.fal.rules().add(Rule::when(prompt, Fault::Run(fault)));
        ids.push(scene.submit(prompt, json!({})).await);
    }
    scene.is_accepted(2).await;
    for id in &ids {
        eventually("it is at the provider", async || {
            let job = scene.user.job(id).await;
            (outcomes(&job) == ["accepted"]).then_some(())
        })
        .await;
    }
    scene.later(700).await;
    for id in &ids {
        let job = scene.user.ended(id).await;
        fails("a stalled request", &job, "timed_out", "timed_out");
    }
    assert_eq!(scene.fal.accepted().len(), 2);
    scene.finish().await;
}
