//! Operators' commands. They work on the database directly, also beside running processes, through
//! the same use cases as `/v1/admin`. The audit log has what they change, without a person: whoever
//! may run commands on this machine is not known to it.

mod providers;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use config::routes::Switches;
use entities::{
    Credits, Db,
    accounts::{KeySecret, NewUser},
    ids::ApiKeyId,
    operators::{self, Acting, Grant},
    reconcile,
    tables::users::Role,
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
        /// A name of yours for this grant: what has the same name is granted once.
        #[arg(long)]
        reference: Option<String>,
    },
    /// Make a user an operator, who may use `/v1/admin`, or no longer one.
    SetRole {
        /// The user's email address.
        #[arg(long)]
        user: String,
        #[arg(long, value_parser = role)]
        role: Role,
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
    let by = Acting::at_the_command_line(clock.now());
    let (code, answer) = match admin.command {
        Command::CreateUser { email, name } => {
            let new = NewUser::vouched_for(email, name, start::dispatch_limit(&settings));
            let user = operators::create_user(&db, &new, &by).await?.user;
            done(json!({"id": user.id, "email": user.email}))
        }
        Command::CreateKey { user } => {
            let (id, secret) = new_key(&db, &user, "made by an operator", &by).await?;
            done(json!({"id": id, "key": secret.expose()}))
        }
        Command::GrantCredits { user, credits, reason, reference } => {
            let order = Grant { amount: Credits(credits), reason, reference };
            let wallet = operators::grant(&db, &user, &order, &by).await?.wallet;
            done(json!({"available": wallet.available, "held": wallet.held}))
        }
        Command::SetRole { user, role } => {
            let user = operators::set_role(&db, &user, role, &by).await?;
            done(json!({"id": user.id, "email": user.email, "role": user.role}))
        }
        Command::ExportUser { user, out } => {
            people::export(&db, &settings, &user, &out, &by).await?
        }
        Command::UpdateUser { user, name, email } => {
            people::update(&db, &user, name, email, &by).await?
        }
        Command::DeleteUser { user } => {
            let secrets = start::secrets(&settings, start::mode())?;
            people::delete(&db, &settings, &secrets, &user, &by).await?
        }
        Command::PrivacyReport => people::report(&db, &clock, &settings).await?,
        Command::Reconcile => check(&db).await?,
        Command::Providers { command } => {
            let catalogue = start::load_catalogue(files).map_err(|all| anyhow!(all.join("; ")))?;
            let (routes, providers) = (catalogue.routes(), &settings.providers);
            let switches = Switches { db: &db, routes, providers };
            done(providers::run(&switches, command, clock.now(), &by).await?)
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

fn done(answer: Value) -> (ExitCode, Value) {
    (ExitCode::SUCCESS, answer)
}

fn role(text: &str) -> Result<Role, &'static str> {
    match text {
        "operator" => Ok(Role::Operator),
        "user" => Ok(Role::User),
        _ => Err("it is operator or user"),
    }
}

/// Makes a key for the user with this address.
pub(crate) async fn new_key(
    db: &Db,
    email: &str,
    name: &str,
    by: &Acting,
) -> Result<(ApiKeyId, KeySecret)> {
    let secret = KeySecret::from_random(config::random::secret());
    let id = operators::create_key(db, email, name, &secret, by).await?;
    Ok((id, secret))
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
