//! Building the copies of their data that people ask for.
//!
//! | file | what |
//! |---|---|
//! | `archive` | a zip that is streamed as it is written |
//! | `content` | what goes into it |
//! | `page` | the page in it that people read |
//!
//! One worker process builds one export at a time, under a lease that it renews meanwhile. Rows are
//! read in pages and files are passed on as they are read, so that memory does not grow with the
//! account. Nothing is kept here: a builder that dies loses its lease, and another begins anew.

mod archive;
mod content;
mod page;

use std::{io, time::Duration};

use bytes::Bytes;
use config::{
    context::Context,
    media::{MediaError, MediaKey, MediaStore},
};
use entities::{
    Db, Timestamp,
    ids::UserId,
    mail::{self, Template},
    privacy,
    tables::exports,
};
use sea_orm::DbErr;
use tokio::sync::mpsc;

/// How long a builder may be silent.
const LEASE: Duration = Duration::from_secs(30);

/// How often a process looks whether somebody asked.
const LOOK: Duration = Duration::from_secs(1);

/// How soon an export that could not be built is begun again.
const AGAIN: Duration = Duration::from_secs(20);

/// Pieces that wait to be stored.
const WAITING: usize = 4;

/// Why an export was not built.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no such account any more.
    #[error("there is no such account")]
    NoAccount,
    /// The database failed.
    #[error("the database failed: {0}")]
    Db(#[from] DbErr),
    /// The media store failed.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The archive could not be written.
    #[error("the archive cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// What is in an export.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Jobs.
    pub jobs: u64,
    /// Entries of the ledger.
    pub ledger_entries: u64,
    /// Files of jobs and uploads.
    pub files: u64,
    /// Files that rows tell of and the store does not have.
    pub missing_files: u64,
}

/// Builds what is asked for, one after the other, until the process closes.
pub(crate) async fn export_loop(context: Context) {
    let stopping = context.shutdown.clone();
    while !stopping.is_closing() {
        match privacy::claim_export(&context.db, LEASE).await {
            Ok(Some(export)) => {
                tokio::select! {
                    () = build(&context, &export) => continue,
                    // Another process begins anew when the lease has run out.
                    () = stopping.wait() => return,
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "exports were not looked for"),
        }
        tokio::select! {
            () = stopping.wait() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn build(context: &Context, export: &exports::Model) {
    let key = MediaKey::export(export.id);
    let built = tokio::select! {
        built = store(context, export, &key) => built,
        () = until_lost(context, export) => {
            tracing::warn!(export = %export.id, "an export was taken over while it was built");
            return;
        }
    };
    match built {
        Ok(bytes) => finish(context, export, &key, bytes).await,
        // Whoever erases the account deletes the row.
        Err(ExportError::NoAccount) => {}
        Err(error) => {
            tracing::warn!(export = %export.id, %error, "an export was not built; it comes round again");
            if let Err(error) = privacy::export_again(context.db.write(), export, AGAIN).await {
                tracing::debug!(%error, "its lease will run out");
            }
        }
    }
}

async fn store(
    context: &Context,
    export: &exports::Model,
    key: &MediaKey,
) -> Result<u64, ExportError> {
    let now = context.clock.now();
    let (out, pieces) = mpsc::channel(WAITING);
    let write = write_archive(&context.db, &context.media, export.user_id, now, out);
    let pieces = futures::stream::unfold(pieces, |mut pieces| async move {
        Some((pieces.recv().await?, pieces))
    });
    let pieces = Box::pin(pieces);
    let (written, stored) = futures::join!(write, context.media.put_archive(key, pieces));
    written?;
    Ok(stored?)
}

async fn finish(context: &Context, export: &exports::Model, key: &MediaKey, bytes: u64) {
    let (now, kept) = (context.clock.now(), context.settings.retention.export);
    let ready =
        privacy::export_ready(context.db.write(), export, key.as_str(), bytes, now, kept).await;
    match ready {
        Ok(true) => {
            tracing::info!(export = %export.id, bytes, "an export is ready");
            tell(context, export).await;
        }
        Ok(false) => {
            // Its account was erased meanwhile, or another process builds it under this name.
            let still = privacy::export(context.db.read(), export.user_id, export.id).await;
            if matches!(still, Ok(None))
                && let Err(error) = context.media.delete(key).await
            {
                tracing::warn!(%error, "an export that nobody wants was not deleted");
            }
        }
        Err(error) => tracing::warn!(%error, "an export was built in vain; it comes round again"),
    }
}

/// Writes to whoever asked. A mail that is not written is no reason to build the export again.
async fn tell(context: &Context, export: &exports::Model) {
    let (db, now) = (context.db.write(), context.clock.now());
    let written = async {
        let account = privacy::account(context.db.read(), export.user_id).await?;
        let Some(user) = account.map(|data| data.user) else { return Ok(()) };
        if user.erased_at.is_some() {
            return Ok(());
        }
        mail::enqueue(db, Some(user.id), Template::ExportReady, &user.email, None, now)
            .await
            .map(drop)
    };
    let written: Result<(), DbErr> = written.await;
    if let Err(error) = written {
        tracing::warn!(%error, "nobody was told that an export is ready");
    }
}

/// Renews the lease until that fails.
async fn until_lost(context: &Context, export: &exports::Model) {
    loop {
        tokio::time::sleep(LEASE / 3).await;
        match privacy::renew_export(context.db.write(), export, LEASE).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!(%error, "the lease of an export was not renewed"),
        }
    }
}

/// Writes everything about a person as a zip to `out`, in pieces; an error goes there as well, so that
/// nobody takes a torn archive for a whole one.
///
/// # Errors
/// See [`ExportError`].
pub async fn write_archive(
    db: &Db,
    media: &MediaStore,
    user_id: UserId,
    now: Timestamp,
    out: mpsc::Sender<io::Result<Bytes>>,
) -> Result<Totals, ExportError> {
    let written = content::write(db, media, user_id, now, out.clone()).await;
    if let Err(error) = &written {
        // Whoever reads may have failed first.
        drop(out.send(Err(io::Error::other(error.to_string()))).await);
    }
    written
}
