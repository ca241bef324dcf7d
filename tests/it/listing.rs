//! Lists: pages, filters and their order.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::harness::{Backend, Cluster};

on_both!(pages_and_filters, the_ledger_is_a_list);

fn ids(list: &Value) -> Vec<String> {
    assert_eq!(list["object"], "list", "{list}");
    list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap().into())
        .collect()
}

async fn pages_and_filters(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(100_000);
    let mut made = Vec::new();
    for n in 0..7 {
        made.push(user.submit(&json!({"seed": n})).await);
    }
    let refused = user.submit(&json!({"fail": "rejected"})).await;
    made.push(refused.clone());
    for id in &made {
        user.ended(id).await;
    }
    made.reverse();

    let mut seen = Vec::new();
    let mut path = "/v1/jobs?limit=3".to_owned();
    loop {
        let page = user.get(&path).await.expect(200);
        let part = ids(&page);
        assert!(part.len() <= 3);
        seen.extend(part);
        let next = &page["next"];
        assert_eq!(page["has_more"], json!(!next.is_null()), "{page}");
        let Some(next) = next.as_str() else { break };
        path = format!("/v1/jobs?limit=3&after={next}");
    }
    assert_eq!(seen, made, "newest first, each once");

    let failed = user.get("/v1/jobs?status=failed").await.expect(200);
    assert_eq!(ids(&failed), [refused.as_str()]);
    let good = user.get("/v1/jobs?status=succeeded&model=demo/sketch&limit=100").await.expect(200);
    assert_eq!(ids(&good).into_iter().collect::<HashSet<_>>().len(), 7);
    let clips = user.get("/v1/jobs?model=demo/clip").await.expect(200);
    assert_eq!(
        (ids(&clips).len(), &clips["has_more"], &clips["next"]),
        (0, &json!(false), &Value::Null)
    );
    cluster.finish().await;
}

async fn the_ledger_is_a_list(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let id = user.submit(&json!({})).await;
    user.until(&id, "succeeded").await;
    let first = user.get("/v1/credits/entries?limit=2").await.expect(200);
    assert_eq!((ids(&first).len(), &first["has_more"]), (2, &json!(true)));
    let next = first["next"].as_str().unwrap();
    let second = user.get(&format!("/v1/credits/entries?limit=2&after={next}")).await.expect(200);
    assert_eq!((ids(&second).len(), &second["next"]), (1, &Value::Null));
    let all: HashSet<String> = ids(&first).into_iter().chain(ids(&second)).collect();
    assert_eq!(all.len(), 3);
    cluster.finish().await;
}
