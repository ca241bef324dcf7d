//! Pictures that cannot be handed over: too large for the provider, or nowhere to be read.

use serde_json::{Value, json};
use sim::{
    faults::Rule,
    huggingface::fault::{Failure, Fault, SubmitFault},
    input::Way,
    kie::fault::{Fault as KieFault, Refusal},
};

use crate::{
    fal_faults,
    handover::as_bytes,
    harness::{Api, Backend, eventually, is_terminal, run},
    market::{CREDITS, Keys, Scene, fails, outcomes},
    uploads::{data_uri, picture, upload},
};

on_both!(
    what_is_too_large_is_refused_at_once,
    a_large_picture_goes_where_it_fits,
    what_cannot_be_followed_is_rejected,
    a_file_that_kie_does_not_take,
    a_file_that_cannot_be_read_now,
);

const KONTEXT: &str = "black-forest-labs/flux.1-kontext-dev";

/// A picture of so many bytes: most of them are a comment.
fn large(bytes: usize) -> Vec<u8> {
    let small = picture([7, 7, 7], image::ImageFormat::Jpeg);
    let mut large = small[..2].to_vec();
    while large.len() + small.len() < bytes {
        large.extend([0xff, 0xef, 0xff, 0xff]);
        large.resize(large.len() + 0xfffd, 0);
    }
    large.extend(&small[2..]);
    large
}

fn request(model: &str, prompt: &str, picture: &Value) -> Value {
    json!({"model": model, "input": {"prompt": prompt, "image_url": picture}})
}

async fn uploaded(user: &Api, bytes: usize) -> Value {
    upload(user, large(bytes)).await.expect(201)["id"].clone()
}

/// Also what is refused for its size costs nothing, and the upload can be used elsewhere.
async fn what_is_too_large_is_refused_at_once(backend: Backend) {
    let scene = fal_faults::Scene::with(backend, as_bytes()).await;
    let id = uploaded(&scene.user, 11_000_000).await;
    let refused =
        scene.user.post("/v1/jobs", &request("fal/flux-dev-image", "too large", &id)).await;
    refused.problem(422);
    let error = &refused.json()["errors"][0];
    assert_eq!(error["pointer"], "/input/image_url", "{error}");
    assert!(error["detail"].as_str().unwrap().contains("10000000 bytes"), "{error}");
    let path = format!("/v1/uploads/{}", id.as_str().unwrap());
    scene.user.get(&path).await.expect(200);
    let id = uploaded(&scene.user, 5_000_000).await;
    let job = scene.user.post("/v1/jobs", &request("fal/flux-dev-image", "it fits", &id)).await;
    let job = scene.user.ended(job.expect(202)["id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    assert_eq!(scene.fal.accepted().len(), 1);
    scene.finish().await;
}

/// Two megabytes are more than replicate takes: the job is not given to it, whatever happens.
async fn a_large_picture_goes_where_it_fits(backend: Backend) {
    let scene = Scene::with(backend, Keys::HuggingFace, as_bytes()).await;
    let gone = Rule::always(Fault::Submit(SubmitFault::Refuse(Failure::gone())));
    scene.hf.rules().add(Rule { times: Some(2), ..gone });
    let small = json!(data_uri(&picture([1, 2, 3], image::ImageFormat::Png)));
    let submit = async |prompt: &str, picture: &Value| {
        let job = scene.user.post("/v1/jobs", &request(KONTEXT, prompt, picture)).await.expect(202);
        scene.user.ended(job["id"].as_str().unwrap()).await
    };
    let large = uploaded(&scene.user, 2_000_000).await;
    let job = submit("large", &large).await;
    assert_eq!(outcomes(&job), ["unavailable", "unavailable", "succeeded"], "{job}");
    scene.hf.rules().add(Rule::once(Fault::Submit(SubmitFault::Refuse(Failure::gone()))));
    let job = submit("small", &small).await;
    assert_eq!(outcomes(&job), ["unavailable", "succeeded"], "{job}");
    let models: Vec<String> = scene.hf.accepted().into_iter().map(|entry| entry.model).collect();
    assert_eq!(models, ["fal-ai/flux.1-kontext-dev", "sim/flux.1-kontext-dev"]);
    assert!(scene.hf.accepted().iter().all(|entry| entry.files[0].way == Way::Data));
    scene.finish().await;
}

/// Our link leads nowhere, and nobody has said so: the provider refuses the picture, and nothing is
/// charged.
async fn what_cannot_be_followed_is_rejected(backend: Backend) {
    let dead = vec![("TIKTOMATO__MEDIA__PUBLIC_URL", "http://127.0.0.1:9".to_owned())];
    let scene = Scene::with(backend, Keys::Both, dead).await;
    let sent = json!(data_uri(&picture([1, 2, 3], image::ImageFormat::Png)));
    for (model, prompt) in [(KONTEXT, "at Hugging Face"), ("qwen/qwen-image-edit", "at kie.ai")] {
        let job = scene.user.post("/v1/jobs", &request(model, prompt, &sent)).await.expect(202);
        let job = scene.user.ended(job["id"].as_str().unwrap()).await;
        fails(prompt, &job, "rejected", &["rejected"]);
    }
    assert_eq!((scene.hf.accepted().len(), scene.kie.accepted().len()), (1, 1));
    assert_eq!(scene.user.credits().await, (CREDITS, 0));
    scene.finish().await;
}

/// The media store is in trouble: the job waits for it, and no provider hears of it before.
async fn a_file_that_cannot_be_read_now(backend: Backend) {
    let scene = fal_faults::Scene::with(backend, as_bytes()).await;
    let (before, _) = scene.user.credits().await;
    let id = uploaded(&scene.user, 20_000).await;
    let database = scene.cluster.database().await;
    let key = database.lines("SELECT key AS line FROM uploads").await.remove(0);
    database.close().await;
    let file = scene.cluster.data().join("media").join(key);
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside).unwrap();
    // A link to itself: nobody can read it, and it is not missing either.
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let job = scene.user.post("/v1/jobs", &request("fal/flux-dev-image", "wait", &id)).await;
    let job = job.expect(202)["id"].as_str().unwrap().to_owned();
    let waits = eventually("it was tried", async || {
        let job = scene.user.job(&job).await;
        (outcomes(&job).first() == Some(&"unavailable")).then_some(job)
    })
    .await;
    assert!(!is_terminal(&waits), "{waits}");
    assert!(scene.cluster.logs().contains("its files cannot be read"));
    assert!(scene.fal.accepted().is_empty());
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    let job = scene.user.ended(&job).await;
    assert_eq!((&job["status"], outcomes(&job).last()), (&json!("succeeded"), Some(&"succeeded")));
    assert_eq!(scene.fal.accepted().len(), 1);
    let charged = job["credits"]["charged"].as_i64().unwrap();
    assert_eq!(scene.user.credits().await, (before - charged, 0));
    scene.finish().await;
}

/// Nothing was bought by that: it is tried again, and then the next route has its turn.
async fn a_file_that_kie_does_not_take(backend: Backend) {
    let scene = Scene::with(backend, Keys::Both, as_bytes()).await;
    let sent = json!(data_uri(&picture([1, 2, 3], image::ImageFormat::Png)));
    let submit = async |prompt: &str| {
        let body = request("qwen/qwen-image-edit", prompt, &sent);
        let job = scene.user.post("/v1/jobs", &body).await.expect(202);
        scene.user.ended(job["id"].as_str().unwrap()).await
    };
    let broken = KieFault::Upload(Refusal::inside_200(500, "storage error"));
    scene.kie.rules().add(Rule::once(broken.clone()));
    let job = submit("once").await;
    assert_eq!(outcomes(&job), ["succeeded"], "{job}");
    assert_eq!((job["attempts"][0]["provider"].as_str(), scene.kie.uploaded()), (Some("kieai"), 1));
    scene.kie.rules().add(Rule::always(broken));
    let job = submit("always").await;
    assert_eq!(outcomes(&job), ["unavailable", "succeeded"], "{job}");
    assert_eq!((scene.kie.accepted().len(), scene.hf.accepted().len()), (1, 1));
    assert_eq!(scene.hf.accepted()[0].files[0].way, Way::Data);
    scene.finish().await;
}

#[test]
fn it_is_said_how_media_goes_where_no_link_leads() {
    let folder = tempfile::tempdir().unwrap();
    let base = [
        ("TIKTOMATO_DATA", folder.path().to_str().unwrap()),
        ("FAL_KEY", "id:secret"),
        ("HF_TOKEN", "hf_x"),
        ("KIE_API_KEY", "k"),
    ];
    let said = |more: &[(&str, &str)]| {
        let env = base.iter().chain(more);
        let env = env.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let output = run(&["check-config"], &env.collect());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let closed = said(&[]);
    let because = "because media.public_url http://127.0.0.1:8080 cannot be called from there";
    for way in [
        "fal as bytes (in the call, at most 10000000 bytes of a job)",
        "huggingface as bytes (in the call, at most 1000000 bytes of a job)",
        "huggingface as bytes (in the call, at most 10000000 bytes of a job)",
        "kieai as bytes (uploaded there, at most 10000000 bytes of a file)",
    ] {
        let line = format!("# inputs: media goes to {way}, {because}");
        assert!(closed.contains(&line), "{line}\n{closed}");
    }
    let public = [("TIKTOMATO__MEDIA__PUBLIC_URL", "https://media.example.com")];
    assert!(!said(&public).contains("as bytes"));
    let told = said(&[public[0], ("TIKTOMATO__INPUTS__AS_BYTES", "true")]);
    assert!(told.contains("because inputs.as_bytes is set"), "{told}");
    let models = folder.path().join("models.toml");
    let text = std::fs::read_to_string("config/models.toml").unwrap();
    let text = text.replace("FLUX.1-Kontext-dev:replicate", "FLUX.1-Kontext-dev:hf-inference");
    std::fs::write(&models, text).unwrap();
    let args = ["check-config", "--models", models.to_str().unwrap()];
    let env = base.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let output = run(&args, &env.collect());
    let text = String::from_utf8(output.stdout).unwrap();
    let line = "# inputs: media cannot be handed to black-forest-labs/FLUX.1-Kontext-dev:hf-inference at huggingface, so this route to black-forest-labs/flux.1-kontext-dev is not offered";
    assert!(text.contains(line), "{text}");
}
