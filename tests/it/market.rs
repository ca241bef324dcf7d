//! A platform whose Hugging Face and kie.ai are simulated, in this process and behind HTTP; the
//! models here have routes at both, so that a job can fall over.

use std::collections::HashSet;

use serde_json::{Value, json};
use sim::{faults::Rule, huggingface::HuggingFace, kie::Kie, serve::Server};

use crate::harness::{Api, Backend, Cluster, Options, eventually, is_terminal};

on_both!(a_job_falls_over, a_lost_answer_does_not_fall_over);

pub(crate) const CREDITS: i64 = 100_000;

/// A model with a route at kie.ai, then one at Hugging Face (by fal.ai's queue).
pub(crate) const QWEN: &str = "qwen/qwen-image";

/// Which keys are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    HuggingFace,
    Kie,
    Both,
}

pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) user: Api,
    pub(crate) hf: HuggingFace,
    pub(crate) kie: Kie,
    _servers: [Server; 2],
}

impl Scene {
    pub(crate) async fn new(backend: Backend, keys: Keys) -> Self {
        Self::with(backend, keys, Vec::new()).await
    }

    /// With this catalogue instead of the one that is built in.
    pub(crate) async fn with_models(backend: Backend, keys: Keys, models: Option<String>) -> Self {
        let models = models.into_iter().map(|text| (None, text)).collect();
        Self::from(backend, keys, Options { models, ..Options::default() }).await
    }

    /// With more settings.
    pub(crate) async fn with(
        backend: Backend,
        keys: Keys,
        env: Vec<(&'static str, String)>,
    ) -> Self {
        Self::from(backend, keys, Options { env, ..Options::default() }).await
    }

    /// With other options.
    pub(crate) async fn from(backend: Backend, keys: Keys, more: Options) -> Self {
        let (hf, hf_server) = sim::huggingface::start(0).await.unwrap();
        let (kie, kie_server) = sim::kie::start(0).await.unwrap();
        let mut env = Vec::new();
        if keys != Keys::Kie {
            env.push(("HF_TOKEN", sim::huggingface::TOKEN.to_owned()));
            env.push(("TIKTOMATO__PROVIDERS__HF_URL", hf.base()));
            env.push(("TIKTOMATO__PROVIDERS__HF_HUB_URL", hf.base()));
            env.push(("TIKTOMATO__PROVIDERS__HF_MEDIA_HOSTS", hf.base()));
        }
        if keys != Keys::HuggingFace {
            env.push(("KIE_API_KEY", sim::kie::KEY.to_owned()));
            env.push(("TIKTOMATO__PROVIDERS__KIE_URL", kie.base()));
            env.push(("TIKTOMATO__PROVIDERS__KIE_UPLOAD_URL", kie.base()));
            env.push(("TIKTOMATO__PROVIDERS__KIE_MEDIA_HOSTS", kie.base()));
        }
        env.extend(more.env);
        let worker_args: &[&str] = match keys {
            Keys::HuggingFace => &["workers", "--pool", "huggingface=16"],
            Keys::Kie => &["workers", "--pool", "kieai=16"],
            Keys::Both => &["workers", "--pool", "huggingface=16", "--pool", "kieai=16"],
        };
        // Two worker processes, so that what they must share is shared.
        let options = Options { env, worker_args, workers: 2, ..more };
        let cluster = Cluster::start(backend, options).await;
        let user = cluster.user(CREDITS);
        Self { cluster, user, hf, kie, _servers: [hf_server, kie_server] }
    }

    /// Submits a job; the prompt is its own, so that requests can be told apart. Its id.
    pub(crate) async fn submit(&self, model: &str, prompt: &str) -> String {
        let body = json!({"model": model, "input": {"prompt": prompt}});
        let job = self.user.post("/v1/jobs", &body).await.expect(202);
        job["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn succeeds(&self, model: &str, prompt: &str) -> Value {
        let job = self.user.ended(&self.submit(model, prompt).await).await;
        assert_eq!(job["status"], "succeeded", "{prompt}: {job}");
        job
    }

    /// Waits until a job has these outcomes and this status.
    pub(crate) async fn stands(&self, id: &str, expected: &[&str], status: &str) {
        eventually(&format!("{id} is {status} after {expected:?}"), async || {
            let job = self.user.job(id).await;
            assert!(!is_terminal(&job), "{job}");
            (outcomes(&job) == expected && job["status"] == status).then_some(())
        })
        .await;
    }

    /// Moves time; everything starts again.
    pub(crate) async fn later(&mut self, seconds: u32) {
        self.cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", &seconds.to_string());
        self.cluster.stop().await;
        self.cluster.start_all().await;
    }

    /// The end of every test: no more than one request was accepted for each job, by whomever, no
    /// token was shown to a file server, and what every cluster's end checks.
    pub(crate) async fn finish(self) {
        let mut prompts = HashSet::new();
        for request in self.hf.accepted().into_iter().chain(self.kie.accepted()) {
            let prompt = request.input["prompt"].as_str().unwrap().to_owned();
            assert!(prompts.insert(prompt), "two requests were accepted for one job: {request:?}");
        }
        assert_eq!((self.hf.leaks(), self.kie.refused()), (0, 0), "a leak, or a limit broken");
        let logs = self.cluster.logs();
        for secret in [sim::huggingface::TOKEN, sim::kie::KEY, sim::kie::WEBHOOK_KEY] {
            assert!(!logs.contains(secret), "a secret is in the log");
        }
        self.cluster.finish().await;
    }
}

pub(crate) fn outcomes(job: &Value) -> Vec<&str> {
    let attempts = job["attempts"].as_array().unwrap();
    attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap()).collect()
}

pub(crate) fn providers(job: &Value) -> Vec<&str> {
    let attempts = job["attempts"].as_array().unwrap();
    attempts.iter().map(|attempt| attempt["provider"].as_str().unwrap()).collect()
}

/// A failed job says why in our words and costs nothing.
pub(crate) fn fails(name: &str, job: &Value, code: &str, outcome: &[&str]) {
    assert_eq!(job["status"], "failed", "{name}: {job}");
    assert_eq!(job["error"]["code"], code, "{name}: {job}");
    assert_eq!(outcomes(job), outcome, "{name}: {job}");
    let credits = &job["credits"];
    assert_eq!((&credits["held"], &credits["charged"]), (&json!(0), &json!(0)), "{name}: {job}");
    let detail = job["error"]["detail"].as_str().unwrap();
    assert!(!detail.contains("http") && !detail.contains('<'), "{name}: {detail}");
}

/// kie.ai is being maintained, or has no credits left: Hugging Face takes the job.
async fn a_job_falls_over(backend: Backend) {
    use sim::kie::fault::{CreateFault, Fault, Refusal};
    let scene = Scene::new(backend, Keys::Both).await;
    let maintained = CreateFault::Refuse(Refusal::inside_200(455, "maintenance"));
    scene.kie.rules().add(Rule::when("one", Fault::Create(maintained)));
    let job = scene.succeeds(QWEN, "one").await;
    assert_eq!(providers(&job), ["kieai", "huggingface"], "{job}");
    assert_eq!(outcomes(&job), ["unavailable", "succeeded"], "{job}");
    assert_eq!((scene.kie.accepted().len(), scene.hf.accepted().len()), (0, 1));
    assert_eq!(scene.user.credits().await, (CREDITS - 54, 0));
    // A film, as fal.ai makes it behind Hugging Face.
    let busy = CreateFault::Refuse(Refusal::inside_200(500, "server error"));
    scene.kie.rules().add(Rule::when("film", Fault::Create(busy)));
    let film = scene.succeeds("wan-ai/wan2.2-t2v", "film").await;
    assert_eq!(providers(&film), ["kieai", "huggingface"], "{film}");
    assert_eq!(film["output"][0]["content_type"], "image/gif", "{film}");
    let model = &scene.hf.accepted()[1].model;
    assert_eq!(model, "fal-ai/wan2.2-t2v-a14b/text-to-video");
    scene.finish().await;
}

/// What may have been accepted is not sent to anybody else.
async fn a_lost_answer_does_not_fall_over(backend: Backend) {
    use sim::kie::fault::{CallbackFault, CreateFault, Fault};
    let mut scene = Scene::new(backend, Keys::Both).await;
    scene.kie.rules().add(Rule::always(Fault::Callback(CallbackFault::Missing)));
    let mut ids = Vec::new();
    for (prompt, fault) in [
        ("lost", CreateFault::LoseAnswer),
        ("page", CreateFault::Page(502)),
        ("no id", CreateFault::NoId),
    ] {
        scene.kie.rules().add(Rule::when(prompt, Fault::Create(fault)));
        ids.push(scene.submit(QWEN, prompt).await);
    }
    for id in &ids {
        scene.stands(id, &["unknown"], "running").await;
    }
    scene.later(1_000).await;
    for id in &ids {
        let job = scene.user.ended(id).await;
        fails("a lost answer", &job, "provider_outcome_unknown", &["unknown"]);
    }
    assert_eq!((scene.kie.accepted().len(), scene.hf.accepted().len()), (3, 0));
    assert_eq!(scene.user.credits().await, (CREDITS, 0));
    scene.finish().await;
}
