//! Operators' commands for people who write: a copy of their data, a correction, the end of their
//! account; and the report on what is promised. The same use cases as over HTTP.

use std::{io::Write as _, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use config::{clock::Clock, media::MediaStore, secrets::MasterSecrets, settings::Settings};
use entities::{
    Db, accounts,
    audit::{self, Action, Event, Origin},
    privacy::{self, AskedBy, Proof, Spans},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Writes everything about a person to a zip file, which must not exist.
pub(crate) async fn export(
    db: &Db,
    clock: &Clock,
    settings: &Settings,
    email: &str,
    file: &Path,
) -> Result<(ExitCode, Value)> {
    let owner = accounts::find_workspace(db, email).await?;
    let media =
        MediaStore::local(&settings.media.dir).context("the media folder cannot be used")?;
    let now = clock.now();
    let (out, pieces) = mpsc::channel(4);
    let write = workers::exports::write_archive(db, &media, owner.user.id, now, out);
    let (written, stored) = futures::join!(write, keep(file, pieces));
    let bytes = stored.with_context(|| format!("{} was not written", file.display()))?;
    let totals = written?;
    let event = Event::own(owner.user.id, Action::ExportAsked, &Origin::default(), now).by(None);
    audit::record(db.write(), event).await?;
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

/// Corrects a person's name or address.
pub(crate) async fn update(
    db: &Db,
    clock: &Clock,
    email: &str,
    name: Option<String>,
    new_email: Option<String>,
) -> Result<(ExitCode, Value)> {
    if name.is_none() && new_email.is_none() {
        anyhow::bail!("nothing is to be changed: give --name or --email");
    }
    let owner = accounts::find_workspace(db, email).await?;
    let (id, now, origin) = (owner.user.id, clock.now(), Origin::default());
    let tx = db.begin().await?;
    if let Some(name) = name {
        let name = Some(name).filter(|name| !name.is_empty());
        privacy::rename(&tx, id, name, &origin, now).await?;
    }
    if let Some(new_email) = new_email {
        privacy::set_email(&tx, id, &new_email, &origin, now).await?;
    }
    tx.commit().await?;
    let found = privacy::account(db.read(), id).await?.context("the account is gone")?;
    let user = found.user;
    Ok((ExitCode::SUCCESS, json!({"id": user.id, "email": user.email, "name": user.name})))
}

/// Begins the end of an account; the scheduler does the rest.
pub(crate) async fn delete(
    db: &Db,
    clock: &Clock,
    settings: &Settings,
    secrets: &MasterSecrets,
    email: &str,
) -> Result<(ExitCode, Value)> {
    let owner = accounts::find_workspace(db, email).await?;
    let token = URL_SAFE_NO_PAD.encode(config::random::secret());
    let proof = Proof {
        asked_by: AskedBy::Operator,
        token: token.clone(),
        mark: &|email| secrets.erased_address(email),
    };
    let (id, now) = (owner.user.id, clock.now());
    let tx = db.begin().await?;
    let begun = privacy::request_erasure(&tx, id, &proof, now).await?;
    let event = Event::own(id, Action::AccountDeleted, &Origin::default(), now).by(None);
    audit::record(&tx, event).await?;
    tx.commit().await?;
    let erasure = begun.erasure;
    let place = format!("/v1/erasures/{}?token={token}", erasure.id);
    let answer = json!({
        "id": erasure.id, "status": erasure.state, "token": token,
        "url": settings.gateway.public_url.at(&place),
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
    };
    let report = privacy::report(db, spans, clock.now()).await?;
    let code = if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok((code, serde_json::to_value(&report)?))
}
