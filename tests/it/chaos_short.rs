//! The short forms of the crash test and of the rolling restarts, part of every run; see `chaos`.

use std::time::Duration;

use crate::chaos::{Form, restarts, storm};

distributed!(crash_test, rolling_restarts);

async fn crash_test() {
    storm(Form {
        jobs: 250,
        users: 4,
        faults: 12,
        gap: 1.4..2.6,
        settled_within: Duration::from_secs(75),
        succeeded_percent: 97,
        long_freezes_until: Duration::from_secs(10),
        hugging_face: false,
    })
    .await;
}

async fn rolling_restarts() {
    restarts(8).await;
}
