//! A job as its owner sees it.

use config::{
    context::Context,
    media::{MediaKey, THUMBNAIL},
};
use entities::{
    Timestamp,
    ids::JobId,
    job::{
        AttemptOutcome, JobState, Kind, NewJob, PublicStatus,
        view::{JobView, QueuePlace},
    },
    tables::{attempts, holds, jobs, outputs},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::platform;

/// A job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobBody {
    /// `job_…`
    #[schema(value_type = String)]
    id: JobId,
    /// Always `job`.
    object: &'static str,
    /// `owner/name`
    model: String,
    /// `queued`, `running`, `succeeded`, `failed` or `canceled`.
    #[schema(value_type = String)]
    status: PublicStatus,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// With defaults filled in.
    #[schema(value_type = Object)]
    input: Value,
    /// The files it made.
    output: Vec<OutputBody>,
    /// Why it failed.
    error: Option<ErrorBody>,
    credits: CreditsBody,
    /// Its place while it waits.
    queue: Option<QueueBody>,
    /// 0 to 1
    progress: Option<f64>,
    /// The calls to providers.
    attempts: Vec<AttemptBody>,
    /// Your own pairs.
    #[schema(value_type = Object)]
    metadata: Value,
    /// When its content is deleted.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// A file that a job made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Output)]
pub(crate) struct OutputBody {
    url: String,
    #[schema(value_type = String, format = DateTime)]
    url_expires_at: Timestamp,
    content_type: String,
    width: Option<i32>,
    height: Option<i32>,
    bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<f64>,
    /// A picture of at most 320 x 320 pixels; null for what moves. A picture that is no larger is its
    /// own thumbnail.
    thumbnail: Option<ThumbnailBody>,
}

/// A small picture of a file, under a link that lives as long as the file's.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Thumbnail)]
pub(crate) struct ThumbnailBody {
    url: String,
    content_type: String,
    width: i32,
    height: i32,
    bytes: i64,
}

/// Why a job failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobError)]
pub(crate) struct ErrorBody {
    code: String,
    detail: String,
}

/// What a job costs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobCredits)]
pub(crate) struct CreditsBody {
    /// Held now.
    held: i64,
    charged: i64,
    released: i64,
}

/// A job's place in the queue.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueuePlace)]
pub(crate) struct QueueBody {
    position: u64,
    eta_seconds: Option<u64>,
}

/// A call to a provider.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(crate) struct AttemptBody {
    provider: String,
    #[schema(value_type = String)]
    outcome: AttemptOutcome,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
}

impl JobBody {
    /// A job as it was read; its media links begin to live now.
    pub(crate) fn new(context: &Context, view: JobView) -> Self {
        let JobView { job, hold, attempts, outputs, queue } = view;
        let links_until = context.links.expiry(context.clock.now()).min(job.expires_at);
        Self {
            status: job.state.public(),
            progress: progress(&job),
            error: error(&job),
            id: job.id,
            object: "job",
            model: job.model,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            input: job.input,
            output: outputs
                .into_iter()
                .filter(|output| output.deleted_at.is_none())
                .map(|output| OutputBody::new(context, job.kind, output, links_until))
                .collect(),
            credits: credits(&hold),
            queue: queue.map(QueueBody::new),
            attempts: attempts.into_iter().map(AttemptBody::new).collect(),
            metadata: job.metadata,
            expires_at: job.expires_at,
        }
    }

    /// A job that was just accepted, without reading it back.
    pub(crate) fn accepted(job: NewJob) -> Self {
        Self {
            id: job.id,
            object: "job",
            model: job.model,
            status: PublicStatus::Queued,
            created_at: job.created_at,
            started_at: None,
            finished_at: None,
            input: job.input,
            output: Vec::new(),
            error: None,
            credits: CreditsBody { held: job.credits.0, charged: 0, released: 0 },
            queue: None,
            progress: None,
            attempts: Vec::new(),
            metadata: job.metadata,
            expires_at: job.expires_at,
        }
    }

    pub(crate) fn id(&self) -> JobId {
        self.id
    }
}

/// The entity tag of a version.
pub(crate) fn etag(version: i64) -> String {
    format!("\"v{version}\"")
}

fn progress(job: &jobs::Model) -> Option<f64> {
    match job.state {
        JobState::Succeeded => Some(1.0),
        _ => job.progress.map(|progress| progress.clamp(0.0, 1.0)),
    }
}

fn error(job: &jobs::Model) -> Option<ErrorBody> {
    let code = job.error_code.clone()?;
    Some(ErrorBody { code, detail: job.error_detail.clone().unwrap_or_default() })
}

fn credits(hold: &holds::Model) -> CreditsBody {
    let held = if hold.closed_at.is_none() { hold.amount.0 } else { 0 };
    CreditsBody { held, charged: hold.captured.0, released: hold.released.0 }
}

impl OutputBody {
    fn new(context: &Context, kind: Kind, output: outputs::Model, until: Timestamp) -> Self {
        Self {
            thumbnail: ThumbnailBody::new(context, kind, &output, until),
            url: platform::link(context, &output.key, until),
            url_expires_at: until,
            content_type: output.content_type,
            width: output.width,
            height: output.height,
            bytes: output.bytes,
            // Milliseconds of a video are far below what a float holds exactly.
            duration_seconds: output.duration_ms.map(|ms| ms as f64 / 1000.0),
        }
    }
}

impl ThumbnailBody {
    fn new(
        context: &Context,
        kind: Kind,
        output: &outputs::Model,
        until: Timestamp,
    ) -> Option<Self> {
        if kind != Kind::Image {
            return None;
        }
        if let Some(content_type) = &output.thumbnail_type {
            let key: MediaKey = output.key.parse().ok()?;
            return Some(Self {
                url: platform::link(context, key.thumbnail()?.as_str(), until),
                content_type: content_type.clone(),
                width: output.thumbnail_width?,
                height: output.thumbnail_height?,
                bytes: output.thumbnail_bytes?,
            });
        }
        let (width, height) = (output.width?, output.height?);
        let small = width.max(height).unsigned_abs() <= THUMBNAIL;
        small.then(|| Self {
            url: platform::link(context, &output.key, until),
            content_type: output.content_type.clone(),
            width,
            height,
            bytes: output.bytes,
        })
    }
}

impl QueueBody {
    fn new(place: QueuePlace) -> Self {
        Self { position: place.position, eta_seconds: place.eta_seconds }
    }
}

impl AttemptBody {
    fn new(attempt: attempts::Model) -> Self {
        Self {
            provider: attempt.provider,
            outcome: attempt.outcome,
            started_at: attempt.started_at,
            finished_at: attempt.finished_at,
        }
    }
}
