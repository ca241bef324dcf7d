//! A provider that is busy says when to ask again, with 429 or 503, in seconds or by a date: it is
//! left alone until then.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sim::{
    fal::fault::{CallbackFault, Failure, Fault, MediaFault, SubmitFault},
    faults::Rule,
};

use crate::{
    fal_faults::{Scene, outcomes},
    harness::{Backend, eventually, is_terminal},
};

on_both!(looks_and_files_come_when_they_are_asked_to, a_busy_route_is_left_alone);

/// A time from now, as HTTP writes it.
fn http_date(seconds: i64) -> String {
    let at = chrono::Utc::now() + chrono::TimeDelta::seconds(seconds);
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

async fn looks_and_files_come_when_they_are_asked_to(backend: Backend) {
    let scene = Scene::new(backend).await;
    // Without a callback nothing brings the next look forward.
    scene.fal.rules().add(Rule::always(Fault::Callback(CallbackFault::Missing)));
    let busy = |value: &str| Failure::typed(503, "busy").with("retry-after", value);
    for (prompt, fault) in [
        ("by seconds", Fault::Look(busy("6"))),
        ("by a date", Fault::Look(busy(&http_date(7)))),
        ("file by seconds", Fault::Media(MediaFault::Busy("6".to_owned()))),
        ("file by a date", Fault::Media(MediaFault::Busy(http_date(7)))),
    ] {
        scene.fal.rules().clear();
        scene.fal.rules().add(Rule::always(Fault::Callback(CallbackFault::Missing)));
        scene.fal.rules().add(Rule::once(fault));
        let began = Instant::now();
        let job = scene.succeeds(prompt, json!({})).await;
        assert_eq!(outcomes(&job), ["succeeded"], "{job}");
        // A date made before the loop may be nearer by now.
        let least = if prompt.ends_with("date") { 0 } else { 6 };
        assert!(began.elapsed() >= Duration::from_secs(least), "{prompt}: {:?}", began.elapsed());
    }
    assert_eq!(scene.fal.accepted().len(), 4);
    scene.finish().await;
}

fn throttled(list: &Value) -> bool {
    let all = list["providers"].as_array().unwrap();
    let fal = all.iter().find(|provider| provider["provider"] == "fal").unwrap();
    let routes = fal["routes"].as_array().unwrap();
    routes.iter().any(|route| route["throttled_until"].is_string())
}

/// Whether a submit that is answered with 503 was accepted nobody knows: it is not sent again. But
/// nobody else goes there before the time that was asked for.
async fn a_busy_route_is_left_alone(backend: Backend) {
    let mut scene = Scene::new(backend).await;
    let busy = Failure::typed(503, "busy").with("retry-after", &http_date(20));
    scene.fal.rules().add(Rule::once(Fault::Submit(SubmitFault::Refuse(busy))));
    let first = scene.submit("first", json!({})).await;
    eventually("its answer says nothing", async || {
        (outcomes(&scene.user.job(&first).await) == ["unknown"]).then_some(())
    })
    .await;
    eventually("everybody knows", async || {
        let (ok, list) = scene.cluster.admin(&["providers", "list"]);
        assert!(ok, "{list}");
        throttled(&list).then_some(())
    })
    .await;
    let second = scene.submit("second", json!({})).await;
    // It waits for the route, and then is made.
    let job = eventually("the second is made", async || {
        let job = scene.user.job(&second).await;
        let (ok, list) = scene.cluster.admin(&["providers", "list"]);
        assert!(ok && (outcomes(&job).is_empty() || !throttled(&list)), "too soon: {job}");
        is_terminal(&job).then_some(job)
    })
    .await;
    assert_eq!((&job["status"], outcomes(&job)), (&json!("succeeded"), vec!["succeeded"]), "{job}");
    scene.later(1_000).await;
    let job = scene.user.ended(&first).await;
    assert_eq!(job["error"]["code"], "provider_outcome_unknown", "{job}");
    assert_eq!(scene.fal.accepted().len(), 1);
    scene.finish().await;
}
