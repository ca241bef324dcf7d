//! A user's picture reaches the model that works on it, whole: whether it was uploaded, sent along or
//! pointed to, and whether the provider can follow links of ours or not.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sim::{
    input::{FileRead, Way},
    record::Entry,
};

use crate::{
    fal_faults,
    harness::{Api, Backend},
    market::{Keys, Scene},
    uploads::{data_uri, gallery, picture, upload},
};

on_both!(
    fal_follows_links,
    fal_gets_bytes,
    hugging_face_follows_links,
    hugging_face_gets_bytes,
    kie_follows_links,
    kie_keeps_files,
);

/// Nobody listens there, so whatever follows a link of ours finds nothing.
const DEAD: &str = "http://127.0.0.1:9";

/// A model at a provider, and the field for its picture.
type Made<'a> = (&'a str, &'a str);

pub(crate) fn as_bytes() -> Vec<(&'static str, String)> {
    vec![
        ("TIKTOMATO__INPUTS__AS_BYTES", "true".to_owned()),
        ("TIKTOMATO__MEDIA__PUBLIC_URL", DEAD.to_owned()),
    ]
}

/// Each model gets its own picture in each of the three ways; what the provider read of it.
async fn given(user: &Api, url: &str, pointed: &[u8], models: &[Made<'_>]) -> Vec<(Value, String)> {
    let mut jobs = Vec::new();
    for (number, (model, field)) in models.iter().enumerate() {
        let shade = u8::try_from(number).unwrap() * 10;
        let (own, sent) = ([shade, 1, 2], [shade, 3, 4]);
        let own = picture(own, image::ImageFormat::Jpeg);
        let sent = picture(sent, image::ImageFormat::Png);
        let id = upload(user, own.clone()).await.expect(201)["id"].clone();
        let ways = [
            ("uploaded", id, own),
            ("sent", json!(data_uri(&sent)), sent),
            ("pointed", json!(url), pointed.to_vec()),
        ];
        for (way, given, bytes) in ways {
            let given = if field.ends_with('s') { json!([given]) } else { given };
            let prompt = format!("{model} {way}");
            let input = json!({"prompt": prompt, *field: given});
            let job = user.post("/v1/jobs", &json!({"model": model, "input": input})).await;
            jobs.push((job.expect(202), prompt, hex::encode(Sha256::digest(&bytes))));
        }
    }
    let mut made = Vec::new();
    for (job, prompt, hash) in jobs {
        let job = user.ended(job["id"].as_str().unwrap()).await;
        assert_eq!(job["status"], "succeeded", "{prompt}: {job}");
        made.push((job, hash));
    }
    made
}

/// The provider read these pictures, each in this way.
fn read(made: &[(Value, String)], accepted: &[Entry], way: Way) {
    for (job, hash) in made {
        let prompt = &job["input"]["prompt"];
        let entry = accepted.iter().find(|entry| entry.input["prompt"] == *prompt).unwrap();
        let [FileRead { way: seen, sha256, .. }] = &entry.files[..] else {
            panic!("{prompt}: not one file was read: {:?}", entry.files)
        };
        assert_eq!((seen, sha256), (&way, hash), "{prompt}");
        let moves = job["output"][0]["duration_seconds"].is_number();
        assert_eq!(moves, entry.model.contains("video"), "{job}");
    }
    assert_eq!(made.len(), accepted.len());
}

const AT_FAL: [Made<'_>; 2] =
    [("fal/flux-dev-image", "image_url"), ("fal/kling-video-image", "image_url")];

async fn at_fal(backend: Backend, more: Vec<(&'static str, String)>, way: Way) {
    let pointed = picture([9, 9, 9], image::ImageFormat::Png);
    let (address, _) = gallery(pointed.clone());
    let mut env = vec![("TIKTOMATO__INPUTS__ALLOW_PRIVATE", address.to_string())];
    env.extend(more);
    let scene = fal_faults::Scene::with(backend, env).await;
    let url = format!("http://{address}/a.png");
    let made = given(&scene.user, &url, &pointed, &AT_FAL).await;
    read(&made, &scene.fal.accepted(), way);
    scene.finish().await;
}

async fn fal_follows_links(backend: Backend) {
    at_fal(backend, Vec::new(), Way::Link).await;
}

async fn fal_gets_bytes(backend: Backend) {
    at_fal(backend, as_bytes(), Way::Data).await;
}

async fn at_market(
    backend: Backend,
    keys: Keys,
    more: Vec<(&'static str, String)>,
    models: &[Made<'_>],
) -> (Scene, Vec<(Value, String)>) {
    let pointed = picture([9, 9, 9], image::ImageFormat::Png);
    let (address, _) = gallery(pointed.clone());
    let mut env = vec![("TIKTOMATO__INPUTS__ALLOW_PRIVATE", address.to_string())];
    env.extend(more);
    let scene = Scene::with(backend, keys, env).await;
    let url = format!("http://{address}/a.png");
    let made = given(&scene.user, &url, &pointed, models).await;
    (scene, made)
}

const AT_HUGGING_FACE: [Made<'_>; 3] = [
    ("black-forest-labs/flux.1-kontext-dev", "image_url"),
    ("qwen/qwen-image-edit", "image_url"),
    ("wan-ai/wan2.2-i2v", "image_url"),
];

async fn hugging_face_follows_links(backend: Backend) {
    let (scene, made) = at_market(backend, Keys::HuggingFace, Vec::new(), &AT_HUGGING_FACE).await;
    read(&made, &scene.hf.accepted(), Way::Link);
    scene.finish().await;
}

async fn hugging_face_gets_bytes(backend: Backend) {
    let (scene, made) = at_market(backend, Keys::HuggingFace, as_bytes(), &AT_HUGGING_FACE).await;
    read(&made, &scene.hf.accepted(), Way::Data);
    scene.finish().await;
}

const AT_KIE: [Made<'_>; 3] = [
    ("qwen/qwen-image-edit", "image_url"),
    ("google/nano-banana-edit", "image_urls"),
    ("wan-ai/wan2.2-i2v", "image_url"),
];

async fn kie_follows_links(backend: Backend) {
    let (scene, made) = at_market(backend, Keys::Kie, Vec::new(), &AT_KIE).await;
    read(&made, &scene.kie.accepted(), Way::Link);
    assert_eq!(scene.kie.uploaded(), 0);
    scene.finish().await;
}

async fn kie_keeps_files(backend: Backend) {
    let (scene, made) = at_market(backend, Keys::Kie, as_bytes(), &AT_KIE).await;
    // It follows links of its own.
    read(&made, &scene.kie.accepted(), Way::Link);
    let own = format!("{}/uploads/images/", scene.kie.base());
    for entry in scene.kie.accepted() {
        let places = sim::input::places(&entry.input);
        assert!(places.iter().all(|(_, place)| place.starts_with(&own)), "{places:?}");
    }
    assert_eq!(scene.kie.uploaded(), made.len());
    scene.finish().await;
}
