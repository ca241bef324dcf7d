//! The same thing said in other ways: Hugging Face's answers and mappings, media on another host, pages
//! where JSON belongs, and the gateway in front of kie.ai.

use sim::{
    faults::Rule,
    huggingface::{
        Shape,
        fault::{Failure, Fault, MediaFault, SubmitFault},
    },
    kie::fault::{Fault as KieFault, MediaFault as KieMedia},
};

use crate::{
    harness::{Answer, Backend, Options, eventually},
    market::{CREDITS, Keys, QWEN, Scene, fails, outcomes, providers},
    routing::metric_becomes,
    uploads::{gallery, picture},
};

on_both!(
    pictures_of_hf_inference,
    mappings_of_the_hub,
    media_on_another_host,
    pages_instead_of_answers,
    kie_takes_us_for_nobody,
    kie_takes_us_for_nobody_while_a_task_runs,
);

/// Answered by together with the picture in the answer.
const FLUX: &str = "black-forest-labs/flux.1-schnell";

/// Answered by hf-inference with the picture itself; no model of the catalogue goes there.
const SD: &str = "test/sd";

const SD_ENTRY: &str = r#"
[[model]]
id = "test/sd"
kind = "image"
description = "For a test."
price = { per = "image", credits = 10 }
example = { prompt = "a tomato" }

[model.input]
type = "object"
additionalProperties = false
required = ["prompt"]

[model.input.properties]
prompt = { type = "string", minLength = 1, maxLength = 500 }

[[model.routes]]
provider = "huggingface"
provider_model = "sim/SD:hf-inference"
"#;

async fn with_sd(backend: Backend) -> Scene {
    let models = format!("{}\n{SD_ENTRY}", include_str!("../../config/models.toml"));
    let options = Options { models: vec![(None, models)], ..Options::default() };
    Scene::from(backend, Keys::HuggingFace, options).await
}

/// The bytes of the only file that a job made.
async fn file(scene: &Scene, job: &serde_json::Value) -> Vec<u8> {
    let url = job["output"][0]["url"].as_str().unwrap();
    Answer::to(scene.user.http.get(url)).await.unwrap().bytes
}

async fn pictures_of_hf_inference(backend: Backend) {
    let scene = with_sd(backend).await;
    let cases = [
        ("as bytes", None),
        ("as base64", Some(SubmitFault::Base64)),
        ("as an address", Some(SubmitFault::Output)),
        ("late", Some(SubmitFault::Late(1_500))),
    ];
    let mut count = 0;
    for shape in [Shape::List, Shape::Object] {
        scene.hf.shape(shape);
        for (words, fault) in &cases {
            let prompt = format!("{words}, {shape:?}.");
            if let Some(fault) = fault {
                scene.hf.rules().add(Rule::when(&prompt, Fault::Submit(fault.clone())));
            }
            let job = scene.succeeds(SD, &prompt).await;
            assert_eq!(outcomes(&job), ["succeeded"], "{job}");
            let made = sim::media::picture(&prompt, 96, 64, false, false).unwrap();
            assert_eq!(file(&scene, &job).await, made.bytes, "{prompt}");
            count += 1;
        }
    }
    assert_eq!(scene.hf.accepted().len(), count);
    let charged = 10 * i64::try_from(count).unwrap();
    assert_eq!(scene.user.credits().await, (CREDITS - charged, 0));
    scene.finish().await;
}

/// As a list, as an object as it once was, and not at all for a while.
async fn mappings_of_the_hub(backend: Backend) {
    for shape in [Shape::List, Shape::Object] {
        let scene = Scene::new(backend, Keys::HuggingFace).await;
        scene.hf.shape(shape);
        for (model, prompt) in
            [(QWEN, "by fal-ai"), (FLUX, "by together"), ("wan-ai/wan2.2-t2v", "a film by fal-ai")]
        {
            let job = scene.succeeds(model, prompt).await;
            assert_eq!(outcomes(&job), ["succeeded"], "{shape:?}: {job}");
        }
        let models: Vec<String> = scene.hf.accepted().into_iter().map(|call| call.model).collect();
        let expected = [
            "fal-ai/qwen-image",
            "black-forest-labs/FLUX.1-schnell",
            "fal-ai/wan2.2-t2v-a14b/text-to-video",
        ];
        assert_eq!(models, expected, "{shape:?}");
        scene.finish().await;
    }
    let scene = Scene::new(backend, Keys::HuggingFace).await;
    scene.hf.shape(Shape::Down);
    let id = scene.submit(QWEN, "the hub is down").await;
    eventually("it was refused", async || {
        let job = scene.user.job(&id).await;
        (outcomes(&job).first() == Some(&"unavailable")).then_some(())
    })
    .await;
    scene.hf.shape(Shape::List);
    let job = scene.user.ended(&id).await;
    assert_eq!(outcomes(&job).last(), Some(&"succeeded"), "{job}");
    assert_eq!(scene.hf.accepted().len(), 1);
    scene.finish().await;
}

/// Media is read from the hosts of the settings, and from no other.
async fn media_on_another_host(backend: Backend) {
    let shown = picture([40, 80, 120], image::ImageFormat::Png);
    let (address, visits) = gallery(shown.clone());
    let other = format!("http://{address}");
    let hosts = ["TIKTOMATO__PROVIDERS__HF_MEDIA_HOSTS", "TIKTOMATO__PROVIDERS__KIE_MEDIA_HOSTS"];
    for (keys, model) in [(Keys::HuggingFace, QWEN), (Keys::Kie, QWEN), (Keys::HuggingFace, SD)] {
        let env = hosts.map(|name| (name, other.clone())).to_vec();
        let models = format!("{}\n{SD_ENTRY}", include_str!("../../config/models.toml"));
        let options = Options { env, models: vec![(None, models)], ..Options::default() };
        let scene = Scene::from(backend, keys, options).await;
        let elsewhere = Fault::Media(MediaFault::Elsewhere(other.clone()));
        scene.hf.rules().add(Rule::when("there", elsewhere));
        for prompt in ["there", "here"] {
            scene.hf.rules().add(Rule::when(prompt, Fault::Submit(SubmitFault::Output)));
        }
        let elsewhere = KieFault::Media(KieMedia::Elsewhere(other.clone()));
        scene.kie.rules().add(Rule::when("there", elsewhere));
        let before = visits.load(std::sync::atomic::Ordering::SeqCst);
        let job = scene.succeeds(model, "there").await;
        assert_eq!(file(&scene, &job).await, shown, "{job}");
        assert!(visits.load(std::sync::atomic::Ordering::SeqCst) > before);
        // The provider's own host is not in the list.
        let job = scene.user.ended(&scene.submit(model, "here").await).await;
        fails("a host that is not allowed", &job, "media_failed", &["failed"]);
        scene.finish().await;
    }
}

/// A page with an error says nothing about the call: what may have been accepted is not sent again,
/// and a look is repeated.
async fn pages_instead_of_answers(backend: Backend) {
    let scene = with_sd(backend).await;
    let refuse = |status| Fault::Submit(SubmitFault::Refuse(Failure::page(status)));
    let unknown = ("provider_outcome_unknown", "unknown");
    let cases = [
        (SD, refuse(500), unknown),
        (SD, refuse(503), unknown),
        (SD, Fault::Submit(SubmitFault::Page(200)), unknown),
        (QWEN, refuse(502), unknown),
        (FLUX, refuse(504), unknown),
        (FLUX, refuse(422), ("rejected", "rejected")),
    ];
    let mut jobs = Vec::new();
    for (number, (model, fault, expected)) in cases.into_iter().enumerate() {
        let (prompt, name) = (format!("page {number}."), format!("{model} {fault:?}"));
        scene.hf.rules().add(Rule::when(&prompt, fault));
        jobs.push((name, scene.submit(model, &prompt).await, expected));
    }
    for (name, id, (code, outcome)) in &jobs {
        fails(name, &scene.user.ended(id).await, code, &[outcome]);
    }
    assert_eq!(scene.hf.accepted().len(), 1, "five were answered by something in front");
    for (prompt, fault) in
        [("status", Fault::Look(Failure::page(503))), ("result", Fault::Result(Failure::page(500)))]
    {
        scene.hf.rules().add(Rule { times: Some(2), ..Rule::when(prompt, fault) });
        let job = scene.succeeds(QWEN, prompt).await;
        assert_eq!(outcomes(&job), ["succeeded"], "{prompt}: {job}");
    }
    assert_eq!(scene.user.credits().await, (CREDITS - 2 * 54, 0));
    scene.finish().await;
}

const KIE: &str = "provider_account_problem{provider=\"kieai\"}";

/// `error code: 1010`: nobody's call comes through, so another provider makes it, and an operator
/// is told.
async fn kie_takes_us_for_nobody(backend: Backend) {
    let scene = Scene::new(backend, Keys::Both).await;
    scene.succeeds(QWEN, "before").await;
    scene.kie.block(true);
    let job = scene.succeeds(QWEN, "blocked").await;
    assert_eq!(outcomes(&job), ["account", "succeeded"], "{job}");
    assert_eq!(providers(&job), ["kieai", "huggingface"], "{job}");
    assert!(!job.to_string().contains("1010"), "{job}");
    metric_becomes(&scene.cluster, KIE, 1).await;
    assert!(scene.cluster.logs().contains("error code: 1010"), "an operator must be told");
    scene.kie.block(false);
    metric_becomes_again(&scene).await;
    assert_eq!(scene.hf.accepted()[0].input["prompt"], "blocked");
    scene.finish().await;
}

/// It is used again, and the alarm ends.
async fn metric_becomes_again(scene: &Scene) {
    eventually("kie.ai is used again", async || {
        let number = scene.kie.accepted().len() + scene.hf.accepted().len();
        let job = scene.succeeds(QWEN, &format!("again {number}.")).await;
        (providers(&job) == ["kieai"]).then_some(())
    })
    .await;
    metric_becomes(&scene.cluster, KIE, 0).await;
}

/// A task that runs meanwhile is not given up, and nothing is made twice.
async fn kie_takes_us_for_nobody_while_a_task_runs(backend: Backend) {
    let scene = Scene::new(backend, Keys::Kie).await;
    scene.kie.hold(true);
    let id = scene.submit(QWEN, "running").await;
    scene.stands(&id, &["accepted"], "running").await;
    scene.kie.block(true);
    // Its callback comes, and the look that it asks for finds the door shut.
    scene.kie.let_finish().await;
    eventually("a look was refused", async || {
        scene.cluster.logs().contains("error code: 1010").then_some(())
    })
    .await;
    scene.stands(&id, &["accepted"], "running").await;
    scene.kie.block(false);
    let job = scene.user.ended(&id).await;
    assert_eq!(outcomes(&job), ["succeeded"], "{job}");
    assert_eq!(scene.kie.accepted().len(), 1);
    assert_eq!(scene.user.credits().await, (CREDITS - 54, 0));
    scene.finish().await;
}
