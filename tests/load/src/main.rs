//! The benchmark program: starts servers of its own (or drives one that runs on this machine),
//! measures one thing, prints a table or JSON. Run it with `tests/run load …`.
//!
//! Generator and servers share the machine, so the generator is one thread with a hand-written
//! HTTP client: what it uses is missing from the servers, and the results include it.

mod cli;
mod closed_loop;
mod http;
mod machine;
mod pgbench;
mod planted;
mod report;
mod server;
mod services;
mod stats;
mod tenants;
mod trials;
mod welch;

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use clap::Parser;

use crate::report::Report;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match run(&cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &cli::Cli) -> anyhow::Result<()> {
    let mut report = Report::new(machine::describe());
    trials::run(cli, &mut report).await?;
    let text = if cli.json { report.json()? } else { report.table() };
    writeln!(std::io::stdout(), "{text}").context("writing the results")?;
    anyhow::ensure!(report.failures().is_empty(), "{}", report.failures().join("; "));
    Ok(())
}
