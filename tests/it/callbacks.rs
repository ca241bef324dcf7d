//! What providers report: only to addresses that they were given, and never believed.

use config::{callbacks::CallbackLinks, secrets::MasterSecrets};
use entities::ids::AttemptId;
use reqwest::Url;
use serde_json::json;

use crate::harness::{Answer, Api, Backend, Cluster, Database, eventually, uuid_of};

on_both!(
    a_forged_report_is_not_stored,
    a_report_brings_the_next_look_forward,
    a_report_binds_a_lost_answer,
    reports_are_capped_and_go_with_the_job
);

/// Long after the test.
const NEVER: i64 = 4_000_000_000_000_000;

struct Fixture {
    cluster: Cluster,
    user: Api,
    database: Database,
    job: String,
    attempt: AttemptId,
    address: Url,
}

/// A job that runs for as long as it is let, and that nobody looks at by itself.
async fn fixture(backend: Backend) -> Fixture {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let job = user.submit(&json!({"delay_seconds": 3000})).await;
    user.until(&job, "running").await;
    let database = cluster.database().await;
    let row = database.literal(uuid_of(&job));
    eventually("nobody has it in hand", async || {
        let sql = format!(
            "UPDATE jobs SET next_poll_at = {NEVER} WHERE id = {row} AND state = 'running' \
             AND lease_until IS NULL"
        );
        (database.write(&sql).await == 1).then_some(())
    })
    .await;
    let attempts = database.attempts().await;
    let attempt = attempts.iter().find(|(_, of)| **of == uuid_of(&job)).unwrap();
    let attempt = AttemptId(*attempt.0);
    let secrets = MasterSecrets::new(&[cluster.master().into()]).unwrap();
    let links = CallbackLinks::new(secrets, cluster.base.parse().unwrap());
    let address = links.url("demo", attempt).unwrap();
    Fixture { cluster, user, database, job, attempt, address }
}

impl Fixture {
    async fn report(&self, address: &Url, body: impl Into<reqwest::Body>) -> Answer {
        Answer::to(self.user.http.post(address.clone()).body(body)).await.unwrap()
    }

    /// The provider's own id of the call.
    fn request_id(&self) -> String {
        let calls = std::fs::read_to_string(self.cluster.data().join("demo/accepted.jsonl"));
        let calls = calls.unwrap();
        let line = calls.lines().find(|line| line.contains(&self.attempt.to_string())).unwrap();
        let call: serde_json::Value = serde_json::from_str(line).unwrap();
        call["request_id"].as_str().unwrap().to_owned()
    }

    fn own(&self) -> String {
        self.database.literal(uuid_of(&self.job))
    }

    async fn judged(&self, verdict: &str, count: i64) {
        let sql = format!("SELECT count(*) AS n FROM callbacks WHERE verdict = '{verdict}'");
        eventually(&format!("{count} reports are judged {verdict}"), async || {
            (self.database.number(&sql).await == count).then_some(())
        })
        .await;
    }

    async fn number(&self, column: &str) -> i64 {
        let sql =
            format!("SELECT CAST({column} AS bigint) AS n FROM jobs WHERE id = {}", self.own());
        self.database.number(&sql).await
    }

    /// Cancels the job, which nobody looks at by itself.
    async fn canceled(&self) {
        self.user.cancel(&self.job).await;
        let wake = format!(
            "UPDATE jobs SET next_poll_at = 0 WHERE id = {} AND state = 'running' AND lease_until IS NULL",
            self.own()
        );
        eventually("the job is canceled", async || {
            self.database.write(&wake).await;
            (self.user.job(&self.job).await["status"] == "canceled").then_some(())
        })
        .await;
    }

    async fn end(self) {
        self.canceled().await;
        self.database.close().await;
        self.cluster.finish().await;
    }
}

async fn a_forged_report_is_not_stored(backend: Backend) {
    let f = fixture(backend).await;
    let body = json!({"request_id": f.request_id()}).to_string();
    let path = f.address.path().to_owned();
    let mac = f.address.query().unwrap().to_owned();
    let flipped = mac.replacen(&mac[4..5], if &mac[4..5] == "A" { "B" } else { "A" }, 1);
    let other = AttemptId::generate();
    for bad in [
        path.clone(),
        format!("{path}?mac="),
        format!("{path}?{flipped}"),
        format!("{path}?{mac}&{mac}"),
        format!("/callbacks/fal/{}?{mac}", f.attempt),
        format!("/callbacks/demo/{other}?{mac}"),
        format!("/callbacks/demo/x?{mac}"),
        format!("/callbacks/demo/{}/x?{mac}", f.attempt),
        "/callbacks/demo/".to_owned(),
    ] {
        let address = Url::parse(&f.cluster.base).unwrap().join(&bad).unwrap();
        f.report(&address, body.clone()).await.problem(404);
    }
    // The right MAC of a call that never was.
    let secrets = MasterSecrets::new(&[f.cluster.master().into()]).unwrap();
    let links = CallbackLinks::new(secrets, f.cluster.base.parse().unwrap());
    f.report(&links.url("demo", other).unwrap(), body.clone()).await.problem(404);
    f.report(&f.address, vec![b'x'; 1_100_000]).await.problem(413);
    assert_eq!(f.database.number("SELECT count(*) AS n FROM callbacks").await, 0);
    assert_eq!(f.number("next_poll_at").await, NEVER);
    f.end().await;
}

async fn a_report_brings_the_next_look_forward(backend: Backend) {
    let f = fixture(backend).await;
    for useless in ["", "no json", "{\"request_id\":\"demo_other\"}"] {
        assert_eq!(f.report(&f.address, useless).await.status, 200);
    }
    f.judged("ignored", 3).await;
    assert_eq!(f.number("next_poll_at").await, NEVER, "they change nothing");
    let (epoch, version) = (f.number("epoch").await, f.number("version").await);
    let body = json!({"request_id": f.request_id(), "status": "COMPLETED"}).to_string();
    assert_eq!(f.report(&f.address, body.clone()).await.status, 200);
    f.judged("woke", 1).await;
    eventually("it is looked at", async || (f.number("epoch").await > epoch).then_some(())).await;
    // What the report says of the result is not believed.
    assert_eq!(f.user.job(&f.job).await["status"], "running");
    assert!(f.number("version").await - version <= 1, "at most its progress has changed");
    // The same again is just another look.
    assert_eq!(f.report(&f.address, body).await.status, 200);
    f.judged("woke", 2).await;
    f.end().await;
}

async fn a_report_binds_a_lost_answer(backend: Backend) {
    let f = fixture(backend).await;
    let id = f.request_id();
    let lost = format!(
        "UPDATE jobs SET state = 'uncertain', epoch = epoch + 1, uncertain_until = {NEVER} \
         WHERE id = {} AND next_poll_at = {NEVER}",
        f.own()
    );
    assert_eq!(f.database.write(&lost).await, 1);
    let forget = format!(
        "UPDATE attempts SET request_id = NULL, handle = NULL, accepted_at = NULL, outcome = 'unknown' \
         WHERE job_id = {}",
        f.own()
    );
    assert_eq!(f.database.write(&forget).await, 1);
    assert_eq!(f.report(&f.address, "{\"request_id\":\"demo_forged\"}").await.status, 200);
    f.judged("ignored", 1).await;
    let state =
        format!("SELECT count(*) AS n FROM jobs WHERE state = 'uncertain' AND id = {}", f.own());
    assert_eq!(f.database.number(&state).await, 1);
    assert_eq!(f.report(&f.address, json!({"request_id": id}).to_string()).await.status, 200);
    f.judged("bound", 1).await;
    let bound = format!(
        "SELECT count(*) AS n FROM attempts WHERE request_id = '{id}' AND job_id = {}",
        f.own()
    );
    assert_eq!(f.database.number(&bound).await, 1);
    assert_eq!(f.user.job(&f.job).await["status"], "running");
    f.end().await;
}

async fn reports_are_capped_and_go_with_the_job(backend: Backend) {
    let f = fixture(backend).await;
    for _ in 0..25 {
        assert_eq!(f.report(&f.address, "nothing").await.status, 200);
    }
    let count = "SELECT count(*) AS n FROM callbacks";
    assert_eq!(f.database.number(count).await, 20);
    f.judged("ignored", 20).await;
    f.canceled().await;
    f.user.delete(&format!("/v1/jobs/{}", f.job)).await.expect(204);
    assert_eq!(f.database.number(count).await, 0);
    // A late one finds nothing to be stored with.
    assert_eq!(f.report(&f.address, "late").await.status, 200);
    assert_eq!(f.database.number(count).await, 0);
    f.database.close().await;
    f.cluster.finish().await;
}
