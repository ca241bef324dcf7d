//! fal.ai accepts a request and its answer is lost: only its signed callback can say which request
//! it was. From the simulator through the gateway to the settled job; and what is not signed by
//! fal.ai, for our account, now, for this call, binds nothing.

use serde_json::{Value, json};
use sim::{
    fal::{
        USER,
        fault::{CallbackFault, Fault, SubmitFault},
    },
    faults::Rule,
    record::Entry,
};

use crate::{
    fal_faults::{Scene, outcomes},
    harness::{Answer, Backend, Database, eventually, is_terminal},
};

on_both!(
    it_binds_a_lost_answer,
    what_proves_nothing_binds_nothing,
    it_binds_no_other_call,
    it_waits_for_its_key,
);

/// The headers of a callback.
type Signature = [(&'static str, String); 4];

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

/// What fal.ai says of a request that went well, or would like to have gone so.
fn body(id: &str) -> String {
    let lie = json!([{"url": "http://127.0.0.1:9/lie.png", "width": 1, "height": 1}]);
    json!({
        "request_id": id, "gateway_request_id": id, "status": "OK", "payload": {"images": lie},
    })
    .to_string()
}

impl Scene {
    /// A job whose request was accepted without anybody hearing of it, and the request. It does not
    /// end before it is let.
    async fn lost(&self, prompt: &str) -> (String, Entry) {
        self.fal.hold(true);
        self.fal.rules().add(Rule::when(prompt, Fault::Submit(SubmitFault::LoseAnswer)));
        let id = self.submit(prompt, json!({})).await;
        self.is_uncertain(&id).await;
        let accepted = self.fal.accepted();
        let request = accepted.into_iter().find(|request| request.input["prompt"] == prompt);
        (id, request.unwrap())
    }

    async fn is_uncertain(&self, id: &str) {
        eventually("the answer is lost", async || {
            let job = self.user.job(id).await;
            assert!(!is_terminal(&job), "{job}");
            (outcomes(&job) == ["unknown"] && job["status"] == "running").then_some(())
        })
        .await;
    }

    /// Sends a callback to the address that a request was given.
    async fn report(&self, to: &Entry, signature: Signature, body: &str) {
        let mut request = self.user.http.post(to.callback.as_ref().unwrap());
        for (name, value) in signature {
            request = request.header(name, value);
        }
        let answer = Answer::to(request.body(body.to_owned())).await.unwrap();
        assert_eq!(answer.status, 200, "it is stored, whatever it is worth");
    }

    /// The job ends with the picture that was really made, and is paid for.
    async fn delivers(&self, id: &str) -> Value {
        let job = self.user.ended(id).await;
        assert_eq!(
            (&job["status"], outcomes(&job)),
            (&json!("succeeded"), vec!["succeeded"]),
            "{job}"
        );
        assert_eq!(job["output"][0]["width"], 512, "{job}");
        assert_eq!(job["credits"]["charged"], 8, "{job}");
        job
    }
}

/// Waits until so many callbacks have this verdict.
async fn judged(database: &Database, verdict: &str, count: i64) {
    let sql = format!("SELECT count(*) AS n FROM callbacks WHERE verdict = '{verdict}'");
    eventually(&format!("{count} callbacks are judged {verdict}"), async || {
        (database.number(&sql).await == count).then_some(())
    })
    .await;
}

async fn it_binds_a_lost_answer(backend: Backend) {
    let scene = Scene::new(backend).await;
    let (before, _) = scene.user.credits().await;
    let (id, request) = scene.lost("lost").await;
    assert_eq!(scene.user.credits().await, (before - 8, 8), "it is held");
    scene.fal.let_finish().await;
    scene.delivers(&id).await;
    let database = scene.cluster.database().await;
    judged(&database, "bound", 1).await;
    let sql = format!(
        "SELECT count(*) AS n FROM attempts WHERE request_id = '{}' AND accepted_at IS NOT NULL",
        request.id
    );
    assert_eq!(database.number(&sql).await, 1);
    database.close().await;
    // The bill: one request, and what it cost is in our books.
    let [billed] = &scene.fal.accepted()[..] else { panic!("more than one request") };
    assert_eq!((billed.billed_units, billed.ended.as_deref()), (1.0, Some("succeeded")));
    assert_eq!(billed.deliveries, [200]);
    assert_eq!(scene.user.credits().await, (before - 8, 0));
    // Again, long after: nothing comes of it.
    assert_eq!(scene.fal.deliver_again(&request.id).await.unwrap(), 200);
    scene.delivers(&id).await;
    assert_eq!(scene.user.credits().await, (before - 8, 0));
    scene.finish().await;
}

/// A request that nobody made.
const NOBODYS: &str = "00000000-0000-4000-8000-00000000beef";

async fn what_proves_nothing_binds_nothing(backend: Backend) {
    let scene = Scene::new(backend).await;
    let (other, _server) = sim::fal::start().await.unwrap();
    let (id, request) = scene.lost("lost").await;
    let (name, text) = (request.id.as_str(), body(&request.id));
    let database = scene.cluster.database().await;
    let sign = |id: &str, user: &str, time| scene.fal.sign(id, user, time, text.as_bytes());
    // Not signed by fal.ai; the right signature for somebody else; too old; from the future.
    let forged = other.sign(name, USER, now(), text.as_bytes());
    let foreign = sign(name, "user_somebody_else", now());
    let renamed = sign(name, "user_somebody_else", now()).map(|(header, value)| match header {
        "x-fal-webhook-user-id" => (header, USER.to_owned()),
        _ => (header, value),
    });
    let (old, early) = (sign(name, USER, now() - 400), sign(name, USER, now() + 400));
    scene.report(&request, forged, &text).await;
    judged(&database, "ignored", 1).await;
    for signature in [foreign, old, early] {
        scene.report(&request, signature, &text).await;
    }
    judged(&database, "ignored", 4).await;
    // A good signature of another body, of another account, or for another request. Whether a new
    // key would fit is asked once a minute, so that these may wait for their verdict.
    scene.report(&request, sign(name, USER, now()), &text.replace("OK", "ERROR")).await;
    scene.report(&request, renamed, &text).await;
    let mut moved = sign(name, USER, now());
    moved[0].1 = NOBODYS.to_owned();
    scene.report(&request, moved, &text).await;
    let unsigned = scene.user.http.post(request.callback.as_ref().unwrap()).body(text.clone());
    assert_eq!(Answer::to(unsigned).await.unwrap().status, 200);
    judged(&database, "ignored", 5).await;
    // Signed by fal.ai, about a request that fal.ai does not know.
    let (unknown, about) = (NOBODYS, body(NOBODYS));
    let signed = scene.fal.sign(unknown, USER, now(), about.as_bytes());
    scene.report(&request, signed, &about).await;
    judged(&database, "ignored", 6).await;
    scene.is_uncertain(&id).await;
    let bound =
        "SELECT count(*) AS n FROM attempts WHERE provider = 'fal' AND request_id IS NOT NULL";
    assert_eq!(database.number(bound).await, 0);
    assert_eq!(scene.fal.key_reads(), 1, "forged ones make no traffic");
    // Signed, and its body lies: the id is bound, and what the body tells is not believed.
    scene.report(&request, sign(name, USER, now()), &text).await;
    judged(&database, "bound", 1).await;
    assert_eq!(scene.user.job(&id).await["status"], "running");
    scene.fal.let_finish().await;
    scene.delivers(&id).await;
    database.close().await;
    assert_eq!(scene.fal.accepted().len(), 1);
    scene.finish().await;
}

/// One job's callback at another job's address: the request has its job already.
async fn it_binds_no_other_call(backend: Backend) {
    let mut scene = Scene::new(backend).await;
    let missing = Fault::Callback(CallbackFault::Missing);
    scene.fal.rules().add(Rule::when("second", missing));
    let (first, request) = scene.lost("first").await;
    let (second, other) = scene.lost("second").await;
    scene.fal.let_finish().await;
    scene.delivers(&first).await;
    let database = scene.cluster.database().await;
    let text = body(&request.id);
    let signature = scene.fal.sign(&request.id, USER, now(), text.as_bytes());
    scene.report(&other, signature, &text).await;
    judged(&database, "conflict", 1).await;
    database.close().await;
    scene.is_uncertain(&second).await;
    // Nobody knows what became of it; its user pays nothing.
    scene.later(1_000).await;
    let job = scene.user.ended(&second).await;
    assert_eq!(
        (&job["status"], &job["credits"]["charged"]),
        (&json!("failed"), &json!(0)),
        "{job}"
    );
    assert_eq!(scene.fal.accepted().len(), 2);
    scene.finish().await;
}

/// Signed with a key that was published a moment ago, and nobody works for some minutes: it is
/// judged by when it came.
async fn it_waits_for_its_key(backend: Backend) {
    let mut scene = Scene::new(backend).await;
    let (first, _) = scene.lost("first").await;
    scene.fal.let_finish().await;
    scene.delivers(&first).await;
    assert_eq!(scene.fal.key_reads(), 1);
    scene.fal.rules().add(Rule::when("second", Fault::Callback(CallbackFault::Missing)));
    let (second, request) = scene.lost("second").await;
    scene.fal.rotate(false).unwrap();
    let text = body(&request.id);
    let signature = scene.fal.sign(&request.id, USER, now(), text.as_bytes());
    scene.report(&request, signature, &text).await;
    scene.is_uncertain(&second).await;
    assert_eq!(scene.fal.key_reads(), 1, "the keys were read a moment ago");
    scene.later(400).await;
    let database = scene.cluster.database().await;
    judged(&database, "bound", 2).await;
    database.close().await;
    assert_eq!(scene.fal.key_reads(), 2);
    scene.fal.let_finish().await;
    scene.delivers(&second).await;
    assert_eq!(scene.fal.accepted().len(), 2);
    scene.finish().await;
}
