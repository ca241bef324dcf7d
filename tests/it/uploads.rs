//! Images that users hand in: as files, as data, as URLs; who may use them, and how they go.

use std::{
    io::{Cursor, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Backend, Cluster, Options, eventually, sketch, uuid_of};

on_both!(
    an_upload_comes_and_goes,
    what_is_no_picture_is_refused,
    a_job_uses_what_was_handed_in,
    a_url_is_fetched_once_and_only_from_allowed_places,
    what_came_with_a_job_goes_with_it
);

pub(crate) fn picture(colour: [u8; 3], format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image: DynamicImage = RgbImage::from_pixel(40, 30, Rgb(colour)).into();
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(crate) fn data_uri(bytes: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(bytes))
}

pub(crate) async fn upload(user: &Api, bytes: Vec<u8>) -> Answer {
    Answer::to(user.request(Method::POST, "/v1/uploads").body(bytes)).await.unwrap()
}

/// A form with one file in it.
async fn upload_form(user: &Api, name: &str, bytes: &[u8]) -> Answer {
    let head = format!(
        "--edge\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a.png\"\r\n\
         Content-Type: text/html\r\n\r\n"
    );
    let body = [head.as_bytes(), bytes, b"\r\n--edge--\r\n"].concat();
    let request = user.request(Method::POST, "/v1/uploads");
    let request = request.header("Content-Type", "multipart/form-data; boundary=edge");
    Answer::to(request.body(body)).await.unwrap()
}

fn file_of(cluster: &Cluster, url: &str) -> std::path::PathBuf {
    let key = url.split("/media/").nth(1).unwrap().split('?').next().unwrap();
    cluster.data().join("media").join(key)
}

async fn an_upload_comes_and_goes(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let (user, stranger) = (cluster.user(0), cluster.user(0));
    let bytes = picture([9, 9, 9], ImageFormat::Png);
    for answer in [upload(&user, bytes.clone()).await, upload_form(&user, "file", &bytes).await] {
        let made = answer.expect(201);
        let id = made["id"].as_str().unwrap();
        assert!(id.starts_with("upload_") && made["object"] == "upload", "{made}");
        assert_eq!((&made["width"], &made["height"]), (&json!(40), &json!(30)));
        assert_eq!(
            (&made["content_type"], &made["bytes"]),
            (&json!("image/png"), &json!(bytes.len()))
        );
        let path = format!("/v1/uploads/{id}");
        assert_eq!(answer.header("location"), Some(path.as_str()));
        let url = made["url"].as_str().unwrap();
        let file = Answer::to(user.http.get(url)).await.unwrap();
        assert_eq!((file.status.as_u16(), &file.bytes), (200, &bytes));
        let cached = file.header("cache-control").unwrap();
        let seconds: u64 = cached.strip_prefix("private, max-age=").unwrap().parse().unwrap();
        assert!(seconds <= 3_600, "{cached}");
        assert_eq!(user.get(&path).await.expect(200)["id"], id);
        stranger.get(&path).await.problem(404);
        stranger.delete(&path).await.problem(404);
        let stored = file_of(&cluster, url);
        assert!(stored.is_file());
        user.delete(&path).await.expect(204);
        assert!(!stored.exists());
        user.get(&path).await.problem(404);
        user.delete(&path).await.problem(404);
    }
    let database = cluster.database().await;
    eventually("the rows go", async || {
        (database.number("SELECT count(*) AS n FROM uploads").await == 0).then_some(())
    })
    .await;
    database.close().await;
    cluster.finish().await;
}

async fn what_is_no_picture_is_refused(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(1_000);
    let jpeg = picture([1, 2, 3], ImageFormat::Jpeg);
    let mut bomb = picture([0, 0, 0], ImageFormat::Png);
    bomb[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x40, 0]);
    let bad = [
        Vec::new(),
        b"<html><script>alert(1)</script></html>".to_vec(),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(),
        jpeg[..jpeg.len() - 2].to_vec(),
        bomb,
        [b"\0\0\0\x18ftypavif".as_slice(), &[0; 100]].concat(),
    ];
    for bytes in &bad {
        upload(&user, bytes.clone()).await.problem(422);
        upload_form(&user, "file", bytes).await.problem(422);
    }
    upload_form(&user, "other", &jpeg).await.problem(422);
    let anonymous = user.http.post(format!("{}/v1/uploads", user.base)).body(jpeg.clone());
    Answer::to(anonymous).await.unwrap().problem(401);
    let images: Vec<Value> = bad[1..]
        .iter()
        .map(|bytes| json!(data_uri(bytes)))
        .chain([
            json!("data:image/png;base64,***"),
            json!("data:image/png,plain"),
            json!("upload_00000000000000000000000000000000"),
            json!("upload_x"),
            json!("tomato"),
            json!(""),
            json!(7),
            json!("file:///etc/passwd"),
            json!("http://example.com/a.png"),
            json!(format!("{}/v1/credits", cluster.base)),
            json!("https://127.0.0.1/"),
            json!("https://[::ffff:169.254.169.254]/latest/meta-data/"),
            json!("https://localhost/a.png"),
        ])
        .collect();
    for image in images {
        let answer = user.post("/v1/jobs", &sketch(&json!({"image": image}))).await;
        answer.problem(422);
        assert_eq!(answer.json()["errors"][0]["pointer"], "/input/image", "{image}");
    }
    assert_eq!(user.credits().await, (1_000, 0));
    let database = cluster.database().await;
    eventually("nothing is left", async || {
        (database.number("SELECT count(*) AS n FROM uploads").await == 0).then_some(())
    })
    .await;
    database.close().await;
    cluster.finish().await;
}

async fn made(user: &Api, id: &str) -> RgbImage {
    let job = user.until(id, "succeeded").await;
    let url = job["output"][0]["url"].as_str().unwrap().to_owned();
    let file = Answer::to(user.http.get(url)).await.unwrap();
    image::load_from_memory(&file.bytes).unwrap().into_rgb8()
}

async fn a_job_uses_what_was_handed_in(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let (user, stranger) = (cluster.user(10_000), cluster.user(10_000));
    let bytes = picture([255, 0, 0], ImageFormat::Png);
    let handed = upload(&user, bytes.clone()).await.expect(201);
    let id = handed["id"].as_str().unwrap();
    let plain = made(&user, &user.submit(&json!({})).await).await;
    let by_id = user.submit(&json!({"image": id})).await;
    assert_eq!(user.job(&by_id).await["input"]["image"], id);
    let red = made(&user, &by_id).await;
    for (with, without) in red.pixels().zip(plain.pixels()) {
        assert_eq!(with.0[0], without.0[0].midpoint(255), "the picture shines through");
        assert_eq!(with.0[1], without.0[1] / 2);
    }
    let by_data = user.submit(&json!({"image": data_uri(&bytes)})).await;
    let input = user.job(&by_data).await["input"].clone();
    assert!(input["image"].as_str().unwrap().starts_with("upload_"), "not the bytes: {input}");
    assert_eq!(made(&user, &by_data).await, red);
    // Another's upload is none.
    let answer = stranger.post("/v1/jobs", &sketch(&json!({"image": id}))).await;
    answer.problem(422);
    // While a job lives, what it uses stays.
    let live = user.submit(&json!({"image": id, "delay_seconds": 600})).await;
    user.until(&live, "running").await;
    let path = format!("/v1/uploads/{id}");
    assert_eq!(user.delete(&path).await.problem(409), "upload_in_use");
    user.cancel(&live).await;
    user.until(&live, "canceled").await;
    user.delete(&path).await.expect(204);
    let answer = user.post("/v1/jobs", &sketch(&json!({"image": id}))).await;
    answer.problem(422);
    // A job that cannot be paid takes nothing in.
    let poor = cluster.user(0);
    let answer = poor.post("/v1/jobs", &sketch(&json!({"image": data_uri(&bytes)}))).await;
    answer.problem(402);
    let database = cluster.database().await;
    let left = format!(
        "SELECT count(*) AS n FROM uploads u JOIN workspaces w ON w.id = u.workspace_id \
         JOIN users o ON o.id = w.owner_id WHERE o.email = '{}'",
        poor.email
    );
    assert_eq!(database.number(&left).await, 0);
    database.close().await;
    cluster.finish().await;
}

/// A server on loopback that counts its visitors and always shows the same picture.
pub(crate) fn gallery(bytes: Vec<u8>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, visits) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&visits);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4_096];
            let read = connection.read(&mut request).unwrap_or(0);
            let head = if request[..read].starts_with(b"GET /away") {
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n"
                    .to_owned()
            } else {
                let length = bytes.len();
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {length}\r\n\r\n"
                )
            };
            drop(connection.write_all(head.as_bytes()));
            if head.contains("200 OK") {
                drop(connection.write_all(&bytes));
            }
        }
    });
    (address, visits)
}

async fn a_url_is_fetched_once_and_only_from_allowed_places(backend: Backend) {
    let (allowed, visits) = gallery(picture([0, 0, 255], ImageFormat::Png));
    let (closed, never) = gallery(picture([0, 0, 255], ImageFormat::Png));
    let env = vec![("TIKTOMATO__INPUTS__ALLOW_PRIVATE", allowed.to_string())];
    let cluster = Cluster::start(backend, Options { env, ..Options::default() }).await;
    let user = cluster.user(10_000);
    let body = sketch(&json!({"image": format!("http://{allowed}/a.png")}));
    // A quote fetches nothing.
    user.quote(&body).await;
    assert_eq!(visits.load(Ordering::SeqCst), 0);
    let first = user.post_once("once", &body).await.expect(202);
    assert!(first["input"]["image"].as_str().unwrap().starts_with("upload_"), "{first}");
    assert_eq!(visits.load(Ordering::SeqCst), 1);
    let again = user.post_once("once", &body).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.expect(202)["id"], first["id"]);
    let other = sketch(&json!({"image": format!("http://{allowed}/b.png")}));
    assert_eq!(user.post_once("once", &other).await.problem(422), "idempotency_key_reused");
    assert_eq!(visits.load(Ordering::SeqCst), 1, "a replay fetches nothing");
    made(&user, first["id"].as_str().unwrap()).await;
    for url in [format!("http://{closed}/a.png"), format!("http://{allowed}/away")] {
        let answer = user.post("/v1/jobs", &sketch(&json!({"image": url}))).await;
        answer.problem(422);
        assert_eq!(answer.json()["errors"][0]["pointer"], "/input/image");
    }
    assert_eq!(never.load(Ordering::SeqCst), 0, "the closed one was never called");
    cluster.finish().await;
}

async fn what_came_with_a_job_goes_with_it(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let bytes = picture([3, 200, 3], ImageFormat::Png);
    let job = user.submit(&json!({"image": data_uri(&bytes)})).await;
    user.until(&job, "succeeded").await;
    let id = user.job(&job).await["input"]["image"].as_str().unwrap().to_owned();
    let path = format!("/v1/uploads/{id}");
    let url = user.get(&path).await.expect(200)["url"].as_str().unwrap().to_owned();
    let file = file_of(&cluster, &url);
    // A second job uses the same one, so it stays when the first one is deleted.
    let second = user.submit(&json!({"image": id})).await;
    user.until(&second, "succeeded").await;
    user.delete(&format!("/v1/jobs/{job}")).await.expect(204);
    assert!(file.is_file());
    user.get(&path).await.expect(200);
    user.delete(&format!("/v1/jobs/{second}")).await.expect(204);
    assert!(!file.exists(), "gone with its last job");
    user.get(&path).await.problem(404);
    // Another, whose time runs out: the job keeps it until its own content is erased.
    let third = user.submit(&json!({"image": data_uri(&bytes)})).await;
    user.until(&third, "succeeded").await;
    let id = user.job(&third).await["input"]["image"].as_str().unwrap().to_owned();
    let url = user.get(&format!("/v1/uploads/{id}")).await.expect(200)["url"].take();
    let file = file_of(&cluster, url.as_str().unwrap());
    assert!(file.is_file());
    cluster.stop().await;
    cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", &(31 * 86_400).to_string());
    cluster.start_all().await;
    let database = cluster.database().await;
    let row =
        format!("SELECT count(*) AS n FROM uploads WHERE id = {}", database.literal(uuid_of(&id)));
    eventually("the upload goes with its job's content", async || {
        (database.number(&row).await == 0 && !file.exists()).then_some(())
    })
    .await;
    database.close().await;
    cluster.finish().await;
}
