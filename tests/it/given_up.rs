//! A call whose answer was lost for good may have been paid for: operators see what it may have cost,
//! at the command line, over HTTP and in the metrics.

use serde_json::{Value, json};
use sim::{
    fal::fault::{CallbackFault, Fault, SubmitFault},
    faults::Rule,
};

use crate::{
    fal_faults::{Scene, outcomes},
    harness::{Answer, Backend, eventually},
};

on_both!(operators_see_what_it_may_have_cost);

/// What operators are told of fal.ai: calls and cost, of all its routes and of one.
async fn told(scene: &Scene) -> [i64; 4] {
    let operator = scene.cluster.operator();
    let list = operator.get("/v1/admin/providers").await.expect(200);
    let (ok, same) = scene.cluster.admin(&["providers", "list"]);
    assert!(ok && same == list, "{list} and {same}");
    let find = |all: &Value, name: &str, value: &str| {
        let found = all.as_array().unwrap().iter().find(|one| one[name] == value);
        found.unwrap().clone()
    };
    let fal = find(&list["providers"], "provider", "fal");
    let route = find(&fal["routes"], "model", "fal-ai/flux/schnell");
    let other = find(&fal["routes"], "model", "fal-ai/flux/dev");
    assert_eq!(
        (&other["given_up_calls"], &other["possible_cost_usd_micros"]),
        (&json!(0), &json!(0))
    );
    let number = |of: &Value, name: &str| of[name].as_i64().unwrap();
    let (calls, cost) = ("given_up_calls", "possible_cost_usd_micros");
    [number(&fal, calls), number(&fal, cost), number(&route, calls), number(&route, cost)]
}

async fn measured(scene: &Scene, series: &str) -> bool {
    let mut found = false;
    for ops in scene.cluster.ops() {
        let answer = Answer::to(scene.cluster.http.get(format!("{ops}/metrics"))).await.unwrap();
        let text = String::from_utf8(answer.bytes).unwrap();
        found = found || text.lines().any(|line| line == format!("tiktomato_{series}"));
    }
    found
}

async fn operators_see_what_it_may_have_cost(backend: Backend) {
    let mut scene = Scene::new(backend).await;
    assert_eq!(told(&scene).await, [0; 4]);
    scene.fal.rules().add(Rule::always(Fault::Callback(CallbackFault::Missing)));
    scene.fal.rules().add(Rule::when("lost", Fault::Submit(SubmitFault::LoseAnswer)));
    // A picture of a begun megapixel costs 3,000; three of two such ones 18,000.
    let one = scene.submit("lost", json!({})).await;
    let three = scene.submit("lost too", json!({"count": 3, "image_size": "square_hd"})).await;
    for id in [&one, &three] {
        eventually("the answer is lost", async || {
            let job = scene.user.job(id).await;
            (outcomes(&job) == ["unknown"] && job["status"] == "running").then_some(())
        })
        .await;
    }
    assert_eq!(told(&scene).await, [0; 4], "it may still be found");
    scene.later(1_000).await;
    for id in [&one, &three] {
        let job = scene.user.ended(id).await;
        assert_eq!(job["error"]["code"], "provider_outcome_unknown", "{job}");
        assert_eq!((&job["credits"]["charged"], &job["credits"]["held"]), (&json!(0), &json!(0)));
    }
    assert_eq!(told(&scene).await, [2, 21_000, 2, 21_000]);
    let (ok, text) = {
        let output = scene.cluster.run(&["admin", "providers", "list"]);
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    assert!(ok && text.contains("2 call(s) given up") && text.contains("0.02 USD"), "{text}");
    let series = "provider_possible_cost_usd_micros{provider=\"fal\"} 21000";
    eventually("it is measured", async || measured(&scene, series).await.then_some(())).await;
    assert!(measured(&scene, "provider_given_up_calls{provider=\"fal\"} 2").await);
    let database = scene.cluster.database().await;
    let sql = "SELECT CAST(possible_cost_usd_micros AS text) AS line FROM attempts \
               WHERE provider = 'fal' ORDER BY 1";
    assert_eq!(database.lines(sql).await, ["18000", "3000"]);
    database.close().await;
    // A call that is answered leaves nothing.
    scene.succeeds("fine", json!({})).await;
    assert_eq!(told(&scene).await[1], 21_000);
    scene.finish().await;
}
