//! Starting and stopping: the first start, the second, `--once`, signals and `check-config`.

use std::{fs, path::Path, time::Duration};

use serde_json::json;

use crate::harness::{Backend, Cluster, Env, Process, eventually, free_port, http, run};

on_both!(a_second_start_keeps_everything);

/// Settings of a process that needs nothing but a folder.
fn env(folder: &Path) -> Env {
    [
        ("TIKTOMATO_DATA", folder.join("data").display().to_string()),
        ("TIKTOMATO__GATEWAY__LISTEN", format!("127.0.0.1:{}", free_port())),
        ("TIKTOMATO__OPS__LISTEN", format!("127.0.0.1:{}", free_port())),
        ("RUST_LOG", "warn".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

async fn a_second_start_keeps_everything(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    let id = user.submit(&json!({})).await;
    let before = user.until(&id, "succeeded").await;
    // Work in flight goes on where it was.
    let slow = user.submit(&json!({"delay_seconds": 4})).await;
    user.until(&slow, "running").await;
    cluster.stop().await;
    cluster.start_all().await;
    let after = user.job(&id).await;
    for field in ["status", "created_at", "finished_at", "credits", "input", "attempts"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    let slow = user.until(&slow, "succeeded").await;
    assert_eq!(slow["attempts"].as_array().unwrap().len(), 1, "{slow}");
    cluster.finish().await;
}

#[tokio::test]
async fn once_makes_a_file_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start("once", &["--once"], &env(folder.path()), folder.path());
    let status = process.ended(Duration::from_secs(60)).await;
    let text = process.log_text();
    assert!(status.success(), "{text}");
    let words =
        || text.split_whitespace().map(|word| word.trim_matches(['"', '\'', '(', ')', ',']));
    let file = words().find(|word| Path::new(word).is_file() || word.contains("/media/"));
    let file = file.unwrap_or_else(|| panic!("no file is shown: {text}"));
    if Path::new(file).is_file() {
        image::load_from_memory(&fs::read(file).unwrap()).unwrap();
    }
}

#[tokio::test]
async fn signals_end_it_cleanly() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let env = env(folder.path());
        let mut process = Process::start("signal", &[], &env, folder.path());
        let ops = &env.iter().find(|(name, _)| name.contains("OPS")).unwrap().1;
        let (http, url) = (http(), format!("http://{ops}/readyz"));
        eventually("it is ready", || {
            assert!(process.exited().is_none(), "{}", process.log_text());
            let request = http.get(&url);
            async { request.send().await.ok().filter(|answer| answer.status() == 200) }
        })
        .await;
        process.stop(signal).await;
    }
}

#[tokio::test]
async fn the_first_start_shows_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let env = env(folder.path());
    let process = Process::start("first", &[], &env, folder.path());
    let text = eventually("it shows a curl line", async || {
        let text = process.log_text();
        text.contains("curl ").then_some(text)
    })
    .await;
    let listen = &env.iter().find(|(name, _)| name.contains("GATEWAY")).unwrap().1;
    let key = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
    let key = key.into_iter().find(|word| word.starts_with("tt_live_")).expect("a key is shown");
    assert!(text.contains(listen.as_str()), "{text}");
    let answer =
        http().get(format!("http://{listen}/v1/credits")).bearer_auth(key).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let credits: serde_json::Value = answer.json().await.unwrap();
    assert!(credits["available"].as_i64().unwrap() > 0, "{credits}");
    process.stop("TERM").await;
}

#[test]
fn check_config_hides_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let mut env = env(folder.path());
    let secret = "hf_quaggaokapi0123456789";
    env.push(("HF_TOKEN".into(), secret.into()));
    env.push(("DATABASE_URL".into(), "postgres://me:zebrazebra@127.0.0.1/db".into()));
    env.push(("REDIS_URL".into(), "redis://:zebrazebra@127.0.0.1:6379".into()));
    env.push(("TIKTOMATO__SECRETS__MASTER".into(), "zebra".repeat(8)));
    let output = run(&["check-config"], &env);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    assert!(!text.contains(secret) && !text.contains("zebrazebra"), "{text}");
    let listen = &env.iter().find(|(name, _)| name.contains("GATEWAY")).unwrap().1;
    assert!(text.contains(listen.as_str()), "{text}");
}

#[test]
fn check_config_lists_every_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let mut env = env(folder.path());
    for (name, value) in [
        ("TIKTOMATO__GATEWAY__SURPRISE", "1"),
        ("TIKTOMATO__NOWHERE__KEY", "1"),
        ("TIKTOMATO__CLOCK__OFFSET_SECONDS", "soon"),
    ] {
        env.push((name.into(), value.into()));
    }
    let output = run(&["check-config"], &env);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let text = text.to_lowercase();
    assert!(!output.status.success(), "{text}");
    for word in ["surprise", "nowhere", "offset_seconds"] {
        assert!(text.contains(word), "{word} is missing: {text}");
    }
}
