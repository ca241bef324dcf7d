//! The short forms of the crash test and of the rolling restarts, part of every run; see `chaos`.

use std::time::Duration;

use crate::chaos::{Form, restarts, storm};

distributed!(crash_test, rolling_restarts);

async fn crash_test() {
    storm(Form {
        jobs: 250,
        users: 4,
        faults: 15,
        gap: 1.0..2.5,
        settled_within: Duration::from_secs(60),
    })
    .await;
}

async fn rolling_restarts() {
    restarts(8).await;
}
