//! What a job made: signed links, their limits, and the bytes behind them.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, Api, Backend, Cluster};

on_both!(outputs_are_pictures, links_cannot_be_made_up, links_expire, ranges_are_served);

async fn made(user: &Api, extra: &serde_json::Value) -> serde_json::Value {
    let id = user.submit(extra).await;
    user.until(&id, "succeeded").await["output"][0].take()
}

async fn outputs_are_pictures(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(100_000);
    for (format, kind) in [("png", "image/png"), ("jpeg", "image/jpeg"), ("webp", "image/webp")] {
        let file = made(&user, &json!({"width": 96, "height": 64, "format": format})).await;
        let url = file["url"].as_str().unwrap();
        assert!(url.starts_with(&format!("{}/media/", cluster.base)), "{url}");
        let answer = Answer::to(user.http.get(url)).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some(kind)));
        assert_eq!(file["content_type"], kind);
        assert_eq!(file["bytes"], answer.bytes.len());
        let picture = image::load_from_memory(&answer.bytes).unwrap();
        assert_eq!((picture.width(), picture.height()), (96, 64));
    }
    let [first, again, other] = [1, 1, 2].map(|seed| json!({"seed": seed}));
    let mut pictures = Vec::new();
    for extra in [first, again, other] {
        let file = made(&user, &extra).await;
        let url = file["url"].as_str().unwrap();
        pictures.push(Answer::to(user.http.get(url)).await.unwrap().bytes);
    }
    assert_eq!(pictures[0], pictures[1], "the same seed draws the same picture");
    assert_ne!(pictures[0], pictures[2], "another seed draws another one");
    cluster.finish().await;
}

async fn links_cannot_be_made_up(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let file = made(&user, &json!({})).await;
    let other = made(&user, &json!({"seed": 8})).await;
    let url = reqwest::Url::parse(file["url"].as_str().unwrap()).unwrap();
    let other = reqwest::Url::parse(other["url"].as_str().unwrap()).unwrap();
    let of = |name: &str| {
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap()
    };
    let (exp, sig) = (of("exp"), of("sig"));
    let later = (exp.parse::<i64>().unwrap() + 3_600).to_string();
    let flipped: String = sig
        .char_indices()
        .map(|(at, c)| if at == 5 { if c == 'A' { 'B' } else { 'A' } } else { c })
        .collect();
    let path = url.path();
    let bad = [
        format!("{path}?exp={exp}&sig={flipped}"),
        format!("{path}?exp={later}&sig={sig}"),
        format!("{path}?exp={exp}&sig="),
        format!("{path}?exp={exp}"),
        format!("{path}?sig={sig}"),
        format!("{path}?exp=99999999999999999999&sig={sig}"),
        format!("{path}?exp=x&sig={sig}"),
        path.to_owned(),
        format!("{}?exp={exp}&sig={sig}", other.path()),
        format!("/media/..%2f..%2fetc%2fpasswd?exp={exp}&sig={sig}"),
        format!("/media/%00?exp={exp}&sig={sig}"),
    ];
    for path in bad {
        let answer = Answer::to(user.http.get(format!("{}{path}", cluster.base))).await.unwrap();
        assert!((400..500).contains(&answer.status.as_u16()), "{path}: {}", answer.status);
        answer.problem(answer.status.as_u16());
        // An API key opens no link either.
        let answer = Answer::to(user.request(Method::GET, &path)).await.unwrap();
        assert!((400..500).contains(&answer.status.as_u16()), "{path}: {}", answer.status);
    }
    cluster.finish().await;
}

async fn links_expire(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let id = user.submit(&json!({})).await;
    let file = user.until(&id, "succeeded").await["output"][0].take();
    let url = file["url"].as_str().unwrap();
    assert_eq!(Answer::to(user.http.get(url)).await.unwrap().status, 200);
    cluster.stop().await;
    cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", "3700");
    cluster.start_all().await;
    let answer = Answer::to(user.http.get(url)).await.unwrap();
    assert!((400..500).contains(&answer.status.as_u16()), "{}", answer.status);
    let fresh = user.job(&id).await["output"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(Answer::to(user.http.get(fresh)).await.unwrap().status, 200);
    cluster.finish().await;
}

async fn ranges_are_served(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let file = made(&user, &json!({})).await;
    let url = file["url"].as_str().unwrap();
    let all = Answer::to(user.http.get(url)).await.unwrap().bytes;
    let len = all.len();
    let range =
        async |range: &str| Answer::to(user.http.get(url).header("Range", range)).await.unwrap();
    for (asked, from, to) in
        [("bytes=0-9", 0, 10), ("bytes=10-", 10, len), ("bytes=-7", len - 7, len)]
    {
        let part = range(asked).await;
        assert_eq!(part.status, 206, "{asked}");
        assert_eq!(part.bytes, all[from..to], "{asked}");
        let header = format!("bytes {from}-{}/{len}", to - 1);
        assert_eq!(part.header("content-range"), Some(header.as_str()));
    }
    let beyond = range(&format!("bytes={len}-")).await;
    assert_eq!(beyond.status, 416);
    cluster.finish().await;
}
