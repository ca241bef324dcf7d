//! A route is called only if the most that it can cost is covered by what is held for the job; where
//! none is, the user is told or gets the credits back, and an operator hears of it.

use serde_json::{Value, json};
use sim::{
    faults::Rule,
    kie::fault::{CreateFault, Fault, Refusal},
};

use crate::{
    harness::{Answer, Backend, Cluster, eventually},
    market::{CREDITS, Keys, QWEN, Scene, fails, outcomes, providers},
};

on_both!(
    what_nobody_makes_for_the_price_is_refused,
    a_dearer_route_is_no_way_out,
    the_only_covered_route_is_switched_off,
    a_job_that_no_route_is_covered_for_ends,
);

/// The catalogue, but a large square picture costs 0.08 USD at Hugging Face, which is more than its
/// 54 credits.
fn dear_squares() -> String {
    let text = include_str!("../../config/models.toml");
    let at = text.find("provider_model = \"Qwen/Qwen-Image:fal-ai\"").unwrap();
    let dear = "most_units = { per = \"choice\", field = \"image_size\", units = { square_hd = 2, \
                square = 1, portrait_4_3 = 1, portrait_16_9 = 1, landscape_4_3 = 1, \
                landscape_16_9 = 1 } }";
    let route = text[at..].replacen("most_units = { per = \"file\", units = 1 }", dear, 1);
    format!("{}{route}", &text[..at])
}

fn square(prompt: &str) -> Value {
    json!({"model": QWEN, "input": {"prompt": prompt, "image_size": "square_hd"}})
}

async fn not_covered(cluster: &Cluster) -> i64 {
    let mut sum = 0;
    for ops in cluster.ops() {
        let answer = Answer::to(cluster.http.get(format!("{ops}/metrics"))).await.unwrap();
        let text = String::from_utf8(answer.bytes).unwrap();
        let series = format!("tiktomato_jobs_not_covered_total{{model=\"{QWEN}\"}} ");
        let values = text.lines().filter_map(|line| line.strip_prefix(&series));
        sum += values.map(|value| value.parse::<i64>().unwrap()).sum::<i64>();
    }
    sum
}

async fn what_nobody_makes_for_the_price_is_refused(backend: Backend) {
    let scene = Scene::with_models(backend, Keys::HuggingFace, Some(dear_squares())).await;
    for route in ["/v1/jobs", "/v1/jobs/quote"] {
        let answer = scene.user.post(route, &square("too dear")).await;
        assert_eq!(answer.problem(503), "model_unavailable");
    }
    assert_eq!(not_covered(&scene.cluster).await, 2);
    scene.succeeds(QWEN, "another shape").await;
    assert_eq!(scene.user.credits().await, (CREDITS - 54, 0));
    assert_eq!(scene.hf.accepted().len(), 1);
    scene.finish().await;
}

/// kie.ai does not take it now; Hugging Face would, at a loss. The job waits.
async fn a_dearer_route_is_no_way_out(backend: Backend) {
    let scene = Scene::with_models(backend, Keys::Both, Some(dear_squares())).await;
    let busy = Refusal::inside_200(429, "slow down").with_status(429).with_retry_after(2);
    scene.kie.rules().add(Rule::once(Fault::Create(CreateFault::Refuse(busy))));
    let job = scene.user.post("/v1/jobs", &square("patience")).await.expect(202);
    let job = scene.user.ended(job["id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    assert_eq!(outcomes(&job), ["throttled", "succeeded"], "{job}");
    assert_eq!((scene.kie.accepted().len(), scene.hf.accepted().len()), (1, 0));
    assert_eq!(not_covered(&scene.cluster).await, 0);
    scene.finish().await;
}

/// An operator has switched kie.ai off; Hugging Face would make it at a loss. That is for its user to
/// wait for, and nobody's mistake in the prices.
async fn the_only_covered_route_is_switched_off(backend: Backend) {
    let scene = Scene::with_models(backend, Keys::Both, Some(dear_squares())).await;
    let off = ["providers", "off", "kieai", "--reason", "maintenance"];
    assert!(scene.cluster.admin(&off).0);
    let refused = eventually("gateways have heard of it", async || {
        let answer = scene.user.post("/v1/jobs/quote", &square("off")).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(refused.problem(503), "model_unavailable");
    assert!(refused.header("retry-after").is_some(), "it will be on again");
    let answer = scene.user.post("/v1/jobs", &square("off")).await;
    assert_eq!(answer.problem(503), "model_unavailable");
    let other = scene.succeeds(QWEN, "another shape goes by the other route").await;
    assert_eq!(providers(&other), ["huggingface"], "{other}");
    assert!(scene.cluster.admin(&["providers", "on", "kieai"]).0);
    eventually("it is on again", async || {
        (scene.user.post("/v1/jobs/quote", &square("on")).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(not_covered(&scene.cluster).await, 0, "no operator is sent to the prices");
    assert_eq!(scene.user.credits().await, (CREDITS - 54, 0));
    scene.finish().await;
}

/// A job that was taken while nobody knew better: it waits, and its route turns out to be too dear.
async fn a_job_that_no_route_is_covered_for_ends(backend: Backend) {
    let scene = Scene::new(backend, Keys::Kie).await;
    let busy = Refusal::inside_200(429, "slow down").with_status(429).with_retry_after(600);
    scene.kie.rules().add(Rule::once(Fault::Create(CreateFault::Refuse(busy))));
    let id = scene.submit(QWEN, "too dear").await;
    scene.stands(&id, &["throttled"], "queued").await;
    let database = scene.cluster.database().await;
    let dear = "replace(CAST(resolved AS text), '20000', '99000000')";
    let dear = match backend {
        Backend::Embedded => dear.to_owned(),
        Backend::Distributed => format!("CAST({dear} AS jsonb)"),
    };
    let sql = format!("UPDATE jobs SET resolved = {dear}, ready_at = 0 WHERE state = 'queued'");
    eventually("it is written", async || (database.write(&sql).await == 1).then_some(())).await;
    database.close().await;
    let job = scene.user.ended(&id).await;
    fails("not covered", &job, "provider_unavailable", &["throttled", "unavailable"]);
    assert_eq!((not_covered(&scene.cluster).await, scene.kie.accepted().len()), (1, 0));
    assert_eq!(scene.user.credits().await, (CREDITS, 0));
    scene.finish().await;
}
