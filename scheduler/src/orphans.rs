//! Files without rows, and rows without files, found little by little: one of 256 parts of the store
//! at a time, and a page of rows of each kind. A file of nobody is removed; a row whose file is missing
//! is marked, and no longer tells of it when the mark has grown old.

use std::time::Duration;

use config::{
    context::Context,
    media::{MediaError, MediaKey},
};
use entities::{
    Timestamp, WriteError,
    privacy::{self, Named, Tellers},
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::tasks::write;

/// A file that was written to within this time is left alone, whatever the rows say: a mistake of an
/// operator (an older database beside newer files) should be noticed before it costs anything.
const YOUNG: Duration = Duration::from_secs(60 * 60);

/// Rows of each kind, and marks, whose files are looked for in one round.
const ROWS: u64 = 100;

/// Parts of the store that one round looks at, however late it comes.
const MOST: f64 = 32.0;

/// How far the leader has come. It begins anywhere, so that every part has its turn although leaders
/// change.
pub(crate) struct Orphans {
    last: Option<Instant>,
    part: u8,
    /// One for each kind of rows.
    turns: [Turn; Tellers::ALL.len()],
    /// Where the next page of marks begins.
    mark: Option<String>,
}

/// How far the rows of one kind were looked at.
#[derive(Default)]
struct Turn {
    /// Where the next page begins; `None` where all rows do.
    after: Option<Uuid>,
    /// How many files this turn has found, and how many the one before it.
    there: usize,
    before: usize,
}

impl Turn {
    fn note(&mut self, page: &Page) {
        self.there += page.there;
        self.after = page.next;
        if page.next.is_none() {
            self.before = std::mem::take(&mut self.there);
        }
    }
}

impl Default for Orphans {
    fn default() -> Self {
        Self {
            last: None,
            part: config::random::secret()[0],
            turns: Default::default(),
            mark: None,
        }
    }
}

impl Orphans {
    pub(crate) async fn round(&mut self, context: &Context) {
        let every = context.settings.retention.orphans;
        let since = self.last.map_or(every, |last| last.elapsed());
        if since < every {
            return;
        }
        self.last = Some(Instant::now());
        // The leader comes round once a second at most.
        let parts = since.div_duration_f64(every).clamp(1.0, MOST) as usize;
        for _ in 0..parts {
            self.part(context).await;
        }
    }

    async fn part(&mut self, context: &Context) {
        let part = self.part;
        self.part = part.wrapping_add(1);
        match files(context, part).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "files that nobody keeps were removed"),
            Err(error) => tracing::warn!(%error, "files without rows were not looked for"),
        }
        for (kind, turn) in Tellers::ALL.into_iter().zip(&mut self.turns) {
            match rows(context, kind, turn.after).await {
                Ok(page) => turn.note(&page),
                Err(error) => tracing::warn!(%error, "rows without files were not looked for"),
            }
        }
        // Where no file is found at all, it is the store that is missing.
        let may_remove = self.turns.iter().any(|turn| turn.there > 0 || turn.before > 0);
        match marks(context, self.mark.take(), may_remove).await {
            Ok(mark) => self.mark = mark,
            Err(error) => tracing::warn!(%error, "files that were missing were not looked for"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum SearchError {
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

async fn files(context: &Context, part: u8) -> Result<usize, SearchError> {
    let found = context.media.part(part, YOUNG).await?;
    let mut removed = 0;
    for some in found.chunks(200) {
        let named: Vec<Named> = some.iter().map(|found| found.named.clone()).collect();
        let kept = privacy::kept(context.db.read(), &named).await.map_err(WriteError::from)?;
        for found in some.iter().filter(|found| !kept.contains(&found.named)) {
            context.media.delete(&found.key).await?;
            removed += 1;
        }
    }
    if removed > 0 {
        context.metrics.retention_deleted("orphan_file", removed);
    }
    Ok(removed)
}

/// What a page of rows came to.
struct Page {
    /// Its last row, if others may follow.
    next: Option<Uuid>,
    /// How many of its files are there.
    there: usize,
}

/// Looks for the files of a page of rows, and marks those that are missing.
async fn rows(context: &Context, kind: Tellers, after: Option<Uuid>) -> Result<Page, SearchError> {
    let page = privacy::tellers(context.db.read(), kind, after, ROWS).await;
    let page = page.map_err(WriteError::from)?;
    let (mut missing, mut there) = (Vec::new(), 0);
    for row in &page {
        let key: Option<MediaKey> = row.key.parse().ok();
        let thumbnail = key.and_then(|key| key.thumbnail()).filter(|_| row.thumbnail);
        for key in [Some(row.key.clone()), thumbnail.map(|key| key.to_string())].iter().flatten() {
            match context.media.has(key).await {
                Ok(true) => there += 1,
                Ok(false) => missing.push(key.clone()),
                Err(error) => tracing::warn!(row = %row.id, %error, "a file was not looked for"),
            }
        }
    }
    let lost = privacy::mark_lost(context.db.write(), &missing, context.clock.now()).await;
    let lost = lost.map_err(WriteError::from)?;
    if lost > 0 {
        tracing::error!(lost, "files that rows tell of are not in the media store");
    }
    let next = page.last().filter(|_| page.len() as u64 == ROWS).map(|row| row.id);
    Ok(Page { next, there })
}

/// Looks at a page of marks: those whose file is back or that no row tells of go, and what tells of
/// files that have been missing for too long is removed, if `may_remove`. Answers with the last mark, if
/// others may follow.
async fn marks(
    context: &Context,
    after: Option<String>,
    may_remove: bool,
) -> Result<Option<String>, SearchError> {
    let page = privacy::lost_after(context.db.read(), after.as_deref(), ROWS).await;
    let page = page.map_err(WriteError::from)?;
    let now = context.clock.now();
    let (mut over, mut missing) = (Vec::new(), Vec::new());
    for mark in &page {
        let named = mark.key.parse().ok().and_then(|key: MediaKey| key.named());
        match named {
            Some(named) if !context.media.has(&mark.key).await? => missing.push((named, mark)),
            Some(_) | None => over.push(mark.key.clone()),
        }
    }
    let named: Vec<Named> = missing.iter().map(|(named, _)| named.clone()).collect();
    let told = privacy::told(context.db.read(), &named).await.map_err(WriteError::from)?;
    let mut old = Vec::new();
    for (named, mark) in missing {
        if !told.contains(&named) {
            over.push(mark.key.clone());
        } else if now.since(mark.found_at) >= context.settings.retention.lost {
            old.push(named);
        }
    }
    privacy::unmark(context.db.write(), &over).await.map_err(WriteError::from)?;
    if may_remove && !old.is_empty() {
        remove(context, old, now).await?;
    }
    Ok(page.last().filter(|_| page.len() as u64 == ROWS).map(|mark| mark.key.clone()))
}

/// Removes what rows tell of these files.
async fn remove(context: &Context, old: Vec<Named>, now: Timestamp) -> Result<(), WriteError> {
    let count = old.len();
    write(context, move |tx| {
        let old = old.clone();
        Box::pin(async move { privacy::remove_lost(tx, &old, now).await })
    })
    .await?;
    tracing::error!(count, "files have been missing for too long; nothing tells of them any more");
    context.metrics.retention_deleted("lost_file", count);
    Ok(())
}
