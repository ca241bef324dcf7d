//! What kie.ai reports about a task that runs, in every shape and from everybody: at most it brings
//! the next look forward. Nobody looks by itself here, so that each report's effect is seen alone.

use serde_json::{Value, json};
use sim::{
    faults::Rule,
    kie::{
        WEBHOOK_KEY,
        fault::{CallbackFault, Fault, RunFault},
        signed,
    },
    record::Entry,
};

use crate::{
    harness::{Answer, Backend, Database, eventually, uuid_of},
    kie_callbacks::judged,
    market::{CREDITS, Keys, QWEN, Scene, outcomes},
};

on_both!(every_spelling_wakes, what_names_no_task_of_ours, signed_reports, late_reports);

/// Long after the test.
const NEVER: i64 = 4_000_000_000_000_000;

/// A job whose task runs until it is let go, and that nobody looks at by itself.
struct Quiet {
    scene: Scene,
    database: Database,
    job: String,
    task: Entry,
}

impl Quiet {
    async fn new(backend: Backend, more: Vec<(&'static str, String)>) -> Self {
        let scene = Scene::with(backend, Keys::Kie, more).await;
        scene.kie.hold(true);
        // What it reports is what these tests send.
        scene.kie.rules().add(Rule::always(Fault::Callback(CallbackFault::Missing)));
        let job = scene.submit(QWEN, "quiet").await;
        scene.stands(&job, &["accepted"], "running").await;
        let database = scene.cluster.database().await;
        let task = scene.kie.accepted().remove(0);
        let quiet = Self { scene, database, job, task };
        quiet.silence().await;
        quiet
    }

    /// From now on nobody looks at it.
    async fn silence(&self) {
        let sql = format!(
            "UPDATE jobs SET next_poll_at = {NEVER} WHERE id = {} AND state = 'running' \
             AND lease_until IS NULL",
            self.database.literal(uuid_of(&self.job))
        );
        eventually("nobody has it in hand", async || {
            (self.database.write(&sql).await == 1).then_some(())
        })
        .await;
    }

    async fn number(&self, column: &str) -> i64 {
        let own = self.database.literal(uuid_of(&self.job));
        let sql = format!("SELECT CAST({column} AS bigint) AS n FROM jobs WHERE id = {own}");
        self.database.number(&sql).await
    }

    async fn send(&self, headers: &[(String, String)], body: &str) {
        let mut request = self.scene.user.http.post(self.task.callback.as_ref().unwrap());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = Answer::to(request.body(body.to_owned())).await.unwrap();
        assert_eq!(answer.status, 200, "it is stored, whatever it is worth");
    }

    /// Sends this, which must make somebody look, and change nothing else: whatever it says, the task
    /// still runs.
    async fn wakes(&self, headers: &[(String, String)], body: &str, times: i64) {
        let epoch = self.number("epoch").await;
        self.send(headers, body).await;
        judged(&self.database, "woke", times).await;
        eventually("it is looked at", async || (self.number("epoch").await > epoch).then_some(()))
            .await;
        let job = self.scene.user.job(&self.job).await;
        assert_eq!(
            (&job["status"], outcomes(&job)),
            (&json!("running"), vec!["accepted"]),
            "{body}"
        );
        self.silence().await;
    }

    /// Sends this, which must do nothing at all.
    async fn is_ignored(&self, headers: &[(String, String)], body: &str, times: i64) {
        let before = (self.number("epoch").await, self.number("version").await);
        self.send(headers, body).await;
        judged(&self.database, "ignored", times).await;
        assert_eq!(self.number("next_poll_at").await, NEVER, "{body}");
        assert_eq!((self.number("epoch").await, self.number("version").await), before, "{body}");
    }

    /// The task ends, and one report brings the picture that was really made.
    async fn ends_well(self, headers: &[(String, String)], body: &str) {
        self.scene.kie.let_finish().await;
        self.send(headers, body).await;
        let job = self.scene.user.ended(&self.job).await;
        assert_eq!((&job["status"], outcomes(&job)), (&json!("succeeded"), vec!["succeeded"]));
        assert_eq!(job["output"][0]["width"], 96, "{job}");
        assert_eq!(self.scene.user.credits().await, (CREDITS - 54, 0));
        self.database.close().await;
        self.scene.finish().await;
    }
}

/// Success, as the newer pages show it, with media that nobody made.
fn new_shape(id: &Value) -> Value {
    let lie = json!({"resultUrls": ["http://127.0.0.1:9/lie.png"]}).to_string();
    json!({"code": 200, "msg": "Playground task completed successfully.", "data": {
        "taskId": id, "model": "qwen/text-to-image", "state": "success", "param": "{}",
        "resultJson": lie, "costTime": 8, "completeTime": 1_760_000_000_000_i64,
        "creditsConsumed": 1_000_000,
    }})
}

/// Failure, as the older pages show it.
fn old_shape(id: &Value) -> Value {
    json!({"code": 501, "msg": "Playground task failed.", "data": {
        "taskId": id, "state": "fail", "failCode": "500", "failMsg": "Internal error",
        "resultJson": null, "consumeCredits": 0, "remainedCredits": 2_510_330,
    }})
}

/// The same with its id in another place.
fn moved(mut body: Value, from: &str, to: &str) -> Value {
    let id = body.pointer_mut(from).unwrap().take();
    let (place, name) = to.rsplit_once('/').unwrap();
    body.pointer_mut(place).unwrap()[name] = id;
    body
}

async fn every_spelling_wakes(backend: Backend) {
    let quiet = Quiet::new(backend, Vec::new()).await;
    let id = json!(quiet.task.id);
    let id_at = "/data/taskId";
    let mut times = 0;
    for body in [
        new_shape(&id),
        old_shape(&id),
        moved(new_shape(&id), id_at, "/data/task_id"),
        moved(new_shape(&id), id_at, "/taskId"),
        moved(old_shape(&id), id_at, "/task_id"),
        json!({"taskId": id}),
        json!({"code": 400, "message": "no", "data": {"task_id": id}}),
        // The very same again.
        new_shape(&id),
        new_shape(&id),
    ] {
        times += 1;
        quiet.wakes(&[], &body.to_string(), times).await;
    }
    assert_eq!(quiet.scene.user.credits().await, (CREDITS - 54, 54), "it is only held");
    quiet.ends_well(&[], &json!({"taskId": id}).to_string()).await;
}

async fn what_names_no_task_of_ours(backend: Backend) {
    let quiet = Quiet::new(backend, Vec::new()).await;
    let bodies = [
        String::new(),
        "no json".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "<html>".to_owned(),
        json!({"code": 200, "data": null}).to_string(),
        json!({"code": 200, "data": {"taskId": 7}}).to_string(),
        json!({"code": 200, "data": {"taskId": [quiet.task.id]}}).to_string(),
        json!({"code": 200, "data": {"taskid": quiet.task.id}}).to_string(),
        json!({"id": quiet.task.id}).to_string(),
        new_shape(&json!("task_somebody_elses")).to_string(),
        new_shape(&json!("../../chat/credit")).to_string(),
    ];
    let mut times = 0;
    for body in &bodies {
        times += 1;
        quiet.is_ignored(&[], body, times).await;
    }
    // Whoever does not know the address is not even heard.
    let address = quiet.task.callback.clone().unwrap();
    let (path, mac) = address.split_once("mac=").unwrap();
    let flip = if mac.starts_with('A') { "B" } else { "A" };
    let body = new_shape(&json!(quiet.task.id)).to_string();
    for wrong in [path.to_owned(), format!("{path}mac={flip}{}", &mac[1..])] {
        let request = quiet.scene.user.http.post(wrong).body(body.clone());
        Answer::to(request).await.unwrap().problem(404);
    }
    let stored = "SELECT count(*) AS n FROM callbacks";
    assert_eq!(quiet.database.number(stored).await, times);
    quiet.ends_well(&[], &body).await;
}

/// The account signs its reports: one without a good signature does nothing.
async fn signed_reports(backend: Backend) {
    let key = vec![("TIKTOMATO__PROVIDERS__KIE_WEBHOOK_KEY", WEBHOOK_KEY.to_owned())];
    let quiet = Quiet::new(backend, key).await;
    let now = chrono::Utc::now().timestamp();
    let id = quiet.task.id.clone();
    let body = new_shape(&json!(id)).to_string();
    let good = signed(WEBHOOK_KEY, &id, now);
    let mut renamed = good.clone();
    renamed[0].1 = (now + 1).to_string();
    let mut times = 0;
    for headers in [
        Vec::new(),
        good[..1].to_vec(),
        good[1..].to_vec(),
        signed("somebody else's", &id, now),
        signed(WEBHOOK_KEY, "task_other", now),
        // An hour old: a replay.
        signed(WEBHOOK_KEY, &id, now - 3_600),
        signed(WEBHOOK_KEY, &id, now + 3_600),
        renamed,
    ] {
        times += 1;
        quiet.is_ignored(&headers, &body, times).await;
    }
    // A captured pair fits any body about its task: all that it brings is a look.
    quiet.wakes(&good, &body, 1).await;
    quiet.wakes(&good, &old_shape(&json!(id)).to_string(), 2).await;
    // It does not fit another task's.
    quiet.is_ignored(&good, &new_shape(&json!("task_other")).to_string(), times + 1).await;
    // As the service itself sends it.
    quiet.scene.kie.sign(true);
    let (headers, body) = quiet.scene.kie.callback_of(&id).unwrap();
    quiet.ends_well(&headers, &body).await;
}

/// What comes when all is over changes nothing: neither a paid job nor a failed one.
async fn late_reports(backend: Backend) {
    let scene = Scene::new(backend, Keys::Kie).await;
    scene.kie.rules().add(Rule::always(Fault::Callback(CallbackFault::Missing)));
    let fault = RunFault::Fail("422".to_owned(), "the picture is too large".to_owned());
    scene.kie.rules().add(Rule::when("bad", Fault::Run(fault)));
    let good = scene.succeeds(QWEN, "good").await;
    let bad = scene.user.ended(&scene.submit(QWEN, "bad").await).await;
    assert_eq!(bad["status"], "failed", "{bad}");
    let database = scene.cluster.database().await;
    let mut times = 0;
    for task in scene.kie.accepted() {
        let id = json!(task.id);
        for body in [new_shape(&id), old_shape(&id), new_shape(&json!("task_other"))] {
            let request = scene.user.http.post(task.callback.as_ref().unwrap());
            let answer = Answer::to(request.body(body.to_string())).await.unwrap();
            assert_eq!(answer.status, 200);
            times += 1;
        }
    }
    judged(&database, "late", times).await;
    for before in [&good, &bad] {
        let after = scene.user.job(before["id"].as_str().unwrap()).await;
        for field in ["status", "error", "credits", "attempts", "finished_at"] {
            assert_eq!(after[field], before[field], "{field}");
        }
    }
    assert_eq!(scene.user.credits().await, (CREDITS - 54, 0));
    assert_eq!(scene.kie.accepted().len(), 2);
    database.close().await;
    scene.finish().await;
}
