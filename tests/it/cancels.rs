//! A user no longer wants a job that is at its provider. Only what the provider confirms is canceled;
//! everything else is finished and paid. What comes after the end is neither delivered nor charged.

use serde_json::{Value, json};
use sim::{
    fal::fault::{CallbackFault as FalCallback, Failure, Fault as FalFault, RunFault},
    faults::Rule,
    kie::fault::{CreateFault, Fault as KieFault, RunFault as KieRun},
};

use crate::{
    fal_faults,
    harness::{Backend, eventually, uuid_of},
    kie_callbacks::judged,
    market::{CREDITS, Keys, QWEN, Scene, fails, outcomes},
};

on_both!(
    fal_is_asked_and_decides,
    kie_and_hugging_face_cannot_cancel,
    a_lost_answer_is_canceled_at_its_deadline,
    a_result_after_the_end,
);

fn is_canceled(job: &Value, outcome: &str) {
    assert_eq!((&job["status"], outcomes(job)), (&json!("canceled"), vec![outcome]), "{job}");
    let credits = &job["credits"];
    assert_eq!((&credits["held"], &credits["charged"]), (&json!(0), &json!(0)), "{job}");
    assert_eq!(job["output"], json!([]), "{job}");
}

fn is_delivered(job: &Value, credits: i64) {
    assert_eq!((&job["status"], outcomes(job)), (&json!("succeeded"), vec!["succeeded"]), "{job}");
    assert_eq!(job["credits"]["charged"], credits, "{job}");
    assert_eq!(job["output"].as_array().unwrap().len(), 1, "{job}");
}

async fn fal_is_asked_and_decides(backend: Backend) {
    let scene = fal_faults::Scene::new(backend).await;
    let (before, _) = scene.user.credits().await;
    scene.fal.hold(true);
    scene.fal.rules().add(Rule::when("deaf", FalFault::Run(RunFault::IgnoreCancel)));
    scene.fal.rules().add(Rule::when("waiting", FalFault::Run(RunFault::Queue)));
    let failure = Failure::list(422, "no_media_generated", "nothing came of it");
    scene.fal.rules().add(Rule::when("failing", FalFault::Run(RunFault::Fail(failure))));
    scene.fal.rules().add(Rule::when("failing", FalFault::Run(RunFault::IgnoreCancel)));
    scene.fal.rules().add(Rule::when("too late", FalFault::Callback(FalCallback::Missing)));
    let mut ids = Vec::new();
    for prompt in ["deaf", "waiting", "failing", "obedient", "too late"] {
        ids.push(scene.submit(prompt, json!({})).await);
    }
    scene.is_accepted(5).await;
    for id in &ids {
        scene.user.until(id, "running").await;
        eventually("it is accepted", async || {
            (outcomes(&scene.user.job(id).await) == ["accepted"]).then_some(())
        })
        .await;
    }
    // This one is done before it is canceled, and nobody has seen it yet.
    let database = scene.cluster.database().await;
    let sql = format!(
        "UPDATE jobs SET next_poll_at = 4000000000000000 WHERE id = {} AND state = 'running' \
         AND lease_until IS NULL",
        database.literal(uuid_of(&ids[4]))
    );
    eventually("nobody has it in hand", async || (database.write(&sql).await == 1).then_some(()))
        .await;
    database.close().await;
    scene.fal.finish_one("too late").await;
    for id in &ids {
        scene.user.cancel(id).await;
    }
    let mut jobs = Vec::new();
    for id in &ids {
        jobs.push(scene.user.ended(id).await);
    }
    is_delivered(&jobs[0], 8);
    is_canceled(&jobs[1], "canceled");
    assert_eq!((&jobs[2]["status"], &jobs[2]["credits"]["charged"]), (&json!("failed"), &json!(0)));
    is_canceled(&jobs[3], "canceled");
    is_delivered(&jobs[4], 8);
    // What is canceled is not billed to us either.
    let billed = [("deaf", 1.0), ("waiting", 0.0), ("failing", 0.5), ("obedient", 0.0)];
    for (prompt, units) in billed.into_iter().chain([("too late", 1.0)]) {
        // By their prompts: workers send them in any order.
        let accepted = scene.fal.accepted();
        let entry = accepted.iter().find(|entry| entry.input["prompt"] == prompt).unwrap();
        assert_eq!(entry.billed_units, units, "{entry:?}");
    }
    assert_eq!(scene.user.credits().await, (before - 16, 0));
    scene.finish().await;
}

/// Neither has a way to cancel: the job goes on, and its user pays for what is made.
async fn kie_and_hugging_face_cannot_cancel(backend: Backend) {
    for keys in [Keys::Kie, Keys::HuggingFace] {
        let scene = Scene::new(backend, keys).await;
        let (kie, hf) = (&scene.kie, &scene.hf);
        kie.hold(true);
        hf.hold(true);
        let fails_there = KieRun::Fail("500".to_owned(), "Internal error".to_owned());
        kie.rules().add(Rule::when("bad", KieFault::Run(fails_there)));
        let fails_there = sim::huggingface::fault::RunFault::Fail("out of memory".to_owned());
        let fault = sim::huggingface::fault::Fault::Run(fails_there);
        hf.rules().add(Rule::when("bad", fault));
        let good = scene.submit(QWEN, "good").await;
        let bad = scene.submit(QWEN, "bad").await;
        for id in [&good, &bad] {
            scene.stands(id, &["accepted"], "running").await;
            assert_eq!(scene.user.cancel(id).await["status"], "running");
            // Once more is the same.
            assert_eq!(scene.user.cancel(id).await["status"], "running");
        }
        let database = scene.cluster.database().await;
        let asked = "SELECT count(*) AS n FROM jobs WHERE cancel_requested AND cancel_sent";
        eventually("the workers know", async || (database.number(asked).await == 2).then_some(()))
            .await;
        database.close().await;
        for id in [&good, &bad] {
            scene.stands(id, &["accepted"], "running").await;
        }
        kie.let_finish().await;
        hf.let_finish().await;
        is_delivered(&scene.user.ended(&good).await, 54);
        let job = scene.user.ended(&bad).await;
        assert_eq!((&job["status"], &job["credits"]["charged"]), (&json!("failed"), &json!(0)));
        assert_eq!(kie.accepted().len() + hf.accepted().len(), 2);
        assert_eq!(scene.user.credits().await, (CREDITS - 54, 0));
        // A job that has ended stays as it is.
        let before = scene.user.job(&good).await;
        let after = scene.user.cancel(&good).await;
        for field in ["status", "credits", "attempts", "finished_at"] {
            assert_eq!(after[field], before[field], "{field}");
        }
        scene.finish().await;
    }
}

/// Nobody knows whether it was accepted, so that it cannot be canceled before its time is over; what
/// is reported after that comes too late.
async fn a_lost_answer_is_canceled_at_its_deadline(backend: Backend) {
    let mut scene = Scene::new(backend, Keys::Kie).await;
    scene.kie.hold(true);
    scene.kie.rules().add(Rule::always(KieFault::Create(CreateFault::LoseAnswer)));
    let id = scene.submit(QWEN, "lost").await;
    scene.stands(&id, &["unknown"], "running").await;
    assert_eq!(scene.user.cancel(&id).await["status"], "running");
    scene.stands(&id, &["unknown"], "running").await;
    assert_eq!(scene.user.credits().await, (CREDITS - 54, 54), "it is held until then");
    scene.later(1_000).await;
    let job = scene.user.ended(&id).await;
    is_canceled(&job, "unknown");
    assert_eq!(scene.user.credits().await, (CREDITS, 0));
    comes_too_late(&scene, &job).await;
    scene.finish().await;
}

/// The task ends and is reported, after its job: nothing of it changes.
async fn comes_too_late(scene: &Scene, before: &Value) {
    let credits = scene.user.credits().await;
    scene.kie.let_finish().await;
    let database = scene.cluster.database().await;
    judged(&database, "late", 1).await;
    assert_eq!(database.number("SELECT count(*) AS n FROM outputs").await, 0);
    database.close().await;
    let after = scene.user.job(before["id"].as_str().unwrap()).await;
    assert_eq!(&after, before);
    assert_eq!(scene.user.credits().await, credits);
    assert_eq!(scene.kie.accepted().len(), 1);
}

async fn a_result_after_the_end(backend: Backend) {
    let mut scene = Scene::new(backend, Keys::Kie).await;
    scene.kie.hold(true);
    let id = scene.submit(QWEN, "slow").await;
    scene.stands(&id, &["accepted"], "running").await;
    scene.later(700).await;
    let job = scene.user.ended(&id).await;
    fails("a slow task", &job, "timed_out", &["timed_out"]);
    comes_too_late(&scene, &job).await;
    assert_eq!(scene.user.credits().await, (CREDITS, 0));
    scene.finish().await;
}
