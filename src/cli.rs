//! The commands and their options.

use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use config::settings::Mode;

use crate::{admin, serve, start};

/// AI image and video generation, sold by prepaid credits.
#[derive(Debug, Parser)]
#[command(name = "tiktomato", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Exit after the sample job (only without a command).
    #[arg(long)]
    once: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Files that override what is built in.
#[derive(Debug, Clone, Args)]
pub(crate) struct Files {
    /// Settings, in TOML.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The catalogue of models, in TOML.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) models: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The HTTP API (needs DATABASE_URL and REDIS_URL).
    Gateway,
    /// Worker pools.
    Workers {
        /// A pool and how many calls it makes at the same time, such as fal=64. May be repeated.
        #[arg(long = "pool", value_name = "NAME=N", required = true, value_parser = parse_pool)]
        pools: Vec<workers::PoolSize>,
    },
    /// Periodic tasks; start several, one leads.
    Scheduler,
    /// The database schema.
    Migrate {
        #[command(subcommand)]
        step: Option<Migrate>,
    },
    /// Operators' commands; they work on the database directly.
    Admin(admin::Admin),
    /// Print the settings in force, or every mistake found.
    CheckConfig,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Migrate {
    /// Apply what is missing.
    Up,
    /// Take the newest migration back.
    Down,
    /// List the migrations.
    Status,
}

fn parse_pool(text: &str) -> Result<workers::PoolSize, String> {
    let bad = || "a pool is NAME=N, such as fal=64, with N of at least 1".to_owned();
    let (name, number) = text.split_once('=').ok_or_else(bad)?;
    let concurrency: NonZeroUsize = number.parse().map_err(|_| bad())?;
    if name.is_empty() {
        return Err(bad());
    }
    Ok(workers::PoolSize { name: name.to_owned(), concurrency })
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let files = &arguments.files;
    match arguments.command {
        None => serve::everything(files, arguments.once).await,
        Some(_) if arguments.once => {
            anyhow::bail!("--once is only for the start without a command")
        }
        Some(Command::Gateway) => serve::gateway(files).await,
        Some(Command::Workers { pools }) => serve::workers(files, &pools).await,
        Some(Command::Scheduler) => serve::scheduler(files).await,
        Some(Command::Migrate { step }) => migrate(files, step.unwrap_or(Migrate::Up)).await,
        Some(Command::Admin(command)) => admin::run(files, command).await,
        Some(Command::CheckConfig) => Ok(check_config(files)),
    }
}

async fn migrate(files: &Files, step: Migrate) -> Result<ExitCode> {
    let settings = start::settings(files, start::mode())?;
    let db = start::connect(&settings).await?;
    match step {
        Migrate::Up => {
            db.check_version().await?;
            let applied = migration::up(db.write()).await?;
            say(&format!("{applied} migration(s) applied"));
        }
        Migrate::Down => {
            migration::down(db.write()).await?;
            say("the newest migration was taken back");
        }
        Migrate::Status => {
            for migration in migration::status(db.write()).await? {
                let state = if migration.applied { "applied" } else { "missing" };
                say(&format!("{state}  {}", migration.name));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check_config(files: &Files) -> ExitCode {
    let mode = start::mode();
    match (start::load_settings(files, mode), start::load_catalogue(files)) {
        (Ok(settings), Ok(catalogue)) => {
            say(&settings.describe());
            let missing = start::not_offered(&settings, &catalogue)
                .into_iter()
                .chain(start::handovers(&settings, &catalogue))
                .chain(start::not_set_up(&settings))
                .chain(start::unconfirmed(&catalogue));
            for sentence in missing {
                say(&format!("# {sentence}"));
            }
            ExitCode::SUCCESS
        }
        (settings, catalogue) => {
            let settings = settings.err().into_iter().flatten().map(|mistake| mistake.to_string());
            for mistake in settings.chain(catalogue.err().into_iter().flatten()) {
                eprintln!("tiktomato: {mistake}");
            }
            let mode = match mode {
                Mode::Embedded => "everything in one process",
                Mode::Distributed => "separate processes",
            };
            eprintln!("tiktomato: the settings for {mode} have mistakes");
            ExitCode::FAILURE
        }
    }
}

/// What a command answers goes to standard output; logs go to standard error.
#[expect(clippy::print_stdout, reason = "the answer of a command")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}
