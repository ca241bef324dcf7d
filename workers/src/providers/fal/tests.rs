//! The adapter against a simulator of fal.ai: the suite of all providers, and what is special.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicI64, AtomicUsize, Ordering},
};

use config::settings::{Mode, Settings, Sources};
use entities::ids::AttemptId;
use serde_json::{Value, json};
use sim::{
    fal::{
        Fal,
        fault::{Failure, Fault, RunFault, SubmitFault},
    },
    faults::Rule,
    serve::Server,
};

use super::*;
use crate::providers::{
    ArtifactSource,
    conformance::{Kind, ProviderFixture, Refused, Shows, conforms},
};

const START: i64 = 1_760_000_000;
const MODEL: &str = "fal-ai/flux/schnell";

struct Fixture {
    fal: Fal,
    _server: Server,
    provider: FalProvider,
    now: Arc<AtomicI64>,
    calls: AtomicUsize,
}

fn provider(more: &[(&str, &str)], now: &Arc<AtomicI64>) -> FalProvider {
    let env: BTreeMap<String, String> =
        more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let settings = Settings::load(Sources { file: None, env, mode: Mode::Embedded }).unwrap();
    let now = Arc::clone(now);
    let clock: Clock = Arc::new(move || Timestamp(now.load(Ordering::SeqCst) * 1_000_000));
    FalProvider::new(&settings.providers, true, clock).unwrap()
}

impl Fixture {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(more: &[(&str, &str)]) -> Self {
        let (fal, server) = sim::fal::start().await.unwrap();
        fal.hold(true);
        let now = Arc::new(AtomicI64::new(START));
        let (base, keys) = (fal.base(), format!("{}/.well-known/jwks.json", fal.base()));
        let mut env = vec![
            ("FAL_KEY", sim::fal::KEY),
            ("TIKTOMATO__PROVIDERS__FAL_URL", &base),
            ("TIKTOMATO__PROVIDERS__FAL_JWKS_URL", &keys),
            ("TIKTOMATO__PROVIDERS__FAL_API_URL", &base),
            ("TIKTOMATO__PROVIDERS__FAL_MEDIA_HOSTS", &base),
            ("TIKTOMATO__PROVIDERS__FAL_USER_ID", sim::fal::USER),
        ];
        env.extend(more);
        let provider = provider(&env, &now);
        Self { fal, _server: server, provider, now, calls: AtomicUsize::new(0) }
    }

    /// A call whose prompt has a name of its own, for a fault of its own.
    fn call(&self, fault: Option<Fault>) -> Call {
        let name = format!("call {}.", self.calls.fetch_add(1, Ordering::SeqCst));
        if let Some(fault) = fault {
            self.fal.rules().add(Rule::when(&name, fault));
        }
        let size = json!({"width": 64, "height": 48});
        let input = json!({"prompt": name, "image_size": size, "num_images": 2});
        let attempt_id = AttemptId::generate();
        let callback = format!("http://127.0.0.1:9/callbacks/fal/{attempt_id}?mac=m");
        Call {
            attempt_id,
            provider_model: MODEL.to_owned(),
            input,
            callback_url: Some(callback.parse().unwrap()),
            deadline: Timestamp((START + 600) * 1_000_000),
            unit_usd_micros: Some(3_000),
        }
    }

    fn refused(&self, fault: Fault, kind: Kind) -> Refused {
        let shows = if matches!(fault, Fault::Submit(_)) { Shows::AtSubmit } else { Shows::AtPoll };
        Refused { call: self.call(Some(fault)), kind, shows }
    }

    async fn submit(&self, call: &Call) -> Accepted {
        match self.provider.submit(call).await.unwrap() {
            Submitted::Accepted(accepted) => accepted,
            Submitted::Finished(_) => panic!("the queue never answers at once"),
        }
    }

    async fn poll(&self, call: &Call, accepted: &Accepted) -> Polled {
        self.provider.poll(call, accepted).await.unwrap()
    }

    /// What becomes of a call with this fault.
    async fn end(&self, fault: Fault) -> Polled {
        let call = self.call(Some(fault));
        let accepted = self.submit(&call).await;
        self.fal.let_finish().await;
        self.poll(&call, &accepted).await
    }

    /// What the adapter makes of a callback about `id` that arrives now.
    async fn callback(
        &self,
        call: &Call,
        accepted: Option<&Accepted>,
        id: &str,
        user: &str,
    ) -> Callback {
        let body = json!({"request_id": id, "gateway_request_id": id, "status": "OK"}).to_string();
        let now = self.now.load(Ordering::SeqCst);
        let headers = headers(self.fal.sign(id, user, now, body.as_bytes()));
        let arrived = Timestamp(now * 1_000_000);
        self.provider.callback(call, accepted, &headers, body.as_bytes(), arrived).await
    }
}

fn headers(pairs: [(&'static str, String); 4]) -> HeaderMap {
    let pair = |(name, value): (&'static str, String)| {
        (http::HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap())
    };
    pairs.into_iter().map(pair).collect()
}

fn run(failure: Failure) -> Fault {
    Fault::Run(RunFault::Fail(failure))
}

fn refuse(failure: Failure) -> Fault {
    Fault::Submit(SubmitFault::Refuse(failure))
}

#[async_trait]
impl ProviderFixture for Fixture {
    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    async fn good_call(&self) -> Call {
        self.call(None)
    }

    async fn refused_calls(&self) -> Vec<Refused> {
        let page = Failure {
            status: 502,
            headers: Vec::new(),
            body: Value::from("<html>Bad Gateway</html>"),
        };
        let fail = |status, kind| run(Failure::list(status, kind, "It is not accepted."));
        let silent = RunFault::FailSilently(Failure::typed(500, "runner_server_error"));
        let end = self.provider.base.at("/");
        assert!(end.starts_with("http://127.0.0.1"), "{end}");
        vec![
            self.refused(refuse(Failure::list(422, "less_than_equal", "too big")), Kind::Rejected),
            self.refused(refuse(Failure::text(400, "no prompt")), Kind::Rejected),
            self.refused(refuse(Failure::throttled()), Kind::Throttled),
            self.refused(refuse(Failure::locked()), Kind::Account),
            self.refused(refuse(Failure::text(401, "bad key")), Kind::Account),
            self.refused(refuse(Failure::text(404, "Application not found")), Kind::Account),
            self.refused(refuse(page), Kind::Unknown),
            self.refused(refuse(Failure::typed(503, "runner_scheduling_failure")), Kind::Unknown),
            self.refused(refuse(Failure::text(307, "elsewhere")), Kind::Unknown),
            self.refused(fail(422, "image_too_small"), Kind::Rejected),
            self.refused(run(Failure::text(422, "steps must be below 12")), Kind::Rejected),
            self.refused(fail(422, "content_policy_violation"), Kind::Moderated),
            self.refused(run(Failure::text(422, "NSFW content detected")), Kind::Moderated),
            self.refused(Fault::Run(RunFault::Black), Kind::Moderated),
            self.refused(fail(422, "no_media_generated"), Kind::Unknown),
            self.refused(fail(400, "downstream_service_error"), Kind::Unknown),
            self.refused(fail(500, "downstream_service_unavailable"), Kind::Unknown),
            self.refused(run(Failure::start_deadline()), Kind::Unavailable),
            self.refused(run(Failure::typed(504, "startup_timeout")), Kind::Unknown),
            self.refused(Fault::Run(silent), Kind::Unknown),
            self.refused(Fault::Run(RunFault::Gone), Kind::Unknown),
            self.refused(Fault::Run(RunFault::Output(json!({"images": []}))), Kind::Unknown),
        ]
    }

    async fn lost_call(&self) -> Call {
        self.call(Some(Fault::Submit(SubmitFault::LoseAnswer)))
    }

    async fn let_finish(&self) {
        self.fal.let_finish().await;
    }

    async fn accepted(&self) -> usize {
        self.fal.accepted().len()
    }
}

#[tokio::test]
async fn it_conforms() {
    conforms(Fixture::new).await;
}

#[tokio::test]
async fn what_was_not_sent_is_unavailable_and_what_cannot_be_read_is_not_sent_again() {
    let fixture = Fixture::new().await;
    let now = Arc::new(AtomicI64::new(START));
    let nowhere = provider(
        &[("FAL_KEY", "k"), ("TIKTOMATO__PROVIDERS__FAL_URL", "http://127.0.0.1:9")],
        &now,
    );
    let refusal = nowhere.submit(&fixture.call(None)).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Unavailable(_)), "{refusal:?}");
    assert!(!nowhere.capabilities().recovers_lost_answers, "our account is not known");
    let garbage = fixture.call(Some(Fault::Submit(SubmitFault::Garbage)));
    let refusal = fixture.provider.submit(&garbage).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Unknown(_)), "{refusal:?}");
    assert_eq!(fixture.fal.accepted().len(), 1);
}

#[tokio::test]
async fn a_submit_says_what_the_service_needs_to_know() {
    let fixture = Fixture::new().await;
    let call = fixture.call(None);
    let request = fixture.provider.submission(&call).unwrap().build().unwrap();
    let header = |name: &str| request.headers()[name].to_str().unwrap();
    assert_eq!(header("x-fal-request-start-timeout"), "540");
    assert_eq!(
        header("x-fal-object-lifecycle-preference"),
        r#"{"expiration_duration_seconds":7200}"#
    );
    for (name, value) in
        [("x-fal-store-io", "0"), ("x-fal-no-retry", "1"), ("x-app-fal-disable-fallback", "1")]
    {
        assert_eq!(header(name), value);
    }
    fixture.submit(&call).await;
    let accepted = fixture.fal.accepted();
    assert_eq!(accepted[0].callback.as_deref(), call.callback_url.as_ref().map(url::Url::as_str));
    assert_eq!((&accepted[0].input, accepted[0].model.as_str()), (&call.input, MODEL));
}

#[tokio::test]
async fn the_key_follows_no_strange_link() {
    let fixture = Fixture::new().await;
    let (other, _server) = sim::fal::start().await.unwrap();
    for fault in [
        SubmitFault::Links(other.base()),
        SubmitFault::Links("http://127.0.0.1@evil.example".to_owned()),
        SubmitFault::NoLinks,
        SubmitFault::OldLinks,
    ] {
        let call = fixture.call(Some(Fault::Submit(fault.clone())));
        let accepted = fixture.submit(&call).await;
        fixture.fal.let_finish().await;
        let polled = fixture.poll(&call, &accepted).await;
        assert!(matches!(polled, Polled::Finished(_)), "{fault:?}: {polled:?}");
    }
}

#[tokio::test]
async fn units_are_recorded_also_for_what_was_refused() {
    let fixture = Fixture::new().await;
    let Polled::Finished(finished) = fixture.end(Fault::Run(RunFault::Odd)).await else {
        panic!("not finished")
    };
    assert_eq!(finished.usage.billed_units_micros, Some(2_000_000), "a megapixel for each of two");
    assert_eq!(finished.usage.cost_usd_micros, Some(6_000));
    let black = fixture.end(Fault::Run(RunFault::Black)).await;
    let Polled::Failed(Refusal::Moderated, usage) = black else { panic!("{black:?}") };
    assert_eq!(usage.cost_usd_micros, Some(6_000));
    let ArtifactSource::Url(url) = &finished.artifacts[0].source else { panic!("no URL") };
    assert!(fixture.provider.media_origins().allow(url));
}

#[tokio::test]
async fn a_look_that_fails_says_nothing_about_the_request() {
    let fixture = Fixture::new().await;
    let call = fixture.call(None);
    let accepted = fixture.submit(&call).await;
    fixture.fal.let_finish().await;
    let html = Value::from("<html>");
    for (failure, kind) in [
        (Failure::throttled().with("retry-after", "7"), Kind::Throttled),
        (Failure::locked(), Kind::Account),
        (Failure { status: 502, headers: Vec::new(), body: html.clone() }, Kind::Unknown),
        (Failure { status: 200, headers: Vec::new(), body: html }, Kind::Unknown),
        (Failure { status: 200, headers: Vec::new(), body: json!({"status": "?"}) }, Kind::Unknown),
        (Failure::text(404, "gone"), Kind::Unknown),
    ] {
        fixture.fal.rules().add(Rule::once(Fault::Look(failure)));
        let refusal = fixture.provider.poll(&call, &accepted).await.unwrap_err();
        assert_eq!(Kind::from(&refusal), kind, "{refusal}");
        if let Refusal::Throttled { retry_after } = refusal {
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
        }
    }
    assert!(matches!(fixture.poll(&call, &accepted).await, Polled::Finished(_)));
    fixture.fal.expire();
    let gone = fixture.poll(&call, &accepted).await;
    assert!(matches!(gone, Polled::Failed(Refusal::Unknown(_), _)), "{gone:?}");
}

/// A time from now, as HTTP writes it.
fn http_date(seconds: u64) -> String {
    let at = config::clock::Clock::system(0).now().after(Duration::from_secs(seconds));
    let at = chrono::DateTime::from_timestamp_micros(at.0).unwrap();
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[tokio::test]
async fn who_is_busy_says_when_to_ask_again() {
    let fixture = Fixture::new().await;
    let call = fixture.call(None);
    let accepted = fixture.submit(&call).await;
    for (status, value, range) in [
        (429, "7".to_owned(), 7..=7),
        (503, "7".to_owned(), 7..=7),
        (429, http_date(30), 28..=31),
        (503, http_date(30), 28..=31),
        (503, http_date(100_000), 3_600..=3_600),
        (503, "999999999".to_owned(), 3_600..=3_600),
    ] {
        let busy = Failure::typed(status, "busy").with("retry-after", &value);
        fixture.fal.rules().add(Rule::once(Fault::Look(busy.clone())));
        let refusal = fixture.provider.poll(&call, &accepted).await.unwrap_err();
        let Refusal::Throttled { retry_after: Some(wait) } = refusal else { panic!("{refusal:?}") };
        assert!(range.contains(&wait.as_secs()), "{status} {value}: {wait:?}");
        // A submit that is answered with 503 may have been accepted all the same.
        fixture.fal.rules().add(Rule::once(Fault::Submit(SubmitFault::Refuse(busy))));
        let refusal = fixture.provider.submit(&fixture.call(None)).await.unwrap_err();
        let wait = match refusal {
            Refusal::Throttled { retry_after: Some(wait) } if status == 429 => wait,
            Refusal::Busy { retry_after, .. } if status == 503 => retry_after,
            other => panic!("{other:?}"),
        };
        assert!(range.contains(&wait.as_secs()), "{status} {value}: {wait:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_input_is_told_in_words() {
    let fixture = Fixture::new().await;
    let told = fixture.end(run(Failure::list(422, "sequence_too_long", "At most 77 words."))).await;
    let Polled::Failed(Refusal::Rejected(text), _) = told else { panic!("{told:?}") };
    assert_eq!(text, "prompt: At most 77 words.");
}

#[tokio::test]
async fn looks_become_rarer() {
    let fixture = Fixture::new().await;
    let call = fixture.call(None);
    let accepted = fixture.submit(&call).await;
    for (seconds, expected) in [(0, 500), (20, 2_000), (600, 15_000)] {
        fixture.now.store(START + seconds, Ordering::SeqCst);
        let Polled::Running { poll_after, .. } = fixture.poll(&call, &accepted).await else {
            panic!("not running")
        };
        assert_eq!(poll_after, Duration::from_millis(expected), "after {seconds} s");
    }
}

#[tokio::test]
async fn a_signed_callback_binds_a_lost_answer() {
    let fixture = Fixture::new().await;
    let call = fixture.lost_call().await;
    fixture.provider.submit(&call).await.unwrap_err();
    let id = fixture.fal.accepted()[0].id.clone();
    // Signed, but there is no such request.
    let unknown = fixture.callback(&call, None, "another", sim::fal::USER).await;
    assert!(matches!(unknown, Callback::Ignored(_)), "{unknown:?}");
    let bound = fixture.callback(&call, None, &id, sim::fal::USER).await;
    let Callback::Bound(accepted) = bound else { panic!("{bound:?}") };
    assert_eq!(accepted.request_id, id);
    fixture.fal.let_finish().await;
    assert!(matches!(fixture.poll(&call, &accepted).await, Polled::Finished(_)));
    // Known now: the same callback again only wakes; one about another request does nothing.
    let again = fixture.callback(&call, Some(&accepted), &id, sim::fal::USER).await;
    assert!(matches!(again, Callback::WakeUp), "{again:?}");
    let other = fixture.callback(&call, Some(&accepted), "another", sim::fal::USER).await;
    assert!(matches!(other, Callback::Ignored(_)), "{other:?}");
    for known in [None, Some(&accepted)] {
        let foreign = fixture.callback(&call, known, &id, "user_somebody_else").await;
        assert!(matches!(foreign, Callback::Ignored(_)), "{foreign:?}");
    }
    let unsigned = HeaderMap::new();
    let arrived = Timestamp(START * 1_000_000);
    let nothing = fixture.provider.callback(&call, None, &unsigned, b"{}", arrived).await;
    assert!(matches!(nothing, Callback::Ignored(_)), "{nothing:?}");
    assert_eq!(fixture.fal.key_reads(), 1);
}

#[tokio::test]
async fn keys_are_read_once_a_day_and_once_more_when_none_fits() {
    let fixture = Fixture::new().await;
    let call = fixture.call(None);
    let id = fixture.submit(&call).await.request_id;
    let seen = async |offset: i64| {
        fixture.now.store(START + offset, Ordering::SeqCst);
        fixture.callback(&call, None, &id, sim::fal::USER).await
    };
    assert!(matches!(seen(0).await, Callback::Bound(_)));
    assert!(matches!(seen(86_399).await, Callback::Bound(_)));
    assert_eq!(fixture.fal.key_reads(), 1);
    fixture.fal.rotate(true).unwrap();
    assert!(matches!(seen(86_399).await, Callback::Bound(_)));
    assert_eq!(fixture.fal.key_reads(), 2);
    // Again too soon: it has to wait, and is then bound.
    fixture.fal.rotate(false).unwrap();
    assert!(matches!(seen(86_420).await, Callback::Later(_)));
    assert_eq!(fixture.fal.key_reads(), 2);
    assert!(matches!(seen(86_460).await, Callback::Bound(_)));
    assert_eq!(fixture.fal.key_reads(), 3);
    // A day later they are read again even though they fit.
    assert!(matches!(seen(86_460 + 86_400).await, Callback::Bound(_)));
    assert_eq!(fixture.fal.key_reads(), 4);
}

#[tokio::test]
async fn without_keys_a_callback_only_wakes() {
    let nowhere = [("TIKTOMATO__PROVIDERS__FAL_JWKS_URL", "http://127.0.0.1:9/")];
    let fixture = Fixture::with(&nowhere).await;
    let call = fixture.call(None);
    let accepted = fixture.submit(&call).await;
    let id = accepted.request_id.clone();
    let known = fixture.callback(&call, Some(&accepted), &id, sim::fal::USER).await;
    assert!(matches!(known, Callback::WakeUp), "{known:?}");
    let lost = fixture.callback(&call, None, &id, sim::fal::USER).await;
    assert!(matches!(lost, Callback::Later(_)), "{lost:?}");
}

#[tokio::test]
async fn its_copies_are_deleted_when_it_is_asked() {
    let fixture = Fixture::new().await;
    let call = fixture.call(None);
    let accepted = fixture.submit(&call).await;
    fixture.fal.let_finish().await;
    assert!(matches!(fixture.poll(&call, &accepted).await, Polled::Finished(_)));
    let id = accepted.request_id.as_str();
    assert_eq!(fixture.provider.forget(id).await, Ok(CopyFate::Deleted));
    assert_eq!(fixture.fal.accepted()[0].input, Value::Null);
    // Again, and of something that was never there: gone is gone.
    assert_eq!(fixture.provider.forget(id).await, Ok(CopyFate::Deleted));
    assert_eq!(fixture.provider.forget("never-there").await, Ok(CopyFate::Deleted));
    assert!(matches!(fixture.provider.forget("../../keys").await, Err(Refusal::Unknown(_))));
    // A key that may not: an operator must act, and it is asked again.
    let other = Fixture::with(&[("TIKTOMATO__PROVIDERS__FAL_ADMIN_KEY", "id:other")]).await;
    assert!(matches!(other.provider.forget(id).await, Err(Refusal::Account(_))));
}
