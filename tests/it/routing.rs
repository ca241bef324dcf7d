//! Routes that fail, throttle, refuse our account or are switched off: jobs go by another one or
//! wait, whatever several worker processes do at the same time, and no user pays for it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sim::{
    faults::Rule,
    kie::fault::{CreateFault, Fault, Refusal},
};

use crate::{
    harness::{Answer, Backend, Cluster, eventually, is_terminal},
    market::{CREDITS, Keys, QWEN, Scene, outcomes, providers},
};

on_both!(
    a_route_that_fails_is_left_alone,
    it_is_tried_once_a_second_at_most,
    an_account_that_works_again,
    throttled_jobs_go_elsewhere,
    switched_off_and_on,
    no_more_at_the_provider_than_allowed,
);

fn maintained() -> Fault {
    Fault::Create(CreateFault::Refuse(Refusal::inside_200(455, "maintenance")))
}

/// A gauge or counter, summed over all processes; `None`: nobody has it.
pub(crate) async fn metric(cluster: &Cluster, series: &str) -> Option<i64> {
    let mut sum = None;
    for ops in cluster.ops() {
        let answer = Answer::to(cluster.http.get(format!("{ops}/metrics"))).await.unwrap();
        let text = String::from_utf8(answer.bytes).unwrap();
        for line in text.lines() {
            if let Some(value) = line.strip_prefix(&format!("tiktomato_{series} ")) {
                *sum.get_or_insert(0) += value.parse::<f64>().unwrap() as i64;
            }
        }
    }
    sum
}

pub(crate) async fn metric_becomes(cluster: &Cluster, series: &str, expected: i64) {
    eventually(&format!("{series} is {expected}"), async || {
        (metric(cluster, series).await == Some(expected)).then_some(())
    })
    .await;
}

fn state(cluster: &Cluster, provider: &str) -> Value {
    let (ok, list) = cluster.admin(&["providers", "list"]);
    assert!(ok, "{list}");
    let all = list["providers"].as_array().unwrap();
    all.iter().find(|state| state["provider"] == provider).unwrap().clone()
}

/// The first five jobs meet the failure and fall over; those after them do not even try.
async fn a_route_that_fails_is_left_alone(backend: Backend) {
    let scene = Scene::new(backend, Keys::Both).await;
    scene.kie.rules().add(Rule::always(maintained()));
    for number in 0..5 {
        let job = scene.succeeds(QWEN, &format!("early {number}.")).await;
        assert_eq!(outcomes(&job), ["unavailable", "succeeded"], "{job}");
    }
    let breaker = "provider_breaker{model=\"qwen/text-to-image\",provider=\"kieai\"}";
    eventually("the breaker is open", async || {
        metric(&scene.cluster, breaker).await.filter(|position| *position > 0)
    })
    .await;
    let kie = state(&scene.cluster, "kieai");
    let route =
        kie["routes"].as_array().unwrap().iter().find(|r| r["breaker"] != "closed").unwrap();
    assert_eq!(
        (&route["cause"], &route["last_failure"]),
        (&json!("failing"), &json!("unavailable"))
    );
    assert!(route["open_since"].is_string(), "{route}");
    // One of many may be the one that tries; nobody fails.
    let mut direct = 0;
    for number in 0..10 {
        let job = scene.succeeds(QWEN, &format!("late {number}.")).await;
        direct += usize::from(providers(&job) == ["huggingface"]);
    }
    assert!(direct >= 5, "{direct} of 10 left the failing route alone");
    assert_eq!(scene.hf.accepted().len(), 15);
    scene.kie.rules().clear();
    eventually("it is used again", async || {
        let number = scene.kie.accepted().len() + scene.hf.accepted().len();
        let job = scene.succeeds(QWEN, &format!("again {number}.")).await;
        (providers(&job) == ["kieai"]).then_some(())
    })
    .await;
    scene.finish().await;
}

/// Many jobs wait for their only route: one a second of them tries it, of all processes together.
async fn it_is_tried_once_a_second_at_most(backend: Backend) {
    let scene = Scene::new(backend, Keys::Kie).await;
    scene.kie.rules().add(Rule::always(maintained()));
    let first = scene.user.ended(&scene.submit(QWEN, "first").await).await;
    assert_eq!(outcomes(&first), ["unavailable"; 5], "{first}");
    eventually("the breaker is open", async || {
        let kie = state(&scene.cluster, "kieai");
        let open = |route: &Value| route["breaker"] != "closed";
        kie["routes"].as_array().unwrap().iter().any(open).then_some(())
    })
    .await;
    // Every process knows a second after the database does.
    let known = Instant::now() + Duration::from_millis(1_500);
    let tries = || {
        let all = scene.kie.creates().into_iter();
        all.filter(|at| *at > known).collect::<Vec<Instant>>()
    };
    let mut ids = Vec::new();
    for number in 0..15 {
        ids.push(scene.submit(QWEN, &format!("waits {number}.")).await);
    }
    eventually("the route was tried twice", async || (tries().len() >= 2).then_some(())).await;
    for id in &ids {
        assert!(!is_terminal(&scene.user.job(id).await), "nobody fails for it");
    }
    let allowance = Duration::from_millis(300);
    for pair in tries().windows(2) {
        let apart = pair[1].duration_since(pair[0]);
        assert!(apart + allowance >= Duration::from_secs(1), "tried again after {apart:?}");
    }
    scene.kie.rules().clear();
    for id in &ids {
        let job = scene.user.ended(id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
    }
    assert_eq!(scene.kie.accepted().len(), 15);
    scene.finish().await;
}

/// Our account's trouble is not the user's: jobs wait, an alarm is up, and all goes on by itself.
async fn an_account_that_works_again(backend: Backend) {
    let scene = Scene::new(backend, Keys::Kie).await;
    metric_becomes(&scene.cluster, "provider_account_problem{provider=\"kieai\"}", 0).await;
    scene.kie.lock(true);
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(scene.submit(QWEN, &format!("patience {number}.")).await);
    }
    metric_becomes(&scene.cluster, "provider_account_problem{provider=\"kieai\"}", 1).await;
    assert_eq!(state(&scene.cluster, "kieai")["account_problem"], true);
    for id in &ids {
        let job = scene.user.job(id).await;
        assert!(!is_terminal(&job), "{job}");
    }
    scene.kie.lock(false);
    for id in &ids {
        let job = scene.user.ended(id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
    }
    metric_becomes(&scene.cluster, "provider_account_problem{provider=\"kieai\"}", 0).await;
    assert_eq!(scene.user.credits().await, (CREDITS - 6 * 54, 0));
    scene.finish().await;
}

/// kie.ai asks for two minutes of patience: nobody waits for it.
async fn throttled_jobs_go_elsewhere(backend: Backend) {
    let scene = Scene::new(backend, Keys::Both).await;
    let busy = Refusal::inside_200(429, "slow down").with_status(429).with_retry_after(120);
    scene.kie.rules().add(Rule::once(Fault::Create(CreateFault::Refuse(busy))));
    let job = scene.succeeds(QWEN, "one").await;
    assert_eq!(outcomes(&job), ["throttled", "succeeded"], "{job}");
    assert_eq!(providers(&job), ["kieai", "huggingface"], "{job}");
    eventually("everybody knows", async || {
        let kie = state(&scene.cluster, "kieai");
        let throttled = |route: &Value| route["throttled_until"].is_string();
        kie["routes"].as_array().unwrap().iter().any(throttled).then_some(())
    })
    .await;
    let job = scene.succeeds(QWEN, "two").await;
    assert_eq!(providers(&job).last(), Some(&"huggingface"), "{job}");
    let throttles = "provider_throttles_total{model=\"qwen/text-to-image\",provider=\"kieai\"}";
    assert_eq!(metric(&scene.cluster, throttles).await, Some(1));
    assert_eq!(scene.kie.accepted().len(), 0);
    scene.finish().await;
}

/// An operator's switch counts while everything runs; what runs there already is finished.
async fn switched_off_and_on(backend: Backend) {
    let scene = Scene::new(backend, Keys::Kie).await;
    scene.kie.hold(true);
    let running = scene.submit(QWEN, "running").await;
    scene.stands(&running, &["accepted"], "running").await;
    let off = ["providers", "off", "kieai", "--reason", "too dear"];
    let (ok, answer) = scene.cluster.admin(&off);
    assert!(ok && answer["reason"] == "too dear", "{answer}");
    let body = json!({"model": QWEN, "input": {"prompt": "refused"}});
    let quote = async || scene.user.post("/v1/jobs/quote", &body).await.status.as_u16();
    eventually("it is off", async || (quote().await == 503).then_some(())).await;
    let answer = scene.user.post("/v1/jobs", &body).await;
    assert_eq!(answer.problem(503), "model_unavailable");
    assert_eq!(answer.header("retry-after"), Some("60"));
    let kie = state(&scene.cluster, "kieai");
    assert_eq!((&kie["on"], &kie["off_reason"]), (&json!(false), &json!("too dear")));
    scene.kie.hold(false);
    scene.kie.let_finish().await;
    assert_eq!(scene.user.ended(&running).await["status"], "succeeded", "it was there already");
    let (ok, answer) = scene.cluster.admin(&["providers", "on", "kieai"]);
    assert!(ok && answer["changed"] == true, "{answer}");
    eventually("it is on", async || (quote().await == 200).then_some(())).await;
    scene.succeeds(QWEN, "on again").await;
    for wrong in ["nobody", "kieai/no-such-model"] {
        let args = ["admin", "providers", "off", wrong, "--reason", "x"];
        assert!(!scene.cluster.run(&args).status.success(), "{wrong}");
    }
    scene.finish().await;
}

/// However many wait and whichever process sends them.
async fn no_more_at_the_provider_than_allowed(backend: Backend) {
    let mut scene = Scene::new(backend, Keys::Kie).await;
    scene.cluster.set("TIKTOMATO__WORKERS__MAX_IN_FLIGHT__KIEAI", "3");
    scene.cluster.stop().await;
    scene.cluster.start_all().await;
    scene.kie.hold(true);
    let mut ids = Vec::new();
    for number in 0..8 {
        ids.push(scene.submit(QWEN, &format!("many {number}.")).await);
    }
    eventually("three are there", async || (scene.kie.accepted().len() == 3).then_some(())).await;
    metric_becomes(&scene.cluster, "provider_in_flight{provider=\"kieai\"}", 3).await;
    metric_becomes(&scene.cluster, "pool_max_in_flight{pool=\"kieai\"}", 3).await;
    assert_eq!(scene.kie.accepted().len(), 3, "more than allowed");
    scene.kie.let_finish().await;
    eventually("the next three are there", async || {
        let count = scene.kie.accepted().len();
        assert!(count <= 6, "more than allowed");
        (count == 6).then_some(())
    })
    .await;
    scene.kie.hold(false);
    scene.kie.let_finish().await;
    for id in &ids {
        assert_eq!(scene.user.ended(id).await["status"], "succeeded");
    }
    let captured =
        "provider_captured_credits_total{model=\"qwen/text-to-image\",provider=\"kieai\"}";
    assert_eq!(metric(&scene.cluster, captured).await, Some(8 * 54));
    scene.finish().await;
}
