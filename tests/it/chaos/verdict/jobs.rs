//! Each job as its user sees it, with its files and what it cost.

use futures::{StreamExt as _, stream};
use serde_json::Value;

use super::{super::load::Placed, CREDITS};
use crate::harness::{Api, is_terminal};

/// Jobs that are read at the same time.
const READERS: usize = 16;

/// What the API says of each job.
pub(super) async fn read(users: &[Api], placed: &[Placed]) -> Vec<Value> {
    let all = placed.iter().map(async |placed| users[placed.user].job(&placed.id).await);
    stream::iter(all).buffered(READERS).collect().await
}

/// What is wrong with one job or another.
pub(super) fn each_job(placed: &[Placed], jobs: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (placed, job) in placed.iter().zip(jobs) {
        let mut say = |what: &str| wrong.push(format!("{what}: {job}"));
        if !is_terminal(job) {
            say("not ended");
        }
        if job["status"] == "canceled" && !placed.canceled {
            say("canceled by nobody");
        }
        let charged = job["credits"]["charged"].as_i64().unwrap();
        if (job["status"] == "succeeded") != (charged > 0) || job["credits"]["held"] != 0 {
            say("charged wrongly");
        }
        let outputs = job["output"].as_array().map_or(0, Vec::len);
        let asked = placed.body["input"]["count"].as_u64().unwrap_or(1);
        if job["status"] == "succeeded" && outputs as u64 != asked {
            say("not as many files as asked for");
        }
    }
    wrong
}

/// Everybody has what they began with, less what their jobs were charged.
pub(super) async fn wallets(users: &[Api], placed: &[Placed], jobs: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (n, user) in users.iter().enumerate() {
        let mine = placed.iter().zip(jobs).filter(|(placed, _)| placed.user == n);
        let charged: i64 = mine.map(|(_, job)| job["credits"]["charged"].as_i64().unwrap()).sum();
        let credits = user.credits().await;
        if credits != (CREDITS - charged, 0) {
            wrong.push(format!("{}: {credits:?} are left after {charged}", user.email));
        }
    }
    wrong
}

/// Every file that was paid for is there, whole.
pub(super) async fn media(users: &[Api], placed: &[Placed], jobs: &[Value]) -> Vec<String> {
    let outputs = placed.iter().zip(jobs).flat_map(|(placed, job)| {
        let outputs = job["output"].as_array().cloned().unwrap_or_default();
        outputs.into_iter().map(move |output| (placed, output))
    });
    let all = outputs.map(async |(placed, output)| {
        let got =
            users[placed.user].http.get(output["url"].as_str().unwrap()).send().await.unwrap();
        let status = got.status();
        let bytes = got.bytes().await.unwrap().len() as u64;
        let fine = status == 200 && output["bytes"] == bytes;
        (!fine).then(|| format!("a file of {} has {status}, {bytes} bytes: {output}", placed.id))
    });
    stream::iter(all).buffered(READERS).filter_map(async |wrong| wrong).collect().await
}
