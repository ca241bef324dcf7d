//! What goes into an export: everything that is stored about a person, without secrets of the platform
//! (hashes of keys, of passwords and of cookies) and without anything of anybody else.

use std::io;

use bytes::Bytes;
use config::media::{MediaError, MediaStore};
use entities::{
    Db, Timestamp, audit,
    ids::{UserId, WorkspaceId},
    privacy::{self, AccountData, JobData},
    tables::{api_keys, attempts, outputs, uploads},
};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{ExportError, Totals, archive::Archive, page};

/// Rows that are read at a time.
const PAGE: u64 = 200;

pub(super) async fn write(
    db: &Db,
    media: &MediaStore,
    user_id: UserId,
    now: Timestamp,
    out: mpsc::Sender<io::Result<Bytes>>,
) -> Result<Totals, ExportError> {
    let found = privacy::account(db.read(), user_id).await?;
    let data = found.filter(|data| data.user.erased_at.is_none()).ok_or(ExportError::NoAccount)?;
    let mut export = Export {
        db,
        media,
        workspace: data.workspace.id,
        archive: Archive::new(out, now),
        totals: Totals::default(),
    };
    export.archive.text("account.json", &pretty(&profile(db, &data).await?)).await?;
    let keys: Vec<Value> = data.keys.iter().map(key).collect();
    export.archive.text("api_keys.json", &pretty(&keys.into())).await?;
    export.jobs().await?;
    export.ledger().await?;
    export.uploads().await?;
    export.usage().await?;
    export.audit(user_id).await?;
    export.media_of_jobs().await?;
    export.media_of_uploads().await?;
    export.index(&data, now).await?;
    let Export { archive, totals, .. } = export;
    archive.finish().await?;
    Ok(totals)
}

/// An export that is being written.
struct Export<'a> {
    db: &'a Db,
    media: &'a MediaStore,
    workspace: WorkspaceId,
    archive: Archive,
    totals: Totals,
}

impl Export<'_> {
    async fn jobs(&mut self) -> Result<(), ExportError> {
        self.archive.begin("jobs.json", true)?;
        let (mut rows, mut after) = (Rows::default(), None);
        loop {
            let page = privacy::jobs_page(self.db.read(), self.workspace, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.job.id);
            for data in &page {
                rows.add(&mut self.archive, &job(data)).await?;
                self.totals.jobs += 1;
            }
        }
        Ok(rows.end(&mut self.archive).await?)
    }

    async fn ledger(&mut self) -> Result<(), ExportError> {
        self.archive.begin("ledger.json", true)?;
        let (mut rows, mut after) = (Rows::default(), None);
        loop {
            let page = privacy::ledger_page(self.db.read(), self.workspace, after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.id);
            for (entry, note) in &page {
                let row = json!({
                    "id": entry.id, "kind": entry.kind, "amount": entry.amount.0,
                    "from": entry.from_account, "to": entry.to_account,
                    "reference": entry.reference, "note": note, "created_at": entry.created_at,
                });
                rows.add(&mut self.archive, &row).await?;
                self.totals.ledger_entries += 1;
            }
        }
        Ok(rows.end(&mut self.archive).await?)
    }

    async fn uploads(&mut self) -> Result<(), ExportError> {
        self.archive.begin("uploads.json", true)?;
        let (mut rows, mut after) = (Rows::default(), None);
        loop {
            let page = privacy::uploads_page(self.db.read(), self.workspace, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for upload in &page {
                let row = json!({
                    "id": upload.id, "file": upload_file(upload), "bytes": upload.bytes,
                    "content_type": upload.content_type, "sha256": upload.sha256,
                    "width": upload.width, "height": upload.height,
                    "came_with_a_job": upload.made_for_job,
                    "created_at": upload.created_at, "expires_at": upload.expires_at,
                });
                rows.add(&mut self.archive, &row).await?;
            }
        }
        Ok(rows.end(&mut self.archive).await?)
    }

    async fn usage(&mut self) -> Result<(), ExportError> {
        self.archive.begin("usage.json", true)?;
        let (mut rows, mut after) = (Rows::default(), None);
        loop {
            let page = privacy::usage_page(self.db.read(), self.workspace, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.at);
            for line in &page {
                rows.add(&mut self.archive, &json!(line)).await?;
            }
        }
        Ok(rows.end(&mut self.archive).await?)
    }

    async fn audit(&mut self, user_id: UserId) -> Result<(), ExportError> {
        self.archive.begin("audit.json", true)?;
        let (mut rows, mut after) = (Rows::default(), None);
        loop {
            let page = audit::list(self.db, user_id, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for event in &page {
                let row = json!({
                    "id": event.id, "at": event.at, "action": event.action,
                    "by_you": event.actor_id == Some(user_id), "address": event.address,
                    "browser": event.browser, "detail": event.detail,
                });
                rows.add(&mut self.archive, &row).await?;
            }
        }
        Ok(rows.end(&mut self.archive).await?)
    }

    async fn media_of_jobs(&mut self) -> Result<(), ExportError> {
        let mut after = None;
        loop {
            let page = privacy::jobs_page(self.db.read(), self.workspace, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.job.id);
            for output in page.iter().flat_map(|data| &data.outputs) {
                if output.deleted_at.is_none() {
                    self.file(&output_file(output), &output.key).await?;
                }
            }
        }
    }

    async fn media_of_uploads(&mut self) -> Result<(), ExportError> {
        let mut after = None;
        loop {
            let page = privacy::uploads_page(self.db.read(), self.workspace, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for upload in &page {
                self.file(&upload_file(upload), &upload.key).await?;
            }
        }
    }

    /// Passes a file on. One that is deleted meanwhile is left out; one that breaks off takes the
    /// export with it.
    async fn file(&mut self, name: &str, key: &str) -> Result<(), ExportError> {
        let opened = async {
            let bytes = self.media.head(key).await?.bytes;
            if bytes == 0 { Ok(None) } else { self.media.read(key, 0..bytes).await.map(Some) }
        };
        let source = match opened.await {
            Err(MediaError::NotFound) => {
                self.totals.missing_files += 1;
                return Ok(());
            }
            opened => opened?,
        };
        self.archive.begin(name, false)?;
        if let Some(mut source) = source {
            while let Some(bytes) = source.next().await {
                self.archive.write(&bytes?).await?;
            }
        }
        self.totals.files += 1;
        Ok(())
    }

    async fn index(&mut self, data: &AccountData, now: Timestamp) -> Result<(), ExportError> {
        self.archive.begin("index.html", true)?;
        self.archive.write(page::head(data, &self.totals, now).as_bytes()).await?;
        let mut after = None;
        loop {
            let jobs = privacy::jobs_page(self.db.read(), self.workspace, after, PAGE).await?;
            let Some(last) = jobs.last() else { break };
            after = Some(last.job.id);
            for job in &jobs {
                self.archive.write(page::job(job).as_bytes()).await?;
            }
        }
        Ok(self.archive.write(page::END.as_bytes()).await?)
    }
}

/// A JSON array, row by row.
#[derive(Default)]
struct Rows {
    any: bool,
}

impl Rows {
    async fn add(&mut self, archive: &mut Archive, row: &Value) -> io::Result<()> {
        let before = if self.any { ",\n" } else { "[\n" };
        self.any = true;
        archive.write(format!("{before}{row}").as_bytes()).await
    }

    async fn end(self, archive: &mut Archive) -> io::Result<()> {
        archive.write(if self.any { b"\n]\n" } else { b"[]\n" }).await
    }
}

fn pretty(value: &Value) -> String {
    // A value always has a text.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

async fn profile(db: &Db, data: &AccountData) -> Result<Value, ExportError> {
    let (user, workspace) = (&data.user, &data.workspace);
    let more = privacy::ways_in(db.read(), user.id).await?;
    let identities: Vec<Value> = more
        .identities
        .iter()
        .map(|known| {
            json!({"provider": known.provider, "subject": known.subject, "email": known.email,
                "created_at": known.created_at})
        })
        .collect();
    let sessions: Vec<Value> = more
        .sessions
        .iter()
        .map(|session| {
            json!({"id": session.id, "method": session.method, "address": session.address,
                "browser": session.browser, "created_at": session.created_at,
                "last_seen_at": session.last_seen_at, "expires_at": session.expires_at})
        })
        .collect();
    Ok(json!({
        "id": user.id, "email": user.email, "name": user.name, "role": user.role,
        "has_password": user.password_hash.is_some(),
        "email_verified_at": user.email_verified_at, "created_at": user.created_at,
        "workspace": {"id": workspace.id, "name": workspace.name, "created_at": workspace.created_at},
        "credits": {"available": data.wallet.available.0, "held": data.wallet.held.0},
        "identities": identities,
        "sessions": sessions,
    }))
}

fn key(key: &api_keys::Model) -> Value {
    json!({
        "id": key.id, "name": key.name, "ends_with": key.hint, "scopes": key.scopes.to_string(),
        "expires_at": key.expires_at, "spend_limit": key.spend_limit.map(|limit| limit.0), "created_at": key.created_at,
        "last_used_at": key.last_used_at, "revoked_at": key.revoked_at,
    })
}

fn job(data: &JobData) -> Value {
    let JobData { job, hold, attempts, outputs } = data;
    let calls: Vec<Value> = attempts.iter().map(call).collect();
    let files: Vec<Value> = outputs.iter().map(output).collect();
    let error =
        job.error_code.as_ref().map(|code| json!({"code": code, "detail": job.error_detail}));
    let credits = hold.as_ref().map(|hold| {
        json!({"amount": hold.amount.0, "charged": hold.captured.0, "released": hold.released.0})
    });
    json!({
        "id": job.id, "model": job.model, "status": job.state.public(), "api_key": job.api_key_id,
        "created_at": job.created_at, "started_at": job.started_at,
        "finished_at": job.finished_at, "expires_at": job.expires_at,
        "deleted_at": job.deleted_at, "content_erased_at": job.erased_at,
        "input": job.input, "metadata": job.metadata, "error": error, "credits": credits,
        "attempts": calls, "output": files,
    })
}

fn call(call: &attempts::Model) -> Value {
    json!({
        "number": call.number, "provider": call.provider, "model": call.provider_model,
        "outcome": call.outcome, "request_id": call.request_id, "started_at": call.started_at,
        "accepted_at": call.accepted_at, "finished_at": call.finished_at,
    })
}

fn output(output: &outputs::Model) -> Value {
    let file = output.deleted_at.is_none().then(|| output_file(output));
    json!({
        "file": file, "content_type": output.content_type, "bytes": output.bytes,
        "sha256": output.sha256, "width": output.width, "height": output.height,
        "duration_ms": output.duration_ms, "created_at": output.created_at,
        "deleted_at": output.deleted_at,
    })
}

/// Where a job's file is in the archive.
pub(super) fn output_file(output: &outputs::Model) -> String {
    format!("media/{}/{}.{}", output.job_id, output.position, extension(&output.content_type))
}

fn upload_file(upload: &uploads::Model) -> String {
    format!("uploads/{}.{}", upload.id, extension(&upload.content_type))
}

fn extension(content_type: &str) -> &str {
    match content_type {
        "image/jpeg" => "jpg",
        "image/png" | "image/webp" | "image/gif" | "video/mp4" | "video/webm" => {
            content_type.rsplit('/').next().unwrap_or("bin")
        }
        _ => "bin",
    }
}
