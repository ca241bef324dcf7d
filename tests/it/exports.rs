//! Copies of their data that people ask for: complete, theirs alone, of any size, whatever dies
//! meanwhile.

use std::{collections::HashMap, fs, path::PathBuf, time::Duration};

use image::ImageFormat;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::{
        Answer, Api, Backend, Cluster, Options, eventually, files, sketch, unzip, uuid_of, within,
    },
    uploads::picture,
};

on_both!(
    it_is_complete_and_theirs_alone,
    it_needs_no_memory_for_large_files,
    it_is_built_although_its_builder_dies,
);

/// Asks for an export and waits for it.
pub(crate) async fn exported(user: &Api) -> Value {
    let asked = Answer::to(user.request(Method::POST, "/v1/account/exports")).await.unwrap();
    let place = asked.header("location").unwrap().to_owned();
    let export = asked.expect(202);
    assert_eq!(export["object"], "export", "{export}");
    assert_eq!(place, format!("/v1/account/exports/{}", export["id"].as_str().unwrap()));
    ready(user, &place).await
}

async fn ready(user: &Api, place: &str) -> Value {
    within(Duration::from_secs(120), "the export is ready", async || {
        let export = user.get(place).await.expect(200);
        assert_ne!(export["status"], "failed", "{export}");
        (export["status"] == "ready").then_some(export)
    })
    .await
}

async fn fetched(user: &Api, export: &Value) -> HashMap<String, Vec<u8>> {
    let file = Answer::to(user.http.get(export["url"].as_str().unwrap())).await.unwrap();
    assert_eq!(file.status, 200);
    assert_eq!(file.header("content-type"), Some("application/zip"));
    assert_eq!(file.header("content-disposition"), Some("attachment"));
    assert_eq!(export["bytes"], file.bytes.len());
    unzip(&file.bytes).into_iter().collect()
}

fn rows(entries: &HashMap<String, Vec<u8>>, name: &str) -> Vec<Value> {
    let bytes = entries.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", entries.keys()));
    serde_json::from_slice(bytes).unwrap()
}

async fn it_is_complete_and_theirs_alone(backend: Backend) {
    let mut cluster = Cluster::plain(backend).await;
    let (user, other) = (cluster.user(10_000), cluster.user(10_000));
    let theirs = other.submit(&json!({"prompt": "what the quagga dreams"})).await;
    other.until(&theirs, "succeeded").await;

    let mut body = sketch(&json!({"prompt": "<b>an okapi</b> & its \"shadow\"", "count": 2}));
    body["metadata"] = json!({"order": "narwhal-7"});
    let job = user.post("/v1/jobs", &body).await.expect(202)["id"].as_str().unwrap().to_owned();
    user.until(&job, "succeeded").await;
    let failed = user.submit(&json!({"fail": "rejected"})).await;
    user.ended(&failed).await;
    let bytes = picture([1, 2, 3], ImageFormat::Png);
    let upload = user.request(Method::POST, "/v1/uploads").body(bytes.clone());
    let upload = Answer::to(upload).await.unwrap().expect(201)["id"].as_str().unwrap().to_owned();

    other.get("/v1/credits").await.expect(200);
    logged(&cluster, "POST /v1/uploads 201").await;
    let export = exported(&user).await;
    let entries = fetched(&user, &export).await;
    let account: Value = serde_json::from_slice(&entries["account.json"]).unwrap();
    assert_eq!(account["email"], user.email.as_str());
    assert_eq!(account["name"], "Test");
    let keys = rows(&entries, "api_keys.json");
    assert_eq!(keys.len(), 1);
    let jobs = rows(&entries, "jobs.json");
    let ids: Vec<&str> = jobs.iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [job.as_str(), failed.as_str()]);
    assert_eq!(jobs[0]["input"]["prompt"], "<b>an okapi</b> & its \"shadow\"");
    assert_eq!(jobs[0]["metadata"], json!({"order": "narwhal-7"}));
    assert_eq!(jobs[0]["attempts"][0]["provider"], "demo");
    assert_eq!(jobs[1]["status"], "failed");
    let output = jobs[0]["output"].as_array().unwrap();
    assert_eq!(output.len(), 2);
    for file in output {
        use sha2::{Digest as _, Sha256};
        let bytes = &entries[file["file"].as_str().unwrap()];
        assert_eq!(hex::encode(Sha256::digest(bytes)), file["sha256"].as_str().unwrap());
        image::load_from_memory(bytes).unwrap();
    }
    assert_eq!(entries[&format!("uploads/{upload}.png")], bytes);
    let ledger = rows(&entries, "ledger.json");
    assert_eq!(ledger.iter().filter(|entry| entry["kind"] == "grant").count(), 1);
    assert_eq!(ledger.iter().find(|entry| entry["kind"] == "grant").unwrap()["note"], "test");
    for name in ["uploads.json", "audit.json"] {
        rows(&entries, name);
    }
    usage_is_theirs(&rows(&entries, "usage.json"), keys[0]["id"].as_str().unwrap());
    let index = String::from_utf8(entries["index.html"].clone()).unwrap();
    assert!(index.contains("&lt;b&gt;an okapi&lt;/b&gt; &amp; its"), "{index}");
    assert!(index.contains(&format!("media/{job}/1.")), "{index}");
    // No secret, and nothing of anybody else.
    let secret = user.key.strip_prefix("tt_live_").unwrap();
    for (name, bytes) in &entries {
        let text = String::from_utf8_lossy(bytes);
        for word in [secret, "quagga", other.email.as_str(), theirs.as_str(), "argon2"] {
            assert!(!text.contains(word), "{word} in {name}");
        }
    }
    only_theirs(&user, &other, &export).await;

    // By mail: an operator writes the same into a file, which must be new.
    let file = cluster.data().join("for-them.zip");
    let args = ["export-user", "--user", &user.email, "--out", &file.display().to_string()];
    let (ok, said) = cluster.admin(&args);
    assert!(ok && said["totals"]["jobs"] == 2 && said["totals"]["files"] == 3, "{said}");
    let by_mail: HashMap<_, _> = unzip(&fs::read(&file).unwrap()).into_iter().collect();
    assert_eq!(by_mail["jobs.json"], entries["jobs.json"]);
    fs::remove_file(&file).unwrap();

    it_expires(&mut cluster, &user, &export).await;
    cluster.finish().await;
}

/// Waits until a request is in the usage log, with all before it.
async fn logged(cluster: &Cluster, request: &str) {
    let database = cluster.database().await;
    let lines =
        "SELECT method || ' ' || route || ' ' || CAST(status AS text) AS line FROM usage_log";
    eventually("the request is logged", async || {
        database.lines(lines).await.iter().any(|line| line == request).then_some(())
    })
    .await;
    database.close().await;
}

/// Every request that was logged, each with what is known of it, and nobody else's.
fn usage_is_theirs(usage: &[Value], key: &str) {
    let told = |row: &Value| {
        format!(
            "{} {} {}",
            row["method"].as_str().unwrap(),
            row["route"].as_str().unwrap(),
            row["status"]
        )
    };
    let told: Vec<String> = usage.iter().map(told).collect();
    let count = |line: &str| told.iter().filter(|told| *told == line).count();
    assert_eq!(count("POST /v1/jobs 202"), 2, "{told:?}");
    assert_eq!(count("POST /v1/uploads 201"), 1, "{told:?}");
    assert!(count("GET /v1/jobs/{id} 200") >= 2, "{told:?}");
    assert_eq!(count("GET /v1/credits 200"), 0, "that was somebody else: {told:?}");
    let mut last = "";
    for row in usage {
        let at = row["at"].as_str().unwrap();
        assert!(at >= last, "oldest first: {at} after {last}");
        last = at;
        assert_eq!(row["api_key"], key, "{row}");
        assert_eq!((&row["address"], &row["browser"]), (&json!("127.0.0.1"), &json!("none")));
        let made = row["method"] == "POST" && row["route"] == "/v1/jobs";
        let model = if made { json!("demo/sketch") } else { Value::Null };
        assert_eq!(row["model"], model, "{row}");
    }
}

/// The link expires, and after a week the export is gone.
async fn it_expires(cluster: &mut Cluster, user: &Api, export: &Value) {
    let place = format!("/v1/account/exports/{}", export["id"].as_str().unwrap());
    let url = export["url"].as_str().unwrap().to_owned();
    cluster.stop().await;
    cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", &(2 * 3_600).to_string());
    cluster.start_all().await;
    assert_eq!(Answer::to(user.http.get(&url)).await.unwrap().problem(403), "link_expired");
    cluster.stop().await;
    cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", &(8 * 86_400).to_string());
    cluster.start_all().await;
    eventually("the export is deleted", async || {
        let gone = user.get(&place).await.status == 404;
        (gone && exports_in(cluster).is_empty()).then_some(())
    })
    .await;
}

/// Nobody else sees it.
async fn only_theirs(user: &Api, other: &Api, export: &Value) {
    let place = format!("/v1/account/exports/{}", export["id"].as_str().unwrap());
    other.get(&place).await.problem(404);
    user.get("/v1/account/exports/exp_x").await.problem(404);
    let list = user.get("/v1/account/exports?limit=1").await.expect(200);
    assert_eq!(list["data"][0]["id"], export["id"], "{list}");
    assert_eq!(other.get("/v1/account/exports").await.expect(200)["data"], json!([]));
}

fn names(archive: &zip::ZipArchive<fs::File>) -> impl Iterator<Item = String> {
    archive.file_names().map(|name| name.unwrap().into_owned())
}

fn exports_in(cluster: &Cluster) -> Vec<PathBuf> {
    files(&cluster.data().join("media").join("exports"))
}

/// Gives a job's workspace more files: empty ones of this size, which take no room on the disk.
pub(crate) async fn plant_files(cluster: &Cluster, job: &str, count: usize, bytes: u64) {
    let database = cluster.database().await;
    let id = uuid_of(job);
    let text = id.simple().to_string();
    for n in 0..count {
        let position = 100 + n;
        let key = format!("jobs/{}/{text}/{position}", &text[30..]);
        let file = cluster.data().join("media").join(&key);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::File::create(&file).unwrap().set_len(bytes).unwrap();
        let (new, job) = (database.literal(uuid::Uuid::now_v7()), database.literal(id));
        let sql = format!(
            "INSERT INTO outputs (id, job_id, workspace_id, position, key, content_type, bytes, \
             sha256, created_at) SELECT {new}, j.id, j.workspace_id, {position}, '{key}', \
             'video/mp4', {bytes}, '', j.created_at FROM jobs j WHERE j.id = {job}"
        );
        assert_eq!(database.write(&sql).await, 1);
    }
    database.close().await;
}

/// Takes back what was planted: the books know nothing of it.
async fn take_back(cluster: &Cluster) {
    let database = cluster.database().await;
    database.write("DELETE FROM outputs WHERE position >= 100").await;
    database.close().await;
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn builder(backend: Backend) -> &'static str {
    match backend {
        Backend::Embedded => "tiktomato",
        Backend::Distributed => "workers",
    }
}

async fn it_needs_no_memory_for_large_files(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(1_000);
    let job = user.submit(&json!({})).await;
    user.until(&job, "succeeded").await;
    // What a first export brings into memory once is not what is asked about.
    exported(&user).await;
    plant_files(&cluster, &job, 3, 100_000_000).await;
    let pid = cluster.pid(builder(backend));
    let before = resident_kib(pid);
    let most = std::cell::Cell::new(before);
    let asked = user.post("/v1/account/exports", &json!({})).await;
    let export = asked.expect(202);
    let place = format!("/v1/account/exports/{}", export["id"].as_str().unwrap());
    let export = within(Duration::from_secs(120), "the export is ready", async || {
        most.set(most.get().max(resident_kib(pid)));
        let export = user.get(&place).await.expect(200);
        (export["status"] == "ready").then_some(export)
    })
    .await;
    let bytes = export["bytes"].as_u64().unwrap();
    assert!(bytes > 300_000_000, "{export}");
    let grown = (most.get() - before) / 1_024;
    eprintln!("{bytes} bytes were exported; the builder grew by {grown} MiB");
    assert!(grown < 60, "the builder grew by {grown} MiB");
    let largest =
        exports_in(&cluster).into_iter().max_by_key(|file| file.metadata().unwrap().len());
    let file = fs::File::open(largest.unwrap()).unwrap();
    let archive = zip::ZipArchive::new(file).unwrap();
    let large = names(&archive).filter(|name| name.ends_with(".mp4")).count();
    assert_eq!(large, 3);
    take_back(&cluster).await;
    cluster.finish().await;
}

async fn it_is_built_although_its_builder_dies(backend: Backend) {
    let workers = if backend == Backend::Distributed { 2 } else { 1 };
    // Without the demo account, whose sample would lie among the files.
    let env = vec![("TIKTOMATO__DEMO__ENABLED", "false".to_owned())];
    let options = Options { workers, env, ..Options::default() };
    let mut cluster = Cluster::start(backend, options).await;
    let user = cluster.user(1_000);
    let job = user.submit(&json!({"prompt": "a dodo that is exported"})).await;
    user.until(&job, "succeeded").await;
    plant_files(&cluster, &job, 2, 150_000_000).await;
    let asked = user.post("/v1/account/exports", &json!({})).await.expect(202);
    let place = format!("/v1/account/exports/{}", asked["id"].as_str().unwrap());
    eventually("it is being built", async || {
        let begun = user.get(&place).await.expect(200)["status"] == "building";
        let halves = files(&cluster.data().join("media").join("staging"));
        let half = halves.iter().any(|half| half.to_string_lossy().contains("exports="));
        (begun && half).then_some(())
    })
    .await;
    // Asking again meanwhile is asking for the same one.
    assert_eq!(user.post("/v1/account/exports", &json!({})).await.expect(202)["id"], asked["id"]);
    for name in cluster.names() {
        if name.starts_with("tiktomato") || name.starts_with("workers") {
            cluster.kill(&name);
        }
    }
    cluster.start_all().await;
    ready(&user, &place).await;
    let made = exports_in(&cluster);
    assert_eq!(made.len(), 1, "{made:?}");
    let archive = zip::ZipArchive::new(fs::File::open(&made[0]).unwrap()).unwrap();
    assert_eq!(names(&archive).filter(|name| name.starts_with("media/")).count(), 3);
    // What the dead one left goes with the account at the latest.
    let (ok, erasure) = cluster.admin(&["delete-user", "--user", &user.email]);
    assert!(ok, "{erasure}");
    crate::erasure::erased(&cluster, &erasure).await;
    let mut left = files(&cluster.data().join("media"));
    left.retain(|file| !file.to_string_lossy().contains("/staging/probe-"));
    assert_eq!(left, Vec::<PathBuf>::new());
    cluster.nowhere(&["dodo", &user.email]).await;
    take_back(&cluster).await;
    cluster.finish().await;
}
