//! Long random walks over the use cases, each on a real SQLite file, beside a simple model of what
//! must come of each step: the state of every job, the credits of every workspace, the slots taken,
//! the routes that are shut and who waits for them.
//!
//! Two walks at a time share the steps. Their seeds are printed; `TIKTOMATO_TEST_SEED` repeats one of
//! them, `TIKTOMATO_TEST_STEPS` makes it longer. Workers die at any step, hints are lost, repeated
//! and late; stale holders try everything.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]
#![expect(clippy::disallowed_methods, reason = "the environment says which walk it is")]

mod simple;
mod walk;

use std::{thread, time::Instant};

/// Of all walks together.
const STEPS: u64 = 20_000;
const WALKS: u64 = 2;

/// After so many steps what may have changed is held against the model, and the invariants.
const CHECK_EVERY: u64 = 1_000;
/// After so many, everything.
const CHECK_ALL_EVERY: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_use_cases_follow_a_simple_model() {
    let steps = number("TIKTOMATO_TEST_STEPS").unwrap_or(STEPS);
    let walks: Vec<(u64, u64)> = match number("TIKTOMATO_TEST_SEED") {
        Some(seed) => vec![(seed, steps)],
        None => (0..WALKS)
            .map(|_| (u64::from_le_bytes(rand::random()), steps.div_ceil(WALKS)))
            .collect(),
    };
    let walking: Vec<_> = walks
        .into_iter()
        .map(|(seed, steps)| {
            println!("TIKTOMATO_TEST_SEED={seed} TIKTOMATO_TEST_STEPS={steps}");
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            (seed, thread::spawn(move || runtime.block_on(walk(seed, steps))))
        })
        .collect();
    let ended: Vec<_> = walking.into_iter().map(|(seed, walk)| (seed, walk.join())).collect();
    for (seed, end) in ended {
        match end {
            Ok(summary) => println!("{summary}"),
            Err(_) => panic!("the walk with TIKTOMATO_TEST_SEED={seed} went astray"),
        }
    }
}

async fn walk(seed: u64, steps: u64) -> String {
    let begun = Instant::now();
    let mut walk = walk::Walk::start(seed).await;
    for step in 1..=steps {
        walk.step().await;
        if step % CHECK_ALL_EVERY == 0 {
            walk.check_all().await;
        } else if step % CHECK_EVERY == 0 {
            walk.check().await;
        }
    }
    walk.settle_everything().await;
    walk.check_all().await;
    format!("{steps} steps in {:.1} s: {}", begun.elapsed().as_secs_f64(), walk.summary())
}
