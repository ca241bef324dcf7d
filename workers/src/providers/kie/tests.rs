//! The adapter against a simulator of kie.ai: the suite of all providers, and what is special.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use config::{
    limiter::Room,
    settings::{Mode, Settings, Sources},
};
use entities::ids::AttemptId;
use serde_json::{Value, json};
use sim::{
    faults::Rule,
    kie::{
        Kie,
        fault::{CallbackFault, CreateFault, Fault, Refusal as Said, RunFault},
    },
    serve::Server,
};

use super::*;
use crate::providers::conformance::{Kind, ProviderFixture, Refused, Shows, conforms};

const START: i64 = 1_760_000_000;

struct Fixture {
    kie: Kie,
    _server: Server,
    provider: KieProvider,
    clock: Clock,
    calls: AtomicUsize,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(more: &[(&str, &str)]) -> Self {
        let (kie, server) = sim::kie::start(0).await.unwrap();
        kie.hold(true);
        let clock = Clock::manual(Timestamp(START * 1_000_000));
        let provider = provider(&kie, more, &clock);
        Self { kie, _server: server, provider, clock, calls: AtomicUsize::new(0) }
    }

    /// A call whose prompt has a name of its own, for a fault of its own.
    fn call(&self, fault: Option<Fault>) -> Call {
        let name = format!("call {}.", self.calls.fetch_add(1, Ordering::SeqCst));
        if let Some(fault) = fault {
            self.kie.rules().add(Rule::when(&name, fault));
        }
        let attempt_id = AttemptId::generate();
        let callback = format!("http://127.0.0.1:9/callbacks/kieai/{attempt_id}?mac=m");
        Call {
            attempt_id,
            provider_model: "google/nano-banana".to_owned(),
            input: json!({"prompt": name, "output_format": "png"}),
            callback_url: Some(callback.parse().unwrap()),
            deadline: Timestamp((START + 600) * 1_000_000),
            unit_usd_micros: None,
        }
    }

    fn refused(&self, fault: Fault, kind: Kind) -> Refused {
        let shows = if matches!(fault, Fault::Create(_)) { Shows::AtSubmit } else { Shows::AtPoll };
        Refused { call: self.call(Some(fault)), kind, shows }
    }

    async fn submit(&self, call: &Call) -> Accepted {
        match self.provider.submit(call).await.unwrap() {
            Submitted::Accepted(accepted) => accepted,
            Submitted::Finished(_) => panic!("kie.ai never answers at once"),
        }
    }

    async fn callback(&self, call: &Call, accepted: Option<&Accepted>, body: &Value) -> Callback {
        let (headers, body) = (HeaderMap::new(), body.to_string());
        let now = self.clock.now();
        self.provider.callback(call, accepted, &headers, body.as_bytes(), now).await
    }
}

fn provider(kie: &Kie, more: &[(&str, &str)], clock: &Clock) -> KieProvider {
    let base = kie.base();
    let mut env: BTreeMap<String, String> = [
        ("KIE_API_KEY", sim::kie::KEY),
        ("TIKTOMATO__PROVIDERS__KIE_URL", base.as_str()),
        ("TIKTOMATO__PROVIDERS__KIE_MEDIA_HOSTS", base.as_str()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let settings = Settings::load(Sources { file: None, env, mode: Mode::Embedded }).unwrap();
    KieProvider::new(&settings.providers, true, Limiter::local(), clock.clone()).unwrap()
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
        let refuse = |said| Fault::Create(CreateFault::Refuse(said));
        let inside = |code| refuse(Said::inside_200(code, "no"));
        let failed =
            |code: &str, text: &str| Fault::Run(RunFault::Fail(code.to_owned(), text.to_owned()));
        let moderated = refuse(Said::inside_200(400, "it violates the content policy"));
        let mut refused = vec![
            self.refused(inside(422), Kind::Rejected),
            self.refused(refuse(Said::inside_200(422, "no").as_message()), Kind::Rejected),
            self.refused(moderated, Kind::Moderated),
            self.refused(
                refuse(Said::inside_200(429, "slow down").with_status(429)),
                Kind::Throttled,
            ),
            self.refused(inside(402), Kind::Account),
            self.refused(inside(433), Kind::Account),
            self.refused(inside(455), Kind::Unavailable),
            self.refused(failed("500", "Internal error"), Kind::Unknown),
            self.refused(failed("422", "the image is too large"), Kind::Rejected),
            self.refused(failed("501", "flagged as NSFW"), Kind::Moderated),
            self.refused(Fault::Run(RunFault::NoResult), Kind::Unknown),
        ];
        let mut empty = self.call(None);
        empty.input = json!({"prompt": ""});
        refused.push(Refused { call: empty, kind: Kind::Rejected, shows: Shows::AtSubmit });
        refused
    }

    async fn lost_call(&self) -> Call {
        self.call(Some(Fault::Create(CreateFault::LoseAnswer)))
    }

    async fn let_finish(&self) {
        self.kie.let_finish().await;
    }

    async fn accepted(&self) -> usize {
        self.kie.accepted().len()
    }
}

#[tokio::test]
async fn it_conforms() {
    conforms(Fixture::new).await;
}

#[tokio::test]
async fn what_may_have_been_accepted_is_unknown() {
    let fixture = Fixture::new().await;
    for fault in [CreateFault::Page(502), CreateFault::Page(200), CreateFault::NoId] {
        let call = fixture.call(Some(Fault::Create(fault.clone())));
        let refusal = fixture.provider.submit(&call).await.unwrap_err();
        assert_eq!(Kind::from(&refusal), Kind::Unknown, "{fault:?}: {refusal}");
    }
    assert_eq!(fixture.kie.accepted().len(), 3);
}

#[tokio::test]
async fn no_more_than_twenty_tasks_within_ten_seconds_are_sent() {
    let fixture = Fixture::new().await;
    let (limiter, pace) = (Limiter::local(), fixture.provider.pace().unwrap());
    let calls: Vec<Call> = (0..30).map(|_| fixture.call(None)).collect();
    // As a worker does it.
    let sent = calls.iter().map(async |call| {
        match limiter.acquire(pace.name, pace.count, pace.per).await {
            Room::Ok(_) => Ok(fixture.provider.submit(call).await.unwrap()),
            Room::RetryAfter(wait) => Err(wait),
        }
    });
    let answers = futures::future::join_all(sent).await;
    let (good, waiting): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), waiting.len()), (20, 10));
    assert_eq!((fixture.kie.accepted().len(), fixture.kie.refused()), (20, 0));
}

#[tokio::test]
async fn looks_that_have_no_room_are_not_sent() {
    let fixture = Fixture::new().await;
    let call = fixture.call(None);
    let accepted = fixture.submit(&call).await;
    let looks = (0..30).map(|_| fixture.provider.poll(&call, &accepted));
    for look in futures::future::join_all(looks).await {
        assert!(matches!(look, Ok(Polled::Running { .. } | Polled::NotAsked { .. })), "{look:?}");
    }
    assert_eq!(fixture.kie.refused(), 0);
}

#[tokio::test]
async fn a_task_that_is_gone_has_failed_once_it_is_old() {
    let fixture = Fixture::new().await;
    let call = fixture.call(None);
    let accepted = fixture.submit(&call).await;
    fixture.kie.expire();
    let young = fixture.provider.poll(&call, &accepted).await;
    assert!(matches!(young, Err(Refusal::Unknown(_))), "{young:?}");
    fixture.clock.advance(YOUNG);
    let old = fixture.provider.poll(&call, &accepted).await;
    assert!(matches!(old, Ok(Polled::Failed(Refusal::Unknown(_), _))), "{old:?}");
}

#[tokio::test]
async fn an_unwritten_result_is_not_read_as_one() {
    let fixture = Fixture::new().await;
    for empty in [json!(""), json!(null), json!("{}")] {
        let call = fixture.call(Some(Fault::EmptyResult(empty)));
        let accepted = fixture.submit(&call).await;
        let look = fixture.provider.poll(&call, &accepted).await;
        assert!(matches!(look, Ok(Polled::Running { .. })), "{look:?}");
    }
}

#[tokio::test]
async fn what_a_task_used_is_booked() {
    let fixture = Fixture::new().await;
    let call = fixture.call(None);
    let accepted = fixture.submit(&call).await;
    fixture.kie.let_finish().await;
    match fixture.provider.poll(&call, &accepted).await.unwrap() {
        Polled::Finished(finished) => assert_eq!(
            finished.usage,
            Usage { cost_usd_micros: Some(20_000), billed_units_micros: Some(4_000_000) }
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn looks_keep_to_the_intervals_that_the_service_asks_for() {
    for (age, from, to) in
        [(0, 2, 3), (29, 2, 3), (30, 5, 10), (119, 5, 10), (120, 15, 30), (9_999, 15, 30)]
    {
        let at = |dice| next_look(Duration::from_secs(age), dice);
        assert_eq!(
            (at(0.0), at(1.0)),
            (Duration::from_secs(from), Duration::from_secs(to)),
            "{age}"
        );
    }
}

#[tokio::test]
async fn a_callback_only_wakes() {
    let fixture = Fixture::new().await;
    let call = fixture.call(None);
    let accepted = fixture.submit(&call).await;
    let id = accepted.request_id.as_str();
    for body in [
        json!({"code": 200, "data": {"taskId": id, "state": "success",
            "resultJson": "{\"resultUrls\":[\"https://evil.example/x.png\"]}"}}),
        json!({"data": {"task_id": id}}),
        json!({"taskId": id}),
    ] {
        let judged = fixture.callback(&call, Some(&accepted), &body).await;
        assert!(matches!(judged, Callback::WakeUp), "{judged:?}");
    }
    for body in [json!({"taskId": "task_other"}), json!({}), json!("x")] {
        let judged = fixture.callback(&call, Some(&accepted), &body).await;
        assert!(matches!(judged, Callback::Ignored(_)), "{judged:?}");
    }
    // Nothing that it says is believed.
    let look = fixture.provider.poll(&call, &accepted).await;
    assert!(matches!(look, Ok(Polled::Running { .. })), "{look:?}");
}

#[tokio::test]
async fn a_lost_call_is_found_by_a_callback_if_the_service_shows_that_it_is_ours() {
    let fixture = Fixture::new().await;
    let lost = fixture.lost_call().await;
    fixture.provider.submit(&lost).await.unwrap_err();
    let id = fixture.kie.accepted()[0].id.clone();
    let other = fixture.call(None);
    let other = fixture.submit(&other).await.request_id;
    let (mine, theirs) = (json!({"data": {"taskId": id}}), json!({"data": {"taskId": other}}));
    for body in [theirs, json!({"taskId": "task_unknown"}), json!({"taskId": "../x"}), json!({})] {
        let judged = fixture.callback(&lost, None, &body).await;
        assert!(matches!(judged, Callback::Ignored(_)), "{body}: {judged:?}");
    }
    match fixture.callback(&lost, None, &mine).await {
        Callback::Bound(accepted) => assert_eq!(accepted.request_id, id),
        other => panic!("{other:?}"),
    }
    let refused = Said::inside_200(500, "try again");
    fixture.kie.rules().add(Rule { times: Some(1), ..Rule::always(Fault::Look(refused)) });
    let judged = fixture.callback(&lost, None, &mine).await;
    assert!(matches!(judged, Callback::Later(_)), "{judged:?}");
}

#[tokio::test]
async fn with_a_key_a_callback_must_be_signed() {
    let key = ("TIKTOMATO__PROVIDERS__KIE_WEBHOOK_KEY", sim::kie::WEBHOOK_KEY);
    let fixture = Fixture::with(&[key]).await;
    let call = fixture.call(Some(Fault::Callback(CallbackFault::Missing)));
    let accepted = fixture.submit(&call).await;
    let judge = async |sign: bool, body: Option<Value>| {
        fixture.kie.sign(sign);
        let (headers, own) = fixture.kie.callback_of(&accepted.request_id).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            map.insert(name, value.parse().unwrap());
        }
        let body = body.map_or(own, |body| body.to_string());
        let time = map.get("x-webhook-timestamp").and_then(|time| time.to_str().ok()?.parse().ok());
        let now = Timestamp(time.unwrap_or(START) * 1_000_000);
        fixture.provider.callback(&call, Some(&accepted), &map, body.as_bytes(), now).await
    };
    assert!(matches!(judge(true, None).await, Callback::WakeUp));
    assert!(matches!(judge(false, None).await, Callback::Ignored(_)));
    // A good pair of headers fits any body about the same task, and no other task.
    let lie = json!({"data": {"taskId": accepted.request_id, "state": "fail"}});
    assert!(matches!(judge(true, Some(lie)).await, Callback::WakeUp));
    assert!(matches!(judge(true, Some(json!({"taskId": "task_x"}))).await, Callback::Ignored(_)));
}
