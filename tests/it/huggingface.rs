//! Everything that is known to go wrong at Hugging Face and behind it: the job ends as it should,
//! and the user pays only for what is delivered.

use serde_json::json;
use sim::{
    faults::Rule,
    huggingface::{
        Shape,
        fault::{Failure, Fault, MediaFault, RunFault, SubmitFault},
    },
};

use crate::{
    harness::Backend,
    market::{CREDITS, Keys, QWEN, Scene, fails, outcomes},
};

on_both!(
    refused_or_failed,
    survived,
    a_lost_answer_ends_the_job_at_once,
    without_a_route_it_is_refused,
    an_account_without_credits_waits,
    a_call_that_stalls_is_given_up,
);

/// Answered at once by together, with the picture in the answer.
pub(crate) const FLUX: &str = "black-forest-labs/flux.1-schnell";

fn refuse(failure: Failure) -> Fault {
    Fault::Submit(SubmitFault::Refuse(failure))
}

async fn refused_or_failed(backend: Backend) {
    let scene = Scene::new(backend, Keys::HuggingFace).await;
    let strange = sim::serve::listen(0).await.unwrap();
    let wide = Failure::json(422, json!({"detail": [{"msg": "too wide", "type": "less_than"}]}));
    let cases = [
        (QWEN, refuse(wide), ("rejected", "rejected")),
        (QWEN, refuse(Failure::json(400, json!({"error": ["bad"]}))), ("rejected", "rejected")),
        (QWEN, refuse(Failure::page(400)), ("rejected", "rejected")),
        (QWEN, Fault::Run(RunFault::Fail("NSFW content".into())), ("moderated", "moderated")),
        (QWEN, Fault::Run(RunFault::Black), ("moderated", "moderated")),
        (QWEN, Fault::Result(Failure::error(500, "boom")), ("provider_failed", "failed")),
        (QWEN, Fault::Media(MediaFault::Elsewhere(strange.1)), ("media_failed", "failed")),
        (FLUX, refuse(Failure::error(422, "flagged by moderation")), ("moderated", "moderated")),
    ];
    let mut jobs = Vec::new();
    for (number, (model, fault, expected)) in cases.into_iter().enumerate() {
        let (prompt, name) = (format!("case {number}."), format!("{fault:?}"));
        scene.hf.rules().add(Rule::when(&prompt, fault));
        jobs.push((name, scene.submit(model, &prompt).await, expected));
    }
    for (name, id, (code, outcome)) in &jobs {
        fails(name, &scene.user.ended(id).await, code, &[outcome]);
    }
    assert_eq!(scene.hf.accepted().len(), 4, "four were refused");
    assert_eq!(scene.user.credits().await, (CREDITS, 0));
    scene.finish().await;
}

async fn survived(backend: Backend) {
    let scene = Scene::new(backend, Keys::HuggingFace).await;
    let cases = [
        (QWEN, refuse(Failure::loading(0.5)), vec!["throttled", "succeeded"]),
        (QWEN, refuse(Failure::throttled(1)), vec!["throttled", "succeeded"]),
        (QWEN, refuse(Failure::gone()), vec!["unavailable", "succeeded"]),
        (FLUX, refuse(Failure::gone()), vec!["unavailable", "succeeded"]),
        (QWEN, Fault::Submit(SubmitFault::Late(1_000)), vec!["succeeded"]),
        (FLUX, Fault::Submit(SubmitFault::Late(1_000)), vec!["succeeded"]),
        (QWEN, Fault::Run(RunFault::Slow(2_000)), vec!["succeeded"]),
        (QWEN, Fault::Look(Failure::page(502)), vec!["succeeded"]),
        (QWEN, Fault::Look(Failure::error(404, "not yet")), vec!["succeeded"]),
        (QWEN, Fault::Result(Failure::page(502)), vec!["succeeded"]),
        (QWEN, Fault::Media(MediaFault::Gone), vec!["succeeded"]),
    ];
    let mut jobs = Vec::new();
    for (number, (model, fault, expected)) in cases.into_iter().enumerate() {
        let (prompt, name) = (format!("case {number}."), format!("{fault:?}"));
        scene.hf.rules().add(Rule { times: Some(1), ..Rule::when(&prompt, fault) });
        jobs.push((name, scene.submit(model, &prompt).await, expected));
    }
    for (name, id, expected) in &jobs {
        let job = scene.user.ended(id).await;
        assert_eq!(&outcomes(&job), expected, "{name}: {job}");
        assert_eq!(job["output"][0]["content_type"], "image/png", "{name}: {job}");
    }
    assert_eq!(scene.hf.accepted().len(), jobs.len());
    scene.finish().await;
}

/// It cannot be found again, and is not sent again: neither here nor by the model's next route.
async fn a_lost_answer_ends_the_job_at_once(backend: Backend) {
    let scene = Scene::new(backend, Keys::HuggingFace).await;
    let mut ids = Vec::new();
    for (number, (model, fault)) in [
        (QWEN, SubmitFault::LoseAnswer),
        (FLUX, SubmitFault::LoseAnswer),
        (FLUX, SubmitFault::Page(504)),
        (QWEN, SubmitFault::Page(200)),
    ]
    .into_iter()
    .enumerate()
    {
        let prompt = format!("lost {number}.");
        scene.hf.rules().add(Rule::when(&prompt, Fault::Submit(fault)));
        ids.push(scene.submit(model, &prompt).await);
    }
    for id in &ids {
        let job = scene.user.ended(id).await;
        fails("a lost answer", &job, "provider_outcome_unknown", &["unknown"]);
    }
    assert_eq!(scene.hf.accepted().len(), 4);
    assert_eq!(scene.user.credits().await, (CREDITS, 0));
    scene.finish().await;
}

/// Nobody serves the model: nothing is sent, and five times of that end the job.
async fn without_a_route_it_is_refused(backend: Backend) {
    let scene = Scene::new(backend, Keys::HuggingFace).await;
    scene.hf.shape(Shape::Empty);
    let job = scene.user.ended(&scene.submit(QWEN, "in vain").await).await;
    fails("no route", &job, "provider_unavailable", &["unavailable"; 5]);
    assert_eq!(scene.hf.accepted().len(), 0);
    scene.finish().await;
}

/// Our account's trouble is not the user's: the job waits, and an operator is told.
async fn an_account_without_credits_waits(backend: Backend) {
    let scene = Scene::new(backend, Keys::HuggingFace).await;
    scene.hf.lock(true);
    let id = scene.submit(QWEN, "patience").await;
    scene.stands(&id, &["account"], "queued").await;
    assert!(scene.cluster.logs().contains("refuses our account"), "an operator must be told");
    assert_eq!(scene.user.cancel(&id).await["status"], "canceled");
    assert_eq!(scene.user.credits().await, (CREDITS, 0));
    assert_eq!(scene.hf.accepted().len(), 0);
    scene.finish().await;
}

async fn a_call_that_stalls_is_given_up(backend: Backend) {
    let mut scene = Scene::new(backend, Keys::HuggingFace).await;
    scene.hf.rules().add(Rule::always(Fault::Run(RunFault::Stall)));
    let id = scene.submit(QWEN, "for ever").await;
    scene.stands(&id, &["accepted"], "running").await;
    scene.later(700).await;
    fails("a stalled call", &scene.user.ended(&id).await, "timed_out", &["timed_out"]);
    assert_eq!(scene.hf.accepted().len(), 1);
    scene.finish().await;
}
