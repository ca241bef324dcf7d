//! Operators' commands. They work on the database directly, also beside running processes.

mod providers;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use config::clock::Clock;
use entities::{
    Credits, Db,
    accounts::{self, KeySecret, NewKey, NewUser, Scopes},
    ledger, reconcile,
};
use serde_json::{Value, json};

use crate::{
    cli::{Files, say},
    people, start,
};

#[derive(Debug, Args)]
pub(crate) struct Admin {
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a user with a personal workspace; grants nothing.
    CreateUser {
        #[arg(long)]
        email: String,
        #[arg(long)]
        name: Option<String>,
    },
    /// Make an API key, which is shown this once.
    CreateKey {
        /// The user's email address.
        #[arg(long)]
        user: String,
    },
    /// Give credits to a user's workspace.
    GrantCredits {
        /// The user's email address.
        #[arg(long)]
        user: String,
        #[arg(long)]
        credits: i64,
        #[arg(long)]
        reason: String,
    },
    /// Write everything that is stored about a user to a zip file.
    ExportUser {
        /// The user's email address.
        #[arg(long)]
        user: String,
        /// The file, which must not exist yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Correct a user's name or address.
    UpdateUser {
        /// The user's email address.
        #[arg(long)]
        user: String,
        /// The name; nothing removes it.
        #[arg(long)]
        name: Option<String>,
        /// The new address, which you vouch for.
        #[arg(long)]
        email: Option<String>,
    },
    /// Delete a user with everything that belongs to them; the receipt tells how far it has come.
    DeleteUser {
        /// The user's email address.
        #[arg(long)]
        user: String,
    },
    /// What is stored about people, and whether every promise about it is kept; exit 1 if not.
    PrivacyReport,
    /// Check every invariant; exit 1 when one is broken.
    Reconcile,
    /// Switch providers and their routes off and on, and see why one is not used.
    Providers {
        #[command(subcommand)]
        command: providers::Command,
    },
}

/// Runs the command.
pub(crate) async fn run(files: &Files, admin: Admin) -> Result<ExitCode> {
    let settings = start::settings(files, start::mode())?;
    let db = start::connect(&settings).await?;
    start::check_schema(&db).await?;
    let clock = start::clock(&settings);
    let (code, answer) = match admin.command {
        Command::CreateUser { email, name } => {
            let dispatch_limit = start::dispatch_limit(&settings);
            create_user(&db, &clock, NewUser::vouched_for(email, name, dispatch_limit)).await?
        }
        Command::CreateKey { user } => create_key(&db, &clock, &user).await?,
        Command::GrantCredits { user, credits, reason } => {
            grant(&db, &clock, &user, Credits(credits), &reason).await?
        }
        Command::ExportUser { user, out } => {
            people::export(&db, &clock, &settings, &user, &out).await?
        }
        Command::UpdateUser { user, name, email } => {
            people::update(&db, &clock, &user, name, email).await?
        }
        Command::DeleteUser { user } => {
            let secrets = start::secrets(&settings, start::mode())?;
            people::delete(&db, &clock, &settings, &secrets, &user).await?
        }
        Command::PrivacyReport => people::report(&db, &clock, &settings).await?,
        Command::Reconcile => check(&db).await?,
        Command::Providers { command } => {
            let catalogue = start::load_catalogue(files).map_err(|all| anyhow!(all.join("; ")))?;
            let here = providers::Here { db: &db, clock: &clock, catalogue, settings: &settings };
            (ExitCode::SUCCESS, here.run(command).await?)
        }
    };
    say(&match answer {
        _ if admin.json => answer.to_string(),
        Value::Object(fields) if fields.contains_key("providers") => providers::table(&fields),
        answer => plain(&answer),
    });
    db.close().await;
    Ok(code)
}

async fn create_user(db: &Db, clock: &Clock, new: NewUser) -> Result<(ExitCode, Value)> {
    let tx = db.begin().await?;
    let made = accounts::create_user(&tx, &new, clock.now()).await?;
    tx.commit().await?;
    Ok((ExitCode::SUCCESS, json!({"id": made.user.id, "email": made.user.email})))
}

async fn create_key(db: &Db, clock: &Clock, email: &str) -> Result<(ExitCode, Value)> {
    let (id, secret) = new_key(db, clock, email, "made by an operator").await?;
    Ok((ExitCode::SUCCESS, json!({"id": id, "key": secret.expose()})))
}

/// Makes a key for the user with this address.
pub(crate) async fn new_key(
    db: &Db,
    clock: &Clock,
    email: &str,
    name: &str,
) -> Result<(entities::ids::ApiKeyId, KeySecret)> {
    let owner = accounts::find_workspace(db, email).await?;
    let secret = KeySecret::from_random(config::random::secret());
    let new = NewKey {
        user_id: owner.user.id,
        workspace_id: owner.workspace.id,
        name: name.to_owned(),
        scopes: Scopes::all(),
        expires_at: None,
        spending_limit: None,
    };
    let key = accounts::create_key(db.write(), new, &secret, clock.now()).await?;
    Ok((key.id, secret))
}

async fn grant(
    db: &Db,
    clock: &Clock,
    email: &str,
    amount: Credits,
    reason: &str,
) -> Result<(ExitCode, Value)> {
    let owner = accounts::find_workspace(db, email).await?;
    let tx = db.begin().await?;
    let wallet = ledger::grant(&tx, owner.workspace.id, amount, reason, clock.now()).await?;
    tx.commit().await?;
    Ok((ExitCode::SUCCESS, json!({"available": wallet.available, "held": wallet.held})))
}

async fn check(db: &Db) -> Result<(ExitCode, Value)> {
    let violations = reconcile::reconcile(db).await?;
    let ok = violations.is_empty();
    let code = if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok((code, json!({"ok": ok, "violations": violations})))
}

/// `name: value` lines, for people.
fn plain(answer: &Value) -> String {
    let Value::Object(fields) = answer else { return answer.to_string() };
    let line = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name}: {text}"),
        Value::Array(items) if items.is_empty() => format!("{name}: none"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| format!("  {item}")).collect();
            format!("{name}:\n{}", items.join("\n"))
        }
        other => format!("{name}: {other}"),
    };
    fields.iter().map(line).collect::<Vec<_>>().join("\n")
}
