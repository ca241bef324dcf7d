//! A long random walk over the use cases, on a real SQLite file, beside a simple model of what must
//! come of each step: the state of every job, the credits of every workspace, the slots taken.
//!
//! The seed is printed; `TIKTOMATO_TEST_SEED` repeats a walk, `TIKTOMATO_TEST_STEPS` makes it longer.
//! Workers die at any step, hints are lost, repeated and late; stale holders try everything.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]
#![expect(clippy::disallowed_methods, reason = "the environment says which walk it is")]

#[path = "model/simple.rs"]
mod simple;
#[path = "model/walk.rs"]
mod walk;

use std::time::Instant;

const STEPS: u64 = 20_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test]
async fn the_use_cases_follow_a_simple_model() {
    let chance = u64::from_le_bytes(rand::random());
    let seed = number("TIKTOMATO_TEST_SEED").unwrap_or(chance);
    let steps = number("TIKTOMATO_TEST_STEPS").unwrap_or(STEPS);
    println!("TIKTOMATO_TEST_SEED={seed} TIKTOMATO_TEST_STEPS={steps}");
    let begun = Instant::now();
    let mut walk = walk::Walk::start(seed).await;
    for step in 0..steps {
        walk.step().await;
        if step % 1_000 == 999 {
            walk.check().await;
        }
    }
    walk.settle_everything().await;
    walk.check().await;
    println!("{steps} steps in {:.1} s: {}", begun.elapsed().as_secs_f64(), walk.summary());
}
