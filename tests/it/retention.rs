//! Content is deleted when its time is over, also after a restart with a moved clock.

use std::fs;

use image::ImageFormat;
use reqwest::Method;
use serde_json::json;

use crate::{
    harness::{Answer, Backend, Cluster, eventually, sketch, uuid_of},
    uploads::picture,
};

on_both!(content_goes_when_its_time_is_over, uploads_go_when_their_time_is_over);

const DAYS_31: u64 = 31 * 24 * 60 * 60;

async fn content_goes_when_its_time_is_over(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let secret = "a walrus that nobody else would ask for";
    let id = user.submit(&json!({"prompt": secret})).await;
    let job = user.until(&id, "succeeded").await;
    let url = job["output"][0]["url"].as_str().unwrap().to_owned();
    let key = url.split("/media/").nth(1).unwrap().split('?').next().unwrap();
    let file = cluster.data().join("media").join(key);
    assert!(file.is_file());
    let credits = user.credits().await;

    cluster.stop().await;
    cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", &DAYS_31.to_string());
    cluster.start_all().await;
    let gone = eventually("the content is erased", async || {
        let job = user.job(&id).await;
        (job["input"] == json!({})).then_some(job)
    })
    .await;
    assert_eq!(gone["status"], "succeeded", "what was paid for stays known");
    assert_eq!(gone["output"], json!([]));
    assert!(!file.exists(), "{file:?} is still there");
    let answer = Answer::to(user.http.get(&url)).await.unwrap();
    assert!(answer.status.is_client_error(), "{}", answer.status);
    assert_eq!(user.credits().await, credits);
    assert!(!cluster.logs().contains(secret));

    cluster.stop().await;
    let database = cluster.database().await;
    let left = "SELECT count(*) AS n FROM jobs WHERE CAST(input AS text) LIKE '%walrus%' \
                OR CAST(resolved AS text) LIKE '%walrus%'";
    assert_eq!(database.number(left).await, 0);
    database.close().await;
    let mut left = walk(&cluster.data().join("media"));
    // A health check that was cut off by the stop leaves its five bytes to the daily clean-up.
    left.retain(|path| !path.to_string_lossy().contains("/staging/probe-"));
    assert!(left.is_empty(), "{left:?}");
    cluster.start_all().await;
    cluster.finish().await;
}

async fn uploads_go_when_their_time_is_over(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let (mut ids, mut files) = (Vec::new(), Vec::new());
    for colour in [[1, 2, 3], [4, 5, 6]] {
        let bytes = picture(colour, ImageFormat::Png);
        let made = Answer::to(user.request(Method::POST, "/v1/uploads").body(bytes)).await.unwrap();
        let id = made.expect(201)["id"].as_str().unwrap().to_owned();
        let name = uuid_of(&id).simple().to_string();
        let file = cluster.data().join(format!("media/uploads/{}/{name}", &name[30..]));
        assert!(file.is_file(), "{file:?}");
        files.push(file);
        ids.push(id);
    }
    // Shortly before its end the first one is used once more: that job keeps it.
    days_later(&mut cluster, 29).await;
    let job = user.submit(&json!({"image": ids[0]})).await;
    user.until(&job, "succeeded").await;
    for id in &ids {
        user.get(&format!("/v1/uploads/{id}")).await.expect(200);
    }
    days_later(&mut cluster, 31).await;
    eventually("the file is deleted", async || (!files[1].exists()).then_some(())).await;
    user.get(&format!("/v1/uploads/{}", ids[1])).await.problem(404);
    assert!(files[0].is_file(), "a job keeps it");
    user.get(&format!("/v1/uploads/{}", ids[0])).await.expect(200);
    // Neither is used any more, so that nothing is kept for ever.
    for id in &ids {
        let again = user.post("/v1/jobs", &sketch(&json!({"image": id}))).await;
        assert_eq!(again.problem(422), "invalid_input");
    }
    days_later(&mut cluster, 60).await;
    let database = cluster.database().await;
    eventually("the rest goes with its job", async || {
        let left = database.number("SELECT count(*) AS n FROM uploads").await;
        (left == 0 && !files[0].exists()).then_some(())
    })
    .await;
    database.close().await;
    user.get(&format!("/v1/uploads/{}", ids[0])).await.problem(404);
    assert!(cluster.admin(&["privacy-report"]).0);
    cluster.finish().await;
}

async fn days_later(cluster: &mut Cluster, days: u64) {
    cluster.stop().await;
    cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", &(days * 86_400).to_string());
    cluster.start_all().await;
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
