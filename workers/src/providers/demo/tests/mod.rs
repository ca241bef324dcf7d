//! The demo provider against the suite of all providers, and what is special about it.

mod files;

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use entities::ids::AttemptId;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::providers::conformance::{Kind, ProviderFixture, Refused, Shows, conforms};
use crate::providers::{Artifact, ArtifactSource};

/// How long the demo provider remembers here.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

struct Fixture {
    provider: DemoProvider,
    now: Arc<AtomicI64>,
    data: Arc<TempDir>,
}

impl Fixture {
    fn new() -> Self {
        let start = Arc::new(AtomicI64::new(1_760_000_000_000_000));
        Self::on(Arc::new(tempfile::tempdir().unwrap()), start)
    }

    fn on(data: Arc<TempDir>, now: Arc<AtomicI64>) -> Self {
        let clock = Arc::clone(&now);
        let clock: Clock = Arc::new(move || Timestamp(clock.load(Ordering::SeqCst)));
        Self { provider: DemoProvider::new(data.path(), KEPT, clock).unwrap(), now, data }
    }

    /// As another process on the same folder would see it.
    fn another(&self) -> Self {
        Self::on(Arc::clone(&self.data), Arc::clone(&self.now))
    }

    fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    async fn submit(&self, call: &Call) -> Accepted {
        match self.provider.submit(call).await.unwrap() {
            Submitted::Accepted(accepted) => accepted,
            Submitted::Finished(_) => panic!("the demo provider is never done at once"),
        }
    }

    async fn result(&self, call: &Call) -> Vec<(String, Bytes)> {
        let accepted = self.submit(call).await;
        self.look(call, &accepted).await
    }

    async fn look(&self, call: &Call, accepted: &Accepted) -> Vec<(String, Bytes)> {
        let Polled::Finished(finished) = self.provider.poll(call, accepted).await.unwrap() else {
            panic!("not finished")
        };
        let file = |artifact: Artifact| match artifact.source {
            ArtifactSource::Bytes(bytes) => (artifact.content_type.unwrap(), bytes),
            ArtifactSource::Url(_) | ArtifactSource::Stream(_) => panic!("not bytes"),
        };
        finished.artifacts.into_iter().map(file).collect()
    }
}

fn call(model: &str, input: Value) -> Call {
    Call {
        attempt_id: AttemptId::generate(),
        provider_model: model.to_owned(),
        input,
        callback_url: None,
        deadline: Timestamp(i64::MAX),
        unit_usd_micros: None,
    }
}

fn small(more: Value) -> Call {
    let mut input = json!({"prompt": "a hill", "width": 64, "height": 64});
    for (key, value) in more.as_object().unwrap() {
        input[key] = value.clone();
    }
    call("sketch", input)
}

#[async_trait]
impl ProviderFixture for Fixture {
    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    async fn good_call(&self) -> Call {
        small(json!({"delay_seconds": 100, "count": 2}))
    }

    async fn refused_calls(&self) -> Vec<Refused> {
        let refused = |call, kind, shows| Refused { call, kind, shows };
        let fail = |word| small(json!({"fail": word}));
        vec![
            refused(small(json!({"width": 3})), Kind::Rejected, Shows::AtSubmit),
            refused(fail("rejected"), Kind::Rejected, Shows::AtSubmit),
            refused(fail("moderated"), Kind::Moderated, Shows::AtPoll),
            refused(fail("throttled"), Kind::Throttled, Shows::AtSubmit),
            refused(fail("throttled"), Kind::Throttled, Shows::AtSubmit),
            refused(fail("unavailable"), Kind::Unavailable, Shows::AtSubmit),
            refused(call("portrait", json!({"prompt": "me"})), Kind::Account, Shows::AtSubmit),
        ]
    }

    async fn lost_call(&self) -> Call {
        small(json!({"fail": "unknown"}))
    }

    async fn let_finish(&self) {
        self.pass(3_600);
    }

    async fn accepted(&self) -> usize {
        accepted(self.data.path()).unwrap().len()
    }
}

#[tokio::test]
async fn it_conforms() {
    conforms(async || Fixture::new()).await;
}

#[tokio::test]
async fn throttled_is_accepted_at_the_third_try_and_starts_again_for_the_next() {
    let fixture = Fixture::new();
    let submit = async || fixture.provider.submit(&small(json!({"fail": "throttled"}))).await;
    for _ in 0..2 {
        for _ in 0..2 {
            let second = Some(Duration::from_secs(1));
            let refusal = submit().await.unwrap_err();
            assert_eq!(refusal, Refusal::Throttled { retry_after: second });
        }
        submit().await.unwrap();
    }
    assert_eq!(fixture.accepted().await, 2);
}

#[tokio::test]
async fn progress_follows_the_clock() {
    let fixture = Fixture::new();
    let call = small(json!({"delay_seconds": 100}));
    let accepted = fixture.submit(&call).await;
    assert_eq!(accepted.poll_after, Duration::from_secs(10));
    for (seconds, expected, next) in [(0, 0.0, 10), (25, 0.25, 10), (70, 0.95, 5)] {
        fixture.pass(seconds);
        match fixture.another().provider.poll(&call, &accepted).await.unwrap() {
            Polled::Running { progress, poll_after } => {
                assert_eq!((progress, poll_after), (Some(expected), Duration::from_secs(next)));
            }
            other => panic!("{other:?}"),
        }
    }
    fixture.pass(5);
    assert_eq!(fixture.look(&call, &accepted).await.len(), 1);
    // Done is done, even if the clock goes back.
    fixture.pass(-50);
    assert_eq!(fixture.another().look(&call, &accepted).await.len(), 1);
}

#[tokio::test]
async fn another_process_takes_over() {
    let fixture = Fixture::new();
    let call = small(json!({"delay_seconds": 60}));
    let accepted = fixture.submit(&call).await;
    let other = fixture.another();
    assert_eq!(other.provider.cancel(&call, &accepted).await.unwrap(), CancelOutcome::Canceled);
    fixture.pass(90);
    let polled = fixture.provider.poll(&call, &accepted).await.unwrap();
    assert!(matches!(polled, Polled::Canceled), "{polled:?}");
    let lost = small(json!({"fail": "unknown", "delay_seconds": 60}));
    fixture.provider.submit(&lost).await.unwrap_err();
    let found = fixture.another().provider.lookup(&lost).await.unwrap().unwrap();
    fixture.pass(60);
    let (mine, theirs) =
        (fixture.look(&lost, &found).await, fixture.another().look(&lost, &found).await);
    assert_eq!(mine, theirs);
}

#[tokio::test]
async fn it_does_not_hide_a_second_submit() {
    let fixture = Fixture::new();
    let call = small(json!({}));
    let (first, second) = (fixture.submit(&call).await, fixture.submit(&call).await);
    assert_ne!(first.request_id, second.request_id);
    let books = accepted(fixture.data.path()).unwrap();
    assert_eq!(books.len(), 2);
    assert!(books.iter().all(|line| line.attempt_id == call.attempt_id));
    let found = fixture.provider.lookup(&call).await.unwrap().unwrap();
    assert_eq!(found.request_id, first.request_id);
}

/// The prompt is the user's: it is in no file of the demo provider's, and when its time is over the
/// request is not known any more.
#[tokio::test]
async fn it_notes_no_prompt_and_forgets() {
    let fixture = Fixture::new();
    let call = small(json!({"prompt": "my secret garden", "delay_seconds": 5}));
    let accepted_call = fixture.submit(&call).await;
    let file = fixture.data.path().join("demo").join("accepted.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(&call.attempt_id.to_string()) && !text.contains("garden"), "{text}");
    fixture.pass(5);
    assert_eq!(fixture.look(&call, &accepted_call).await.len(), 1);
    let days = |days: i64| fixture.pass(days * 24 * 60 * 60);
    days(29);
    let second = fixture.another().submit(&small(json!({}))).await;
    assert_eq!(fixture.look(&call, &accepted_call).await.len(), 1, "it is remembered");
    days(2);
    let third = small(json!({}));
    fixture.submit(&third).await;
    fixture.provider.poll(&call, &accepted_call).await.unwrap_err();
    assert!(fixture.another().provider.lookup(&call).await.unwrap().is_none());
    let known = accepted(fixture.data.path()).unwrap();
    let known: Vec<_> = known.iter().map(|line| line.request_id.as_str()).collect();
    assert_eq!((known.len(), known[0]), (2, second.request_id.as_str()));
    assert!(fixture.provider.lookup(&third).await.unwrap().is_some());
}
