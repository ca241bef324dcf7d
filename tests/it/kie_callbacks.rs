//! kie.ai accepts a task and its answer is lost: a callback that names the task binds it, if kie.ai
//! itself shows that the task was created for this call. Nothing else that a callback says counts.

use serde_json::json;
use sim::{
    faults::Rule,
    kie::fault::{CallbackFault, CreateFault, Fault},
    record::Entry,
};

use crate::{
    harness::{Answer, Backend, Database, eventually},
    market::{CREDITS, Keys, QWEN, Scene, fails, outcomes},
};

on_both!(it_binds_a_lost_answer, it_binds_no_other_call);

impl Scene {
    /// A job whose task was created without anybody hearing of it, and the task. It does not end
    /// before it is let.
    async fn lost(&self, prompt: &str) -> (String, Entry) {
        self.kie.hold(true);
        self.kie.rules().add(Rule::when(prompt, Fault::Create(CreateFault::LoseAnswer)));
        let id = self.submit(QWEN, prompt).await;
        self.stands(&id, &["unknown"], "running").await;
        let accepted = self.kie.accepted();
        let task = accepted.into_iter().find(|task| task.input["prompt"] == prompt);
        (id, task.unwrap())
    }

    async fn report(&self, to: &Entry, task: &str) {
        let lie = json!({"resultUrls": ["http://127.0.0.1:9/lie.png"]}).to_string();
        let data = json!({"taskId": task, "state": "success", "resultJson": lie});
        let body = json!({"code": 200, "msg": "done", "data": data}).to_string();
        let request = self.user.http.post(to.callback.as_ref().unwrap()).body(body);
        assert_eq!(Answer::to(request).await.unwrap().status, 200);
    }
}

pub(crate) async fn judged(database: &Database, verdict: &str, count: i64) {
    let sql = format!("SELECT count(*) AS n FROM callbacks WHERE verdict = '{verdict}'");
    eventually(&format!("{count} callbacks are judged {verdict}"), async || {
        (database.number(&sql).await == count).then_some(())
    })
    .await;
}

async fn it_binds_a_lost_answer(backend: Backend) {
    let scene = Scene::new(backend, Keys::Kie).await;
    let (id, task) = scene.lost("lost").await;
    let database = scene.cluster.database().await;
    scene.report(&task, "task_nobody").await;
    judged(&database, "ignored", 1).await;
    scene.stands(&id, &["unknown"], "running").await;
    scene.kie.let_finish().await;
    let job = scene.user.ended(&id).await;
    assert_eq!((&job["status"], outcomes(&job)), (&json!("succeeded"), vec!["succeeded"]), "{job}");
    judged(&database, "bound", 1).await;
    database.close().await;
    let [billed] = &scene.kie.accepted()[..] else { panic!("more than one task") };
    assert!(billed.billed_units > 0.0 && billed.deliveries == [200], "{billed:?}");
    assert_eq!(scene.user.credits().await, (CREDITS - 54, 0));
    scene.finish().await;
}

/// A task that was created for another call, whether that one is known to us or not.
async fn it_binds_no_other_call(backend: Backend) {
    let mut scene = Scene::new(backend, Keys::Kie).await;
    scene.kie.rules().add(Rule::always(Fault::Callback(CallbackFault::Missing)));
    let (first, task) = scene.lost("first").await;
    let (second, other) = scene.lost("second").await;
    let database = scene.cluster.database().await;
    scene.report(&other, &task.id).await;
    judged(&database, "ignored", 1).await;
    scene.report(&task, &task.id).await;
    judged(&database, "bound", 1).await;
    scene.report(&other, &task.id).await;
    judged(&database, "ignored", 2).await;
    scene.stands(&second, &["unknown"], "running").await;
    scene.kie.let_finish().await;
    assert_eq!(scene.user.ended(&first).await["status"], "succeeded");
    database.close().await;
    scene.later(1_000).await;
    let job = scene.user.ended(&second).await;
    fails("another call's task", &job, "provider_outcome_unknown", &["unknown"]);
    assert_eq!(scene.kie.accepted().len(), 2);
    assert_eq!(scene.user.credits().await, (CREDITS - 54, 0));
    scene.finish().await;
}
