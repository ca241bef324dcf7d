//! What keeps it from starting: always a failing exit and one clear sentence, never a panic.

use std::{net::TcpListener, path::Path, time::Duration};

use crate::harness::{Backend, Cluster, Env, Process, free_port, run};

on_both!(a_newer_schema_is_refused, an_older_schema_is_brought_up);

fn env(folder: &Path, more: &[(&str, &str)]) -> Env {
    let mut env: Env = vec![
        ("TIKTOMATO_DATA".into(), folder.join("data").display().to_string()),
        ("TIKTOMATO__GATEWAY__LISTEN".into(), format!("127.0.0.1:{}", free_port())),
        ("TIKTOMATO__OPS__LISTEN".into(), format!("127.0.0.1:{}", free_port())),
        ("RUST_LOG".into(), "error".into()),
    ];
    for (name, value) in more {
        env.retain(|(known, _)| known != name);
        env.push(((*name).into(), (*value).into()));
    }
    env
}

/// Starts it and expects it to end by itself with a sentence that has all these words.
async fn refuses(args: &[&str], env: &Env, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start("refused", args, env, folder.path());
    let status = process.ended(Duration::from_secs(30)).await;
    let text = process.log_text();
    assert!(!status.success() && status.code().is_some(), "{status}: {text}");
    assert!(!text.contains("panicked") && !text.contains("stack backtrace"), "{text}");
    let lower = text.to_lowercase();
    for word in words {
        assert!(lower.contains(&word.to_lowercase()), "{word:?} is missing: {text}");
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    assert!((1..=4).contains(&lines), "one sentence, not {lines} lines: {text}");
}

#[tokio::test]
async fn a_taken_port() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for name in ["TIKTOMATO__GATEWAY__LISTEN", "TIKTOMATO__OPS__LISTEN"] {
        refuses(&[], &env(folder.path(), &[(name, &address)]), &[&address]).await;
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let data = file.join("data").display().to_string();
    refuses(&[], &env(folder.path(), &[("TIKTOMATO_DATA", &data)]), &[&data]).await;
}

#[tokio::test]
async fn settings_that_make_no_sense() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value, word) in [
        ("TIKTOMATO__GATEWAY__SURPRISE", "1", "surprise"),
        ("TIKTOMATO__NOWHERE__KEY", "1", "nowhere"),
        ("TIKTOMATO__GATEWAY__LISTEN", "somewhere", "listen"),
        ("TIKTOMATO__CLOCK__OFFSET_SECONDS", "soon", "offset_seconds"),
        ("DATABASE_URL", "tomato", "database"),
    ] {
        refuses(&[], &env(folder.path(), &[(name, value)]), &[word]).await;
    }
    let missing = folder.path().join("missing.toml").display().to_string();
    refuses(&["--config", &missing], &env(folder.path(), &[]), &["missing.toml"]).await;
    let broken = folder.path().join("broken.toml");
    std::fs::write(&broken, "[gateway\nlisten = 1").unwrap();
    let output = run(&["--config", &broken.display().to_string()], &env(folder.path(), &[]));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("broken.toml"), "{text}");
}

#[tokio::test]
async fn separate_processes_without_what_they_need() {
    let folder = tempfile::tempdir().unwrap();
    for role in ["gateway", "workers", "scheduler"] {
        let args: &[&str] =
            if role == "workers" { &["workers", "--pool", "demo=1"] } else { &[role] };
        let output = run(args, &env(folder.path(), &[]));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{role} started");
        for word in ["DATABASE_URL", "REDIS_URL"] {
            assert!(text.contains(word), "{role} should name {word}: {text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }
    let output = run(&["workers", "--pool", "demo=lots"], &env(folder.path(), &[]));
    assert!(!output.status.success());
    assert!(!folder.path().join("data").join("tiktomato.db").exists(), "nothing was made");
}

async fn a_newer_schema_is_refused(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    cluster.stop().await;
    let database = cluster.database().await;
    let newer = "m29991231_000001_from_the_future";
    database
        .write(&format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ('{newer}', 1)"))
        .await;
    // A database in use is no template.
    database.close().await;
    let (mut env, copy) = cluster.copy().await;
    copy.close().await;
    env.push(("TIKTOMATO__OPS__LISTEN".into(), format!("127.0.0.1:{}", free_port())));
    let args: &[&str] = if backend == Backend::Embedded { &[] } else { &["gateway"] };
    refuses(args, &env, &["newer", newer]).await;
    let status = run(&["migrate", "status"], &env);
    assert!(!status.status.success(), "{status:?}");
    // Without that row it starts again.
    let database = cluster.database().await;
    database.write(&format!("DELETE FROM seaql_migrations WHERE version = '{newer}'")).await;
    database.close().await;
    cluster.start_all().await;
    cluster.finish().await;
}

/// The newest migration is taken back: a role of its own says what to do, one process does it itself.
async fn an_older_schema_is_brought_up(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let user = cluster.user(100);
    cluster.stop().await;
    let env = cluster.env().clone();
    let migrate = |what: &str| {
        let done = run(&["migrate", what], &env);
        assert!(done.status.success(), "{what}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let whole = migrate("status");
    migrate("down");
    let older = migrate("status");
    assert_ne!(older, whole);
    if backend == Backend::Distributed {
        let mut env = env.clone();
        env.push(("TIKTOMATO__OPS__LISTEN".into(), format!("127.0.0.1:{}", free_port())));
        for role in ["gateway", "scheduler"] {
            refuses(&[role], &env, &["older", "migrate up"]).await;
        }
        assert_eq!(migrate("status"), older, "a role changes nothing");
        migrate("up");
    }
    cluster.start_all().await;
    assert_eq!(migrate("status"), whole);
    assert_eq!(user.credits().await, (100, 0));
    cluster.finish().await;
}
