//! No room for media: a job waits until there is some again, and nobody pays before.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::harness::{Answer, Backend, Cluster, Options, eventually, is_terminal};

on_both!(a_full_disk_loses_nothing);

/// A file system of one megabyte, gone with the test process.
struct SmallDisk {
    folder: PathBuf,
    _guardian: Child,
}

impl SmallDisk {
    /// Mounts it; nothing where that is not permitted.
    fn mount() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("tiktomato-it-").tempdir().unwrap().keep();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(&folder)
            .stderr(Stdio::null())
            .status();
        let at = folder.display();
        let end = format!("trap '' INT TERM HUP; read _; umount -l {at}; rmdir {at}");
        let guardian = Command::new("sh").args(["-c", &end]).stdin(Stdio::piped()).spawn().unwrap();
        mounted.is_ok_and(|status| status.success()).then_some(Self { folder, _guardian: guardian })
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Leaves no room.
    fn fill(&self) {
        let full = std::fs::write(self.filler(), vec![7; 2 * 1024 * 1024]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    /// Leaves some room.
    fn empty(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
}

async fn a_full_disk_loses_nothing(backend: Backend) {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("SKIPPED: a small file system cannot be mounted here (not root?)");
        return;
    };
    let media = disk.folder.join("media");
    let env = vec![
        ("TIKTOMATO__MEDIA__DIR", media.display().to_string()),
        // No sample job: its file would be one more.
        ("TIKTOMATO__DEMO__ENABLED", "false".to_owned()),
    ];
    let cluster = Cluster::start(backend, Options { env, ..Options::default() }).await;
    let user = cluster.user(10_000);
    let kept = user.submit(&json!({})).await;
    let kept = user.until(&kept, "succeeded").await;
    let (before, price) = (user.credits().await, kept["credits"]["charged"].as_i64().unwrap());
    disk.fill();
    let ids = [user.submit(&json!({"seed": 1})).await, user.submit(&json!({"seed": 2})).await];
    let database = cluster.database().await;
    eventually("both files were refused", async || {
        let tried = "SELECT count(*) AS n FROM jobs WHERE state = 'storing' AND store_tries > 0";
        (database.number(tried).await == 2).then_some(())
    })
    .await;
    database.close().await;
    for id in &ids {
        let job = user.job(id).await;
        assert!(!is_terminal(&job) && job["output"] == json!([]), "{job}");
        assert_eq!(job["credits"], json!({"held": price, "charged": 0, "released": 0}));
    }
    assert_eq!(user.credits().await, (before.0 - 2 * price, before.1 + 2 * price));
    let (ok, report) = cluster.admin(&["reconcile"]);
    assert!(ok, "{report}");
    // What is stored can be read meanwhile.
    let get = async |job: &Value| {
        let answer = Answer::to(user.http.get(job["output"][0]["url"].as_str().unwrap())).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.bytes.len(), job["output"][0]["bytes"], "whole or not at all");
    };
    get(&kept).await;
    disk.empty();
    for id in &ids {
        get(&user.until(id, "succeeded").await).await;
    }
    assert_eq!(user.credits().await, (before.0 - 2 * price, before.1));
    assert_eq!(files_in(&media).len(), 3, "no remains of failed tries: {:?}", files_in(&media));
    cluster.finish().await;
}
