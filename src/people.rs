//! Operators' commands for people who write: a copy of their data, a correction, the end of their
//! account; and the report on what is promised. The same use cases as over HTTP.

use std::{io::Write as _, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use config::{
    clock::Clock, erasure, mail::oldest_mail, media::MediaStore, secrets::MasterSecrets,
    settings::Settings,
};
use entities::{
    Db, accounts,
    audit::{self, Action},
    mail::LIFE,
    operators::{self, Acting, Correction},
    privacy::{self, Spans},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Writes everything about a person to a zip file, which must not exist.
pub(crate) async fn export(
    db: &Db,
    settings: &Settings,
    email: &str,
    file: &Path,
    by: &Acting,
) -> Result<(ExitCode, Value)> {
    let owner = accounts::find_workspace(db, email).await?;
    let media =
        MediaStore::local(&settings.media.dir).context("the media folder cannot be used")?;
    let event = by.event(owner.user.id, Action::ExportAsked, json!({}));
    audit::record(db.write(), event).await?;
    let (out, pieces) = mpsc::channel(4);
    let write = workers::exports::write_archive(db, &media, owner.user.id, by.at, out);
    let (written, stored) = futures::join!(write, keep(file, pieces));
    let bytes = stored.with_context(|| format!("{} was not written", file.display()))?;
    let totals = written?;
    Ok((ExitCode::SUCCESS, json!({"file": file, "bytes": bytes, "totals": totals})))
}

/// Readable by its owner only. What is torn is removed.
async fn keep(
    file: &Path,
    mut pieces: mpsc::Receiver<std::io::Result<bytes::Bytes>>,
) -> std::io::Result<u64> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut to = options.write(true).create_new(true).mode(0o600).open(file)?;
    let mut bytes = 0;
    while let Some(piece) = pieces.recv().await {
        let kept = piece.and_then(|piece| {
            to.write_all(&piece)?;
            Ok(piece.len() as u64)
        });
        match kept {
            Ok(more) => bytes += more,
            Err(error) => {
                drop(std::fs::remove_file(file));
                return Err(error);
            }
        }
    }
    to.sync_all()?;
    Ok(bytes)
}

/// Corrects a person's name or address; an empty name is none.
pub(crate) async fn update(
    db: &Db,
    email: &str,
    name: Option<String>,
    new_email: Option<String>,
    by: &Acting,
) -> Result<(ExitCode, Value)> {
    let name = name.map(|name| Some(name).filter(|name| !name.is_empty()));
    let correction = Correction { name, email: new_email };
    let user = operators::update_user(db, email, correction, by).await?;
    Ok((ExitCode::SUCCESS, json!({"id": user.id, "email": user.email, "name": user.name})))
}

/// Begins the end of an account; the scheduler does the rest.
pub(crate) async fn delete(
    db: &Db,
    settings: &Settings,
    secrets: &MasterSecrets,
    email: &str,
    by: &Acting,
) -> Result<(ExitCode, Value)> {
    let begun = erasure::delete_user(db, secrets, email, by).await?;
    let url = settings.gateway.public_url.at(&begun.place());
    let erasure = begun.erasure;
    let answer = json!({
        "id": erasure.id, "status": erasure.state, "token": begun.token, "url": url,
    });
    Ok((ExitCode::SUCCESS, answer))
}

/// What is stored about people, and whether what is promised about it is kept.
pub(crate) async fn report(
    db: &Db,
    clock: &Clock,
    settings: &Settings,
) -> Result<(ExitCode, Value)> {
    let spans = Spans {
        content: settings.retention.content,
        usage_log: settings.retention.usage_log,
        exports: settings.retention.export,
        audit: settings.retention.audit,
        session_idle: settings.accounts.session_idle,
        lost: settings.retention.lost,
    };
    let now = clock.now();
    let mut report = privacy::report(db, spans, now).await?;
    let folder = &settings.mail.dir;
    let oldest = oldest_mail(folder)
        .with_context(|| format!("the mails in {} cannot be looked at", folder.display()))?;
    let age = oldest.map(|oldest| now.since(oldest));
    report.add("mails in a folder that no server has sent, from their writing", LIFE, age);
    let code = if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok((code, serde_json::to_value(&report)?))
}
