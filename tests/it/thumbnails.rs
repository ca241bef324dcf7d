//! Thumbnails: of large pictures a small one beside the file, of small ones the file itself, of films
//! none; and they go when their picture goes.

use serde_json::{Value, json};

use crate::harness::{Answer, Api, Backend, Cluster};

on_both!(pictures_have_thumbnails, they_go_with_their_picture);

async fn made(user: &Api, model: &str, extra: Value) -> Value {
    let mut input = json!({"prompt": "a tomato"});
    for (name, value) in extra.as_object().unwrap() {
        input[name] = value.clone();
    }
    let job = user.post("/v1/jobs", &json!({"model": model, "input": input})).await.expect(202);
    let job = user.ended(job["id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    job
}

async fn get(user: &Api, file: &Value) -> Answer {
    Answer::to(user.http.get(file["url"].as_str().unwrap())).await.unwrap()
}

/// The file under its link is what the API says of it.
async fn check(user: &Api, file: &Value, size: (u32, u32)) {
    let answer = get(user, file).await;
    assert_eq!(answer.status, 200, "{file}");
    assert_eq!(answer.header("content-type"), file["content_type"].as_str());
    assert_eq!(file["bytes"], answer.bytes.len(), "{file}");
    let picture = image::load_from_memory(&answer.bytes).unwrap();
    assert_eq!((picture.width(), picture.height()), size, "{file}");
    assert_eq!((&file["width"], &file["height"]), (&json!(size.0), &json!(size.1)), "{file}");
}

async fn pictures_have_thumbnails(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(100_000);
    for format in ["png", "jpeg", "webp"] {
        let input = json!({"width": 1200, "height": 600, "format": format, "count": 2});
        let job = made(&user, "demo/sketch", input).await;
        for file in job["output"].as_array().unwrap() {
            check(&user, file, (1200, 600)).await;
            let small = &file["thumbnail"];
            assert_eq!(small["content_type"], "image/jpeg", "{file}");
            assert!(small["bytes"].as_i64() < file["bytes"].as_i64(), "{file}");
            check(&user, small, (320, 160)).await;
        }
        let [first, second] = [0, 1].map(|n| &job["output"][n]["thumbnail"]["url"]);
        assert_ne!(first, second);
    }
    let job = made(&user, "demo/sketch", json!({"width": 320, "height": 200})).await;
    let file = &job["output"][0];
    check(&user, &file["thumbnail"], (320, 200)).await;
    assert_eq!(file["thumbnail"]["url"], file["url"], "a small picture is its own thumbnail");
    let film = made(&user, "demo/clip", json!({"duration_seconds": 1})).await;
    assert_eq!(film["output"][0]["thumbnail"], Value::Null, "{film}");
    let listed = user.get("/v1/jobs?limit=3").await.expect(200);
    assert_eq!(listed["data"][2]["output"][0]["thumbnail"]["width"], 320, "{listed}");
    // Its link is a link like any other.
    let url = listed["data"][2]["output"][0]["thumbnail"]["url"].as_str().unwrap();
    let other = url.replace("-thumbnail?", "?");
    assert_ne!(other, url);
    Answer::to(user.http.get(other)).await.unwrap().problem(403);
    cluster.finish().await;
}

async fn they_go_with_their_picture(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let user = cluster.user(100_000);
    let large = json!({"width": 640, "height": 640});
    let job = made(&user, "demo/sketch", large.clone()).await;
    let kept = made(&user, "demo/sketch", large).await;
    let media = cluster.data().join("media/jobs");
    let files = |job: &Value| {
        let id = crate::harness::uuid_of(job["id"].as_str().unwrap()).simple().to_string();
        let all = std::fs::read_dir(media.join(&id[30..])).into_iter().flatten().flatten();
        all.filter(|file| file.file_name().to_string_lossy().starts_with(&id)).count()
    };
    assert_eq!((files(&job), files(&kept)), (2, 2), "a picture and its thumbnail");
    user.delete(&format!("/v1/jobs/{}", job["id"].as_str().unwrap())).await.expect(204);
    assert_eq!(files(&job), 0);
    assert_eq!(get(&user, &job["output"][0]["thumbnail"]).await.status, 404);
    cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", &(31 * 24 * 60 * 60).to_string());
    cluster.stop().await;
    cluster.start_all().await;
    crate::harness::eventually("its content is erased", async || (files(&kept) == 0).then_some(()))
        .await;
    cluster.finish().await;
}
