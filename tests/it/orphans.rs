//! Files that no row tells of, and rows whose file is gone: both are found, and removed when it is sure
//! that they are of no use.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use image::ImageFormat;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    exports::exported,
    harness::{Answer, Backend, Cluster, Options, eventually, within},
    uploads::picture,
};

on_both!(
    files_of_nobody_are_removed_and_missing_ones_marked,
    what_tells_of_lost_files_goes,
    nothing_goes_while_the_store_is_away,
);

/// A platform that looks all the time.
async fn watchful(backend: Backend) -> Cluster {
    let env = vec![
        ("TIKTOMATO__RETENTION__ORPHANS_SECONDS", "0.01".to_owned()),
        ("TIKTOMATO__RETENTION__EXPORT_DAYS", "20".to_owned()),
    ];
    Cluster::start(backend, Options { env, ..Options::default() }).await
}

/// Where the file is that something tells of by its URL.
fn file_of(cluster: &Cluster, told: &Value) -> PathBuf {
    let key = told["url"].as_str().unwrap().split("/media/").nth(1).unwrap();
    cluster.data().join("media").join(key.split('?').next().unwrap())
}

/// Waits until so many files are missed; every promise is kept meanwhile.
async fn lost_files(cluster: &Cluster, count: u64) {
    within(Duration::from_secs(60), "the marks", async || {
        let (ok, report) = cluster.admin(&["privacy-report"]);
        assert!(ok, "{report}");
        (report["lost_files"] == count).then_some(())
    })
    .await;
}

async fn files_of_nobody_are_removed_and_missing_ones_marked(backend: Backend) {
    let env = vec![("TIKTOMATO__RETENTION__ORPHANS_SECONDS", "0.01".to_owned())];
    let cluster = Cluster::start(backend, Options { env, ..Options::default() }).await;
    let user = cluster.user(1_000);
    let id = user.submit(&json!({"width": 512, "height": 512})).await;
    let job = user.until(&id, "succeeded").await;
    let media = cluster.data().join("media");
    let file = file_of(&cluster, &job["output"][0]);
    let old = SystemTime::now() - Duration::from_secs(7_200);
    let age = |file: &std::path::Path| {
        fs::File::options().write(true).open(file).unwrap().set_modified(old).unwrap();
    };
    age(&file);
    let name = file.file_name().unwrap().to_str().unwrap();
    let small = file.with_file_name(format!("{name}-thumbnail"));
    age(&small);
    // Beside it a file that the job does not know, one where they were once kept, one of no job at
    // all, a thumbnail of a picture that has none, and a young one.
    let plain = user.submit(&json!({})).await;
    let plain = file_of(&cluster, &user.until(&plain, "succeeded").await["output"][0]);
    let no_thumbnail =
        plain.with_file_name(format!("{}-thumbnail", plain.file_name().unwrap().to_str().unwrap()));
    let job_name = name.strip_suffix("-0").unwrap();
    let stray = file.with_file_name(format!("{job_name}-99"));
    let former = file.with_file_name(job_name).join("99");
    let nobody = uuid::Uuid::now_v7().simple().to_string();
    let lost = media.join(format!("uploads/{}/{nobody}", &nobody[30..]));
    let young = media.join(format!("jobs/{}/{nobody}-0", &nobody[30..]));
    for path in [&stray, &former, &lost, &no_thumbnail, &young] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"left over").unwrap();
    }
    let strays = [stray, former, lost, no_thumbnail];
    strays.iter().for_each(|stray| age(stray));
    within(Duration::from_secs(120), "files of nobody are removed", async || {
        strays.iter().all(|stray| !stray.exists()).then_some(())
    })
    .await;
    assert!(
        file.is_file() && small.is_file() && plain.is_file(),
        "what is told of stays, and its thumbnail"
    );
    assert!(young.is_file(), "what is young stays");
    fs::remove_file(&young).unwrap();
    // A row whose file is gone is marked, not forgotten; the mark goes when the file is back.
    let hidden = cluster.data().join("hidden");
    fs::rename(&file, &hidden).unwrap();
    lost_files(&cluster, 1).await;
    assert_eq!(user.job(&id).await["output"].as_array().unwrap().len(), 1);
    fs::rename(&hidden, &file).unwrap();
    lost_files(&cluster, 0).await;
    cluster.finish().await;
}

/// Moves the clock on by so many days.
async fn days_later(cluster: &mut Cluster, days: u64) {
    cluster.stop().await;
    cluster.set("TIKTOMATO__CLOCK__OFFSET_SECONDS", &(days * 86_400).to_string());
    cluster.start_all().await;
}

async fn what_tells_of_lost_files_goes(backend: Backend) {
    let mut cluster = watchful(backend).await;
    let user = cluster.user(10_000);
    let [large, small, deleted] = [json!({"width": 512, "height": 512}), json!({}), json!({})];
    let mut jobs = Vec::new();
    for input in [large, small, deleted] {
        let id = user.submit(&input).await;
        jobs.push((id.clone(), user.until(&id, "succeeded").await));
    }
    let upload =
        user.request(Method::POST, "/v1/uploads").body(picture([1, 2, 3], ImageFormat::Png));
    let upload = Answer::to(upload).await.unwrap().expect(201);
    let export = exported(&user).await;
    let output = |n: usize| &jobs[n].1["output"][0];
    let kept = file_of(&cluster, output(0));
    let id = upload["id"].as_str().unwrap();
    let name = crate::harness::uuid_of(id).simple().to_string();
    let upload_file = cluster.data().join(format!("media/uploads/{}/{name}", &name[30..]));
    for file in [
        file_of(&cluster, &output(0)["thumbnail"]),
        file_of(&cluster, output(1)),
        file_of(&cluster, output(2)),
        upload_file,
        file_of(&cluster, &export),
    ] {
        fs::remove_file(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    }
    lost_files(&cluster, 5).await;
    // A mark goes with what it is about.
    assert_eq!(user.delete(&format!("/v1/jobs/{}", jobs[2].0)).await.status, 204);
    lost_files(&cluster, 4).await;
    // For a week nothing is forgotten.
    let job = user.job(&jobs[1].0).await;
    assert_eq!(job["output"].as_array().unwrap().len(), 1, "{job}");
    let upload = format!("/v1/uploads/{id}");
    let export = format!("/v1/account/exports/{}", export["id"].as_str().unwrap());
    user.get(&upload).await.expect(200);
    user.get(&export).await.expect(200);

    days_later(&mut cluster, 8).await;
    lost_files(&cluster, 0).await;
    let job = user.job(&jobs[1].0).await;
    assert_eq!((&job["status"], &job["output"]), (&json!("succeeded"), &json!([])));
    let job = user.job(&jobs[0].0).await;
    assert_eq!(job["output"].as_array().unwrap().len(), 1, "{job}");
    assert_eq!(job["output"][0]["thumbnail"], Value::Null, "{job}");
    assert!(kept.is_file());
    user.get(&upload).await.problem(404);
    user.get(&export).await.problem(404);
    cluster.finish().await;
}

async fn nothing_goes_while_the_store_is_away(backend: Backend) {
    let mut cluster = watchful(backend).await;
    let user = cluster.user(10_000);
    let id = user.submit(&json!({})).await;
    user.until(&id, "succeeded").await;
    let (media, away) = (cluster.data().join("media"), cluster.data().join("away"));
    cluster.stop().await;
    fs::rename(&media, &away).unwrap();
    cluster.start_all().await;
    let marked = async |cluster: &Cluster| {
        within(Duration::from_secs(60), "a mark", async || {
            let (_, report) = cluster.admin(&["privacy-report"]);
            (report["lost_files"].as_u64().unwrap() > 0).then_some(())
        })
        .await;
    };
    marked(&cluster).await;
    days_later(&mut cluster, 8).await;
    // A mark that is about nothing goes with the next look; after a second one, the look that took the
    // first is over.
    let database = cluster.database().await;
    for mark in ["jobs/00/first", "jobs/00/second"] {
        let insert = format!("INSERT INTO lost_files (key, found_at) VALUES ('{mark}', 1)");
        database.write(&insert).await;
        let left = format!("SELECT count(*) AS n FROM lost_files WHERE key = '{mark}'");
        eventually("a look at the marks", async || {
            (database.number(&left).await == 0).then_some(())
        })
        .await;
    }
    database.close().await;
    assert_eq!(user.job(&id).await["output"].as_array().unwrap().len(), 1);
    cluster.stop().await;
    fs::remove_dir_all(&media).unwrap();
    fs::rename(&away, &media).unwrap();
    cluster.start_all().await;
    lost_files(&cluster, 0).await;
    let job = user.job(&id).await;
    let file = &job["output"][0];
    assert!(file_of(&cluster, file).is_file(), "{job}");
    cluster.finish().await;
}
