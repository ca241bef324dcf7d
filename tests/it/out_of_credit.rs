//! Our account at a provider is empty or locked: its jobs are made elsewhere, an operator hears of it,
//! and users neither see nor pay anything for it. When every account is, jobs wait.

use serde_json::{Value, json};

use crate::{
    harness::{Backend, is_terminal},
    market::{CREDITS, Keys, QWEN, Scene, fails, outcomes, providers},
    routing::{metric, metric_becomes},
};

on_both!(another_provider_makes_it, when_all_are_out_jobs_wait, and_they_wait_for_a_day_at_most);

const KIE: &str = "provider_account_problem{provider=\"kieai\"}";
const HUGGING_FACE: &str = "provider_account_problem{provider=\"huggingface\"}";

/// Nothing in what its user sees of a job speaks of our money at a provider.
fn says_nothing(job: &Value) {
    assert_eq!(job["error"], Value::Null, "{job}");
    let text = job.to_string().to_lowercase();
    for word in ["balance", "top up", "depleted", "pre-paid", "locked"] {
        assert!(!text.contains(word), "{word}: {job}");
    }
    // The status by itself: ids and signatures may have these digits in them.
    let mut pieces = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
    assert!(pieces.all(|piece| piece != "402"), "{job}");
}

async fn another_provider_makes_it(backend: Backend) {
    let scene = Scene::new(backend, Keys::Both).await;
    metric_becomes(&scene.cluster, KIE, 0).await;
    scene.kie.lock(true);
    let first = scene.succeeds(QWEN, "the first one").await;
    assert_eq!(outcomes(&first), ["account", "succeeded"], "{first}");
    assert_eq!(providers(&first), ["kieai", "huggingface"], "{first}");
    says_nothing(&first);
    metric_becomes(&scene.cluster, KIE, 1).await;
    let calls =
        "provider_requests_total{operation=\"submit\",outcome=\"account\",provider=\"kieai\"}";
    assert!(metric(&scene.cluster, calls).await >= Some(1));
    assert!(scene.cluster.logs().contains("refuses our account"), "an operator must be told");
    // All of a crowd get theirs, and the empty account is hardly asked.
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(scene.submit(QWEN, &format!("more {number}.")).await);
    }
    let mut direct = 0;
    for id in &ids {
        let job = scene.user.ended(id).await;
        assert_eq!((&job["status"], &job["credits"]["charged"]), (&json!("succeeded"), &json!(54)));
        assert_eq!(providers(&job).last(), Some(&"huggingface"), "{job}");
        says_nothing(&job);
        direct += usize::from(providers(&job).len() == 1);
    }
    assert!(direct >= 6, "{direct} of 12 left the empty account alone");
    assert_eq!((scene.kie.accepted().len(), scene.hf.accepted().len()), (0, 13));
    assert_eq!(metric(&scene.cluster, HUGGING_FACE).await, Some(0));
    assert_eq!(scene.user.credits().await, (CREDITS - 13 * 54, 0));
    scene.kie.lock(false);
    crate::harness::eventually("kie.ai is used again", async || {
        let number = scene.kie.accepted().len() + scene.hf.accepted().len();
        let job = scene.succeeds(QWEN, &format!("again {number}.")).await;
        (providers(&job) == ["kieai"]).then_some(())
    })
    .await;
    metric_becomes(&scene.cluster, KIE, 0).await;
    scene.finish().await;
}

async fn when_all_are_out_jobs_wait(backend: Backend) {
    let scene = Scene::new(backend, Keys::Both).await;
    scene.kie.lock(true);
    scene.hf.lock(true);
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(scene.submit(QWEN, &format!("patience {number}.")).await);
    }
    metric_becomes(&scene.cluster, KIE, 1).await;
    metric_becomes(&scene.cluster, HUGGING_FACE, 1).await;
    for id in &ids {
        let job = scene.user.job(id).await;
        assert!(!is_terminal(&job), "nobody fails for it: {job}");
        says_nothing(&job);
    }
    assert_eq!(scene.user.credits().await, (CREDITS - 4 * 54, 4 * 54));
    let impatient = ids.pop().unwrap();
    scene.user.cancel(&impatient).await;
    let job = scene.user.ended(&impatient).await;
    assert_eq!((&job["status"], &job["credits"]["released"]), (&json!("canceled"), &json!(54)));
    scene.hf.lock(false);
    for id in &ids {
        let job = scene.user.ended(id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        assert_eq!(providers(&job).last(), Some(&"huggingface"), "{job}");
        says_nothing(&job);
    }
    metric_becomes(&scene.cluster, HUGGING_FACE, 0).await;
    assert_eq!(metric(&scene.cluster, KIE).await, Some(1), "the other one still is");
    assert_eq!((scene.kie.accepted().len(), scene.hf.accepted().len()), (0, 3));
    assert_eq!(scene.user.credits().await, (CREDITS - 3 * 54, 0));
    scene.finish().await;
}

async fn and_they_wait_for_a_day_at_most(backend: Backend) {
    let mut scene = Scene::new(backend, Keys::Both).await;
    scene.kie.lock(true);
    scene.hf.lock(true);
    let id = scene.submit(QWEN, "in vain").await;
    metric_becomes(&scene.cluster, KIE, 1).await;
    metric_becomes(&scene.cluster, HUGGING_FACE, 1).await;
    scene.later(86_500).await;
    let job = scene.user.ended(&id).await;
    assert_eq!(outcomes(&job).iter().find(|outcome| **outcome != "account"), None, "{job}");
    fails("all accounts are out", &job, "queue_timeout", &outcomes(&job));
    assert_eq!(scene.user.credits().await, (CREDITS, 0));
    assert_eq!((scene.kie.accepted().len(), scene.hf.accepted().len()), (0, 0));
    scene.finish().await;
}
