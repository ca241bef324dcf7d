//! Everything that is known to go wrong at kie.ai: the job ends as it should, and the user pays
//! only for what is delivered.

use reqwest::Method;
use serde_json::json;
use sim::{
    faults::Rule,
    kie::fault::{CallbackFault, CreateFault, Fault, MediaFault, Refusal, RunFault},
};

use crate::{
    harness::{Answer, Backend},
    market::{CREDITS, Keys, QWEN, Scene, fails, outcomes},
};

on_both!(
    refused_or_failed,
    survived,
    refused_for_good,
    a_burst_breaks_no_limit,
    an_account_without_credits_waits,
    a_task_that_stalls_is_given_up,
);

fn refuse(refusal: Refusal) -> Fault {
    Fault::Create(CreateFault::Refuse(refusal))
}

fn failed(code: &str, text: &str) -> Fault {
    Fault::Run(RunFault::Fail(code.to_owned(), text.to_owned()))
}

async fn refused_or_failed(backend: Backend) {
    let scene = Scene::new(backend, Keys::Kie).await;
    let strange = sim::serve::listen(0).await.unwrap();
    let moderated = Refusal::inside_200(400, "Your prompt violates the content policy");
    let cases = [
        (refuse(Refusal::inside_200(422, "too long")), ("rejected", "rejected")),
        (
            refuse(Refusal::inside_200(422, "bad").as_message().with_status(422)),
            ("rejected", "rejected"),
        ),
        (refuse(Refusal::inside_200(451, "no picture")), ("rejected", "rejected")),
        (refuse(moderated), ("moderated", "moderated")),
        (failed("422", "the picture is too large"), ("rejected", "rejected")),
        (failed("501", "flagged as NSFW"), ("moderated", "moderated")),
        (failed("500", "Internal error"), ("provider_failed", "failed")),
        (Fault::Run(RunFault::NoResult), ("provider_failed", "failed")),
        (Fault::Media(MediaFault::Elsewhere(strange.1)), ("media_failed", "failed")),
        (Fault::Media(MediaFault::Garbage), ("media_failed", "failed")),
    ];
    let mut jobs = Vec::new();
    for (number, (fault, expected)) in cases.into_iter().enumerate() {
        let (prompt, name) = (format!("case {number}."), format!("{fault:?}"));
        scene.kie.rules().add(Rule::when(&prompt, fault));
        jobs.push((name, scene.submit(QWEN, &prompt).await, expected));
    }
    for (name, id, (code, outcome)) in &jobs {
        fails(name, &scene.user.ended(id).await, code, &[outcome]);
    }
    assert_eq!(scene.kie.accepted().len(), 6, "four were refused");
    assert_eq!(scene.user.credits().await, (CREDITS, 0));
    scene.finish().await;
}

async fn survived(backend: Backend) {
    let scene = Scene::new(backend, Keys::Kie).await;
    let once = |words: &str, fault| Rule { times: Some(1), ..Rule::when(words, fault) };
    let busy = refuse(Refusal::inside_200(429, "slow down").with_status(429));
    let error = refuse(Refusal::inside_200(500, "server error"));
    let maintained = refuse(Refusal::inside_200(455, "maintenance"));
    let lie = CallbackFault::Lie("http://127.0.0.1:9".to_owned());
    let cases = [
        (busy, vec!["throttled", "succeeded"]),
        (error, vec!["unavailable", "succeeded"]),
        (maintained, vec!["unavailable", "succeeded"]),
        (Fault::Create(CreateFault::Late(1_000)), vec!["succeeded"]),
        (Fault::Run(RunFault::Slow(3_000)), vec!["succeeded"]),
        (Fault::EmptyResult(json!(null)), vec!["succeeded"]),
        (Fault::Look(Refusal::inside_200(429, "slow down").with_status(429)), vec!["succeeded"]),
        (Fault::Look(Refusal::inside_200(500, "server error")), vec!["succeeded"]),
        (Fault::Look(Refusal::inside_200(401, "no")), vec!["succeeded"]),
        (Fault::Media(MediaFault::Gone), vec!["succeeded"]),
        (Fault::Callback(CallbackFault::Missing), vec!["succeeded"]),
        (Fault::Callback(CallbackFault::Twice), vec!["succeeded"]),
        (Fault::Callback(CallbackFault::OtherTask("task_x".to_owned())), vec!["succeeded"]),
        (Fault::Callback(lie), vec!["succeeded"]),
    ];
    let mut jobs = Vec::new();
    for (number, (fault, expected)) in cases.into_iter().enumerate() {
        let (prompt, name) = (format!("case {number}."), format!("{fault:?}"));
        scene.kie.rules().add(once(&prompt, fault));
        jobs.push((name, scene.submit(QWEN, &prompt).await, expected));
    }
    for (name, id, expected) in &jobs {
        let job = scene.user.ended(id).await;
        assert_eq!(&outcomes(&job), expected, "{name}: {job}");
        let url = job["output"][0]["url"].as_str().unwrap();
        let answer = Answer::to(scene.user.http.request(Method::GET, url)).await.unwrap();
        assert_eq!(image::guess_format(&answer.bytes).unwrap(), image::ImageFormat::Png, "{name}");
    }
    assert_eq!(scene.kie.accepted().len(), jobs.len());
    let charged = 54 * i64::try_from(jobs.len()).unwrap();
    assert_eq!(scene.user.credits().await, (CREDITS - charged, 0));
    // Its bill and our books agree.
    let billed: f64 = scene.kie.accepted().iter().map(|entry| entry.billed_units).sum();
    let database = scene.cluster.database().await;
    let sql = "SELECT CAST(SUM(cost_usd_micros) AS bigint) AS n FROM attempts";
    assert_eq!(database.number(sql).await, (billed * 5_000.0) as i64);
    database.close().await;
    scene.finish().await;
}

/// Five proven refusals end a job that has no other route.
async fn refused_for_good(backend: Backend) {
    let scene = Scene::new(backend, Keys::Kie).await;
    scene.kie.rules().add(Rule::always(refuse(Refusal::inside_200(455, "maintenance"))));
    let job = scene.user.ended(&scene.submit(QWEN, "in vain").await).await;
    fails("maintenance", &job, "provider_unavailable", &["unavailable"; 5]);
    assert_eq!(scene.kie.accepted().len(), 0);
    scene.finish().await;
}

/// More jobs than kie.ai takes within ten seconds: none is refused there, all are made.
async fn a_burst_breaks_no_limit(backend: Backend) {
    let scene = Scene::new(backend, Keys::Kie).await;
    let mut ids = Vec::new();
    for number in 0..24 {
        ids.push(scene.submit(QWEN, &format!("burst {number}.")).await);
    }
    for id in &ids {
        let job = scene.user.ended(id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        // A job that waits for room is not claimed: it has no attempt for it.
        assert_eq!(outcomes(&job), ["succeeded"], "{job}");
    }
    assert_eq!((scene.kie.accepted().len(), scene.kie.refused()), (24, 0));
    scene.finish().await;
}

/// Our account's trouble is not the user's: the job waits, and an operator is told.
async fn an_account_without_credits_waits(backend: Backend) {
    let scene = Scene::new(backend, Keys::Kie).await;
    scene.kie.lock(true);
    let id = scene.submit(QWEN, "patience").await;
    scene.stands(&id, &["account"], "queued").await;
    assert!(scene.cluster.logs().contains("refuses our account"), "an operator must be told");
    assert_eq!(scene.user.cancel(&id).await["status"], "canceled");
    assert_eq!(scene.user.credits().await, (CREDITS, 0));
    assert_eq!(scene.kie.accepted().len(), 0);
    scene.finish().await;
}

async fn a_task_that_stalls_is_given_up(backend: Backend) {
    let mut scene = Scene::new(backend, Keys::Kie).await;
    scene.kie.rules().add(Rule::always(Fault::Run(RunFault::Stall)));
    let id = scene.submit(QWEN, "for ever").await;
    scene.stands(&id, &["accepted"], "running").await;
    scene.later(700).await;
    fails("a stalled task", &scene.user.ended(&id).await, "timed_out", &["timed_out"]);
    assert_eq!(scene.kie.accepted().len(), 1);
    scene.finish().await;
}
