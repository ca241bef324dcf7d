//! Files without rows, and rows without files, found little by little: one of 256 parts of the store
//! at a time, and a page of rows.

use std::time::Duration;

use config::{
    context::Context,
    media::{Found, MediaError},
};
use entities::{WriteError, ids::OutputId, privacy};
use tokio::time::Instant;

/// A file that was written to within this time is left alone, whatever the rows say: a mistake of an
/// operator (an older database beside newer files) should be noticed before it costs anything.
const YOUNG: Duration = Duration::from_secs(60 * 60);

/// Rows whose files are looked for in one round.
const ROWS: u64 = 100;

/// Parts of the store that one round looks at, however late it comes.
const MOST: f64 = 32.0;

/// How far the leader has come. It begins anywhere, so that every part has its turn although leaders
/// change.
pub(crate) struct Orphans {
    last: Option<Instant>,
    part: u8,
    row: Option<OutputId>,
}

impl Default for Orphans {
    fn default() -> Self {
        Self { last: None, part: config::random::secret()[0], row: None }
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
        match rows(context, self.row).await {
            Ok(row) => self.row = row,
            Err(error) => tracing::warn!(%error, "rows without files were not looked for"),
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
        // A thumbnail is kept as long as its picture.
        let owned = |found: &Found| (found.key.original().to_string(), found.owner);
        let owned: Vec<_> = some.iter().map(owned).collect();
        let kept = privacy::kept(context.db.read(), &owned).await.map_err(WriteError::from)?;
        for (found, _) in some.iter().zip(&owned).filter(|(_, (key, _))| !kept.contains(key)) {
            context.media.delete(&found.key).await?;
            removed += 1;
        }
    }
    if removed > 0 {
        context.metrics.retention_deleted("orphan_file", removed);
    }
    Ok(removed)
}

/// Looks for the files of a page of rows; answers with where the next page begins.
async fn rows(context: &Context, after: Option<OutputId>) -> Result<Option<OutputId>, SearchError> {
    let page =
        privacy::outputs_after(context.db.read(), after, ROWS).await.map_err(WriteError::from)?;
    let (mut missing, mut there) = (Vec::new(), Vec::new());
    for (_, key) in &page {
        match context.media.head(key).await {
            Ok(_) => there.push(key.clone()),
            Err(MediaError::NotFound) => missing.push(key.clone()),
            Err(error) => return Err(error.into()),
        }
    }
    let now = context.clock.now();
    let lost = privacy::mark_lost(context.db.write(), &missing, &there, now)
        .await
        .map_err(WriteError::from)?;
    if lost > 0 {
        tracing::error!(lost, "files that rows tell of are not in the media store");
    }
    Ok(page.last().map(|(id, _)| *id))
}
