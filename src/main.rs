//! TikTomato: AI image and video generation, sold by prepaid credits.
//!
//! This is the command line that joins the parts: `gateway`, `workers` and `scheduler` as separate
//! processes, or all of them in one when no command is given.

mod admin;
mod cli;
mod people;
mod serve;
mod start;
mod welcome;

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long tasks that were cut off may take to notice.
const LAST_TASKS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("tiktomato: another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    let arguments = cli::Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tiktomato: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(cli::run(arguments));
    // Whatever still hangs, such as a write to a dead disk, must not keep the process.
    runtime.shutdown_timeout(LAST_TASKS);
    match ended {
        Ok(code) => code,
        Err(error) => {
            // One sentence: the causes belong to it.
            eprintln!("tiktomato: {error:#}");
            ExitCode::FAILURE
        }
    }
}
