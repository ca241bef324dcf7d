//! fal.ai, simulated: what its models make, what it bills, and what is offered without its key.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    fal_faults::Scene,
    harness::{Answer, Backend, Cluster, Options, run},
};

on_both!(a_picture_and_a_film_are_made, a_picture_is_changed, canceled_while_it_runs);

#[test]
fn without_a_key_it_is_said_why_nothing_is_offered() {
    let folder = tempfile::tempdir().unwrap();
    let data = ("TIKTOMATO_DATA".to_owned(), folder.path().display().to_string());
    let text = |env: &[(String, String)], args: &[&str]| {
        let output = run(args, &env.to_vec());
        let both = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(both).unwrap())
    };
    let (ok, said) = text(std::slice::from_ref(&data), &["check-config"]);
    assert!(ok && said.contains("# fal: FAL_KEY is not set"), "{said}");
    let key = ("FAL_KEY".to_owned(), "id:quaggaokapi".to_owned());
    let (ok, said) = text(&[data, key], &["check-config"]);
    assert!(ok && said.contains("fal_key = \"set\"") && !said.contains("quagga"), "{said}");
    assert!(!said.contains("# fal:"), "{said}");
    let shared = [
        ("DATABASE_URL", "postgres://127.0.0.1:9/none"),
        ("REDIS_URL", "redis://127.0.0.1:9"),
        ("TIKTOMATO__SECRETS__MASTER", "0123456789abcdef0123456789abcdef"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (ok, said) = text(&shared, &["workers", "--pool", "fal=4"]);
    assert!(!ok && said.contains("the pool fal needs FAL_KEY"), "{said}");
}

#[tokio::test]
async fn without_a_key_its_models_are_absent() {
    let cluster = Cluster::start(Backend::Embedded, Options::default()).await;
    let user = cluster.user(1_000);
    let models = user.get("/v1/models").await.expect(200);
    let mut ids = models["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap());
    assert!(ids.all(|id| id.starts_with("demo/")), "{models}");
    let body = json!({"model": "fal/flux-schnell", "input": {"prompt": "x"}});
    assert_eq!(user.post("/v1/jobs", &body).await.problem(404), "unknown_model");
    cluster.finish().await;
}

async fn a_picture_and_a_film_are_made(backend: Backend) {
    let scene = Scene::new(backend).await;
    let picture = scene.submit("two tomatoes", json!({"count": 2, "format": "png"})).await;
    let film =
        json!({"model": "fal/kling-video", "input": {"prompt": "a film", "duration_seconds": 5}});
    let film = scene.user.post("/v1/jobs", &film).await.expect(202);
    let film = scene.user.ended(film["id"].as_str().unwrap()).await;
    let picture = scene.user.ended(&picture).await;
    assert_eq!((&picture["status"], &film["status"]), (&json!("succeeded"), &json!("succeeded")));
    assert_eq!(picture["attempts"][0]["provider"], "fal", "{picture}");
    let files = picture["output"].as_array().unwrap();
    assert_eq!(files.len(), 2, "{picture}");
    for file in files {
        assert_eq!((&file["width"], &file["height"]), (&json!(512), &json!(512)), "{file}");
        let url = file["url"].as_str().unwrap();
        let answer = Answer::to(scene.user.http.request(Method::GET, url)).await.unwrap();
        assert_eq!(image::guess_format(&answer.bytes).unwrap(), image::ImageFormat::Png);
    }
    assert_eq!(film["output"][0]["content_type"], "image/gif", "{film}");
    assert_eq!(
        (&picture["credits"]["charged"], &film["credits"]["charged"]),
        (&json!(16), &json!(470))
    );
    // Its bill and our books agree: two pictures of one begun megapixel, five seconds of film.
    let admin = scene.user.http.get(format!("{}/admin/requests", scene.fal.base()));
    let bill: Value = Answer::to(admin).await.unwrap().expect(200);
    assert_eq!(
        (&bill["billed_units"], bill["requests"].as_array().unwrap().len()),
        (&json!(7.0), 2)
    );
    let database = scene.cluster.database().await;
    let sum = async |column: &str| {
        let sql = format!(
            "SELECT CAST(SUM({column}) AS bigint) AS n FROM attempts WHERE provider = 'fal'"
        );
        database.number(&sql).await
    };
    assert_eq!(sum("billed_units_micros").await, 7_000_000);
    assert_eq!(sum("cost_usd_micros").await, 2 * 3_000 + 5 * 70_000);
    database.close().await;
    scene.finish().await;
}

async fn a_picture_is_changed(backend: Backend) {
    let scene = Scene::new(backend).await;
    scene.succeeds("a garden", json!({})).await;
    let first = &scene.fal.accepted()[0].id;
    let change = async |image: &str| {
        let input = json!({"prompt": "in winter", "image_url": image});
        let body = json!({"model": "fal/flux-dev-image", "input": input});
        scene.user.post("/v1/jobs", &body).await
    };
    let ended = async |job: Value| scene.user.ended(job["id"].as_str().unwrap()).await;
    let url = format!("{}/files/{first}/0.jpg", scene.fal.base());
    let job = ended(change(&url).await.expect(202)).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    // What cannot be fetched makes no job.
    let refused = change(&format!("{}/files/none/0.jpg", scene.fal.base())).await;
    refused.problem(422);
    assert_eq!(refused.json()["errors"][0]["pointer"], "/input/image_url");
    // What fal cannot read at our link is fal's to refuse.
    let upload = job["input"]["image_url"].as_str().unwrap();
    let made = scene.user.get(&format!("/v1/uploads/{upload}")).await.expect(200);
    let key = made["url"].as_str().unwrap().split("/media/").nth(1).unwrap();
    let file = scene.cluster.data().join("media").join(key.split('?').next().unwrap());
    std::fs::remove_file(file).unwrap();
    let job = ended(change(upload).await.expect(202)).await;
    assert_eq!(job["error"]["code"], "rejected", "{job}");
    let detail = job["error"]["detail"].as_str().unwrap();
    assert!(detail.starts_with("image_url: "), "{detail}");
    scene.finish().await;
}

async fn canceled_while_it_runs(backend: Backend) {
    let scene = Scene::new(backend).await;
    scene.fal.hold(true);
    let id = scene.submit("never mind", json!({})).await;
    scene.is_accepted(1).await;
    scene.user.cancel(&id).await;
    let job = scene.user.ended(&id).await;
    assert_eq!(job["status"], "canceled", "{job}");
    assert_eq!(job["credits"]["charged"], 0, "{job}");
    assert_eq!(scene.fal.accepted()[0].ended.as_deref(), Some("canceled"));
    scene.finish().await;
}
