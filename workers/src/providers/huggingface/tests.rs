//! The adapter against a simulator of Hugging Face: the suite of all providers, once for each kind
//! of provider behind the router, and what is special.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use config::settings::{Mode, Settings, Sources};
use entities::ids::AttemptId;
use serde_json::json;
use sim::{
    faults::Rule,
    huggingface::{
        HuggingFace, Shape,
        fault::{Failure, Fault, RunFault, SubmitFault},
    },
    serve::Server,
};

use super::*;
use crate::providers::{
    ArtifactSource,
    conformance::{Kind, ProviderFixture, Refused, Shows, conforms},
};

const START: i64 = 1_760_000_000;

struct Fixture {
    hf: HuggingFace,
    _server: Server,
    provider: HuggingFaceProvider,
    clock: Clock,
    model: &'static str,
    calls: AtomicUsize,
}

impl Fixture {
    /// `model` decides which provider behind the router answers.
    async fn new(model: &'static str) -> Self {
        let (hf, server) = sim::huggingface::start(0).await.unwrap();
        let clock = Clock::manual(Timestamp(START * 1_000_000));
        let base = hf.base();
        let env: BTreeMap<String, String> = [
            ("HF_TOKEN", sim::huggingface::TOKEN),
            ("TIKTOMATO__PROVIDERS__HF_URL", base.as_str()),
            ("TIKTOMATO__PROVIDERS__HF_HUB_URL", base.as_str()),
            ("TIKTOMATO__PROVIDERS__HF_MEDIA_HOSTS", base.as_str()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let settings = Settings::load(Sources { file: None, env, mode: Mode::Embedded }).unwrap();
        let provider = HuggingFaceProvider::new(&settings.providers, clock.clone()).unwrap();
        // Providers that answer at once would never do so.
        hf.hold(!answers_at_once(model));
        Self { hf, _server: server, provider, clock, model, calls: AtomicUsize::new(0) }
    }

    /// A call whose prompt has a name of its own, for a fault of its own.
    fn call(&self, fault: Option<Fault>) -> Call {
        let name = format!("call {}.", self.calls.fetch_add(1, Ordering::SeqCst));
        if let Some(fault) = fault {
            self.hf.rules().add(Rule::when(&name, fault));
        }
        let mut input = json!({"prompt": name});
        if sim::input::wants_picture(self.model) {
            let picture = sim::media::picture("before", 8, 8, false, false).unwrap();
            let data = STANDARD.encode(&picture.bytes);
            input["image_url"] = json!(format!("data:image/png;base64,{data}"));
        }
        Call {
            attempt_id: AttemptId::generate(),
            provider_model: self.model.to_owned(),
            input,
            callback_url: None,
            deadline: Timestamp((START + 600) * 1_000_000),
            unit_usd_micros: Some(3_000),
        }
    }

    fn refused(&self, fault: Fault, kind: Kind) -> Refused {
        let shows = if matches!(fault, Fault::Submit(_)) { Shows::AtSubmit } else { Shows::AtPoll };
        Refused { call: self.call(Some(fault)), kind, shows }
    }

    async fn accepted_call(&self, fault: Option<Fault>) -> (Call, Accepted) {
        let call = self.call(fault);
        match self.provider.submit(&call).await.unwrap() {
            Submitted::Accepted(accepted) => (call, accepted),
            Submitted::Finished(_) => panic!("it should not answer at once"),
        }
    }
}

fn answers_at_once(model: &str) -> bool {
    model.ends_with(":hf-inference") || model == TOGETHER_IMAGE || model == REPLICATE_IMAGE
}

const FAL_IMAGE: &str = "sim/FLUX:fal-ai";
const FAL_VIDEO: &str = "sim/Wan-T2V:fal-ai";
const TOGETHER_IMAGE: &str = "sim/FLUX:together";
const TOGETHER_VIDEO: &str = "sim/Wan-T2V:together";
const REPLICATE_IMAGE: &str = "sim/FLUX:replicate";
const REPLICATE_VIDEO: &str = "sim/Wan-T2V:replicate";
const WAVESPEED: &str = "sim/Wan-I2V:wavespeed";
const HF_INFERENCE: &str = "sim/SD:hf-inference";

#[async_trait]
impl ProviderFixture for Fixture {
    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    async fn good_call(&self) -> Call {
        self.call(None)
    }

    async fn refused_calls(&self) -> Vec<Refused> {
        let refuse = |failure| Fault::Submit(SubmitFault::Refuse(failure));
        let wide =
            Failure::json(422, json!({"detail": [{"msg": "too wide", "type": "less_than"}]}));
        let nsfw = Failure::json(400, json!({"error": ["NSFW content detected"]}));
        let mut refused = vec![
            self.refused(refuse(wide), Kind::Rejected),
            self.refused(refuse(nsfw), Kind::Moderated),
            self.refused(refuse(Failure::depleted()), Kind::Account),
            self.refused(refuse(Failure::error(403, "no permission")), Kind::Account),
            self.refused(refuse(Failure::gone()), Kind::Unavailable),
            self.refused(refuse(Failure::loading(20.0)), Kind::Throttled),
            self.refused(refuse(Failure::throttled(7)), Kind::Throttled),
        ];
        if !answers_at_once(self.model) {
            let failed = |text: &str| Fault::Run(RunFault::Fail(text.to_owned()));
            refused.push(self.refused(failed("NSFW content"), Kind::Moderated));
        }
        refused
    }

    async fn lost_call(&self) -> Call {
        self.call(Some(Fault::Submit(SubmitFault::LoseAnswer)))
    }

    async fn let_finish(&self) {
        self.hf.let_finish().await;
    }

    async fn accepted(&self) -> usize {
        self.hf.accepted().len()
    }
}

#[tokio::test]
async fn it_conforms_through_a_queue() {
    conforms(async || Fixture::new(FAL_VIDEO).await).await;
    conforms(async || Fixture::new(TOGETHER_VIDEO).await).await;
    conforms(async || Fixture::new(REPLICATE_VIDEO).await).await;
    conforms(async || Fixture::new(WAVESPEED).await).await;
}

#[tokio::test]
async fn it_conforms_where_the_answer_is_the_result() {
    conforms(async || Fixture::new(HF_INFERENCE).await).await;
    conforms(async || Fixture::new(TOGETHER_IMAGE).await).await;
    conforms(async || Fixture::new(REPLICATE_IMAGE).await).await;
}

#[tokio::test]
async fn what_may_have_been_accepted_is_unknown() {
    let fixture = Fixture::new(FAL_IMAGE).await;
    for fault in [SubmitFault::Page(502), SubmitFault::Page(200)] {
        let call = fixture.call(Some(Fault::Submit(fault)));
        let refusal = fixture.provider.submit(&call).await.unwrap_err();
        assert_eq!(Kind::from(&refusal), Kind::Unknown, "{refusal}");
    }
    let overloaded = Failure::error(503, "overloaded");
    let call = fixture.call(Some(Fault::Submit(SubmitFault::Refuse(overloaded))));
    let refusal = fixture.provider.submit(&call).await.unwrap_err();
    assert_eq!(Kind::from(&refusal), Kind::Unknown, "a 503 without a reason: {refusal}");
}

#[tokio::test]
async fn the_hub_is_asked_once_an_hour_and_may_be_away_then() {
    for shape in [Shape::List, Shape::Object] {
        let fixture = Fixture::new(FAL_IMAGE).await;
        fixture.hf.shape(shape);
        for _ in 0..3 {
            fixture.accepted_call(None).await;
        }
        assert_eq!(fixture.hf.hub_reads(), 1);
        assert_eq!(fixture.hf.accepted()[0].model, "fal-ai/flux", "the path is doubled");
        fixture.hf.shape(Shape::Down);
        fixture.clock.advance(Duration::from_secs(3_600));
        fixture.accepted_call(None).await;
        // A read that fails is repeated at most twice.
        let reads = fixture.hf.hub_reads();
        assert!((2..=4).contains(&reads), "{reads} reads");
    }
}

#[tokio::test]
async fn without_a_mapping_nothing_is_sent() {
    let fixture = Fixture::new(FAL_IMAGE).await;
    for shape in [Shape::Down, Shape::Empty] {
        fixture.hf.shape(shape);
        let refusal = fixture.provider.submit(&fixture.call(None)).await.unwrap_err();
        assert_eq!(Kind::from(&refusal), Kind::Unavailable, "{refusal}");
        fixture.clock.advance(Duration::from_secs(3_600));
    }
    assert!(fixture.hf.accepted().is_empty());
}

#[tokio::test]
async fn a_route_that_is_gone_is_looked_up_again() {
    let fixture = Fixture::new(FAL_IMAGE).await;
    let gone = Fault::Submit(SubmitFault::Refuse(Failure::gone()));
    fixture.provider.submit(&fixture.call(Some(gone))).await.unwrap_err();
    fixture.accepted_call(None).await;
    assert_eq!(fixture.hf.hub_reads(), 2);
}

#[tokio::test]
async fn a_completed_call_can_still_have_failed() {
    let fixture = Fixture::new(FAL_IMAGE).await;
    for (failure, expected) in [
        (Failure::json(422, json!({"detail": "bad size"})), Some(Kind::Rejected)),
        (Failure::json(500, json!({"detail": "boom"})), Some(Kind::Unknown)),
        (Failure::page(502), None),
        (Failure::depleted(), None),
    ] {
        let fault = Fault::Result(failure.clone());
        let (call, accepted) = fixture.accepted_call(Some(fault)).await;
        fixture.hf.let_finish().await;
        match (fixture.provider.poll(&call, &accepted).await, expected) {
            (Ok(Polled::Failed(refusal, _)), Some(kind)) => assert_eq!(Kind::from(&refusal), kind),
            (Err(_), None) => {}
            other => panic!("{failure:?}: {other:?}"),
        }
    }
    let (call, accepted) = fixture.accepted_call(Some(Fault::Run(RunFault::Black))).await;
    fixture.hf.let_finish().await;
    let black = fixture.provider.poll(&call, &accepted).await;
    assert!(matches!(black, Ok(Polled::Failed(Refusal::Moderated, _))), "{black:?}");
}

#[tokio::test]
async fn a_result_that_is_gone_ends_the_call_once_it_is_old() {
    let fixture = Fixture::new(TOGETHER_VIDEO).await;
    let (call, accepted) = fixture.accepted_call(None).await;
    fixture.hf.let_finish().await;
    fixture.hf.expire();
    fixture.provider.poll(&call, &accepted).await.unwrap_err();
    fixture.clock.advance(YOUNG);
    let old = fixture.provider.poll(&call, &accepted).await;
    assert!(matches!(old, Ok(Polled::Failed(Refusal::Unknown(_), _))), "{old:?}");
}

#[tokio::test]
async fn hf_inference_answers_in_three_ways() {
    let fixture = Fixture::new(HF_INFERENCE).await;
    for fault in [None, Some(SubmitFault::Base64), Some(SubmitFault::Output)] {
        let by_place = fault == Some(SubmitFault::Output);
        let call = fixture.call(fault.map(Fault::Submit));
        let Ok(Submitted::Finished(finished)) = fixture.provider.submit(&call).await else {
            panic!("it answers at once")
        };
        assert_eq!(finished.artifacts.len(), 1);
        let is_place = matches!(finished.artifacts[0].source, ArtifactSource::Url(_));
        assert_eq!(is_place, by_place);
        assert_eq!(finished.usage.cost_usd_micros, Some(3_000));
    }
    assert_eq!(fixture.hf.leaks(), 0);
}
