//! Copying a finished job's media into our own store, and settling.
//!
//! Keys are deterministic, so a copy that is made twice is one object. While it lasts, the lease
//! is renewed; a lease that is lost ends the work without touching anything.

use std::time::Duration;

use bytes::Bytes;
use config::media::{MediaError, MediaKey, PutLimits};
use entities::{
    effects::Verb,
    job::{
        self, AttemptOutcome, Ending, Failure, JobRef, Kind, Lease, NewOutput, NewThumbnail,
        lease_remaining, policy,
    },
    tables::{attempts, jobs},
};
use futures::{StreamExt as _, stream::BoxStream};

use crate::{
    engine::{Engine, WorkError},
    providers::{Artifact, ArtifactSource, Finished},
    retry,
};

impl Engine {
    /// Stores the media of a job in `storing` whose lease we hold, and settles it.
    pub(crate) async fn store(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
        finished: Finished,
    ) -> Result<(), WorkError> {
        let copying = self.copy_all(job, finished.artifacts);
        let Some(stored) = self.while_leased(job, copying).await else { return Ok(()) };
        match stored {
            Ok(outputs) if outputs.is_empty() => self.media_lost(job, attempt).await,
            Ok(outputs) => self.succeed(job, attempt, outputs).await,
            Err(error) if error.is_final() => {
                tracing::warn!(%error, "the provider's media cannot be used");
                self.media_lost(job, attempt).await
            }
            Err(error) => {
                tracing::warn!(%error, "media was not stored");
                let asked = match error {
                    MediaError::Busy(wait) => wait.min(retry::PATIENCE),
                    _ => Duration::ZERO,
                };
                self.store_later(job, attempt, asked).await
            }
        }
    }

    pub(crate) async fn succeed(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
        outputs: Vec<NewOutput>,
    ) -> Result<(), WorkError> {
        let (steps, now) = (&self.context.steps, self.now());
        let done =
            Self::until_written(self.lease, || steps.succeed(job, attempt, outputs.clone(), now))
                .await?;
        if let Some(effects) = done {
            let captured = effects.credits.iter().filter(|(verb, _)| *verb == Verb::Capture);
            let captured = captured.map(|(_, credits)| credits.0).sum();
            let model = &attempt.provider_model;
            self.context.metrics.provider_captured(self.provider.name(), model, captured);
            self.context.perform(effects);
            let ran = job.started_at.map_or(Duration::ZERO, |started| now.since(started));
            self.context.metrics.job_run(&self.pool, self.provider.name(), ran.as_secs_f64());
            return Ok(());
        }
        // Somebody else was first. If they ended the job without a result, or its user deleted it
        // since, these files are nobody's.
        if job::view::keeps_files(self.context.db.read(), job.id).await? {
            return Ok(());
        }
        tracing::info!("files of a job that ended otherwise are removed");
        self.delete_files(job).await;
        Ok(())
    }

    async fn delete_files(&self, job: &jobs::Model) {
        for position in 0..usize::try_from(job.outputs_expected).unwrap_or(0) {
            let key = MediaKey::output(job.id, position);
            if let Err(error) = self.context.media.delete(key.as_str()).await {
                tracing::warn!(%error, "a file of a job without a result was not deleted");
            }
        }
    }

    async fn copy_all(
        &self,
        job: &jobs::Model,
        artifacts: Vec<Artifact>,
    ) -> Result<Vec<NewOutput>, MediaError> {
        let limits = match job.kind {
            Kind::Image => PutLimits::image(),
            Kind::Video => PutLimits::video(),
        };
        // More than was asked for is not the user's: it is neither stored nor charged.
        let asked = usize::try_from(job.outputs_expected).unwrap_or(1).max(1);
        let mut outputs = Vec::new();
        for (position, artifact) in artifacts.into_iter().take(asked).enumerate() {
            let key = MediaKey::output(job.id, position);
            let source = self.open(artifact, limits.bytes()).await?;
            let stored = self.context.media.put(&key, source, limits).await?;
            outputs.push(NewOutput {
                key: stored.key.to_string(),
                content_type: stored.content_type.mime().to_owned(),
                bytes: stored.bytes,
                sha256: stored.sha256,
                width: stored.width,
                height: stored.height,
                duration: stored.duration_ms.map(Duration::from_millis),
                thumbnail: stored.thumbnail.map(|small| NewThumbnail {
                    content_type: small.content_type.mime().to_owned(),
                    bytes: small.bytes,
                    width: small.width,
                    height: small.height,
                }),
            });
        }
        Ok(outputs)
    }

    /// Does work that may take longer than a lease. `None`: the lease was lost first.
    pub(crate) async fn while_leased<T>(
        &self,
        job: &jobs::Model,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.until_lease_is_lost(job) => {
                tracing::warn!(state = job.state.name(), "the lease was lost during the work");
                None
            }
        }
    }

    /// The bytes of a file, wherever they come from.
    async fn open(
        &self,
        artifact: Artifact,
        most: u64,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, MediaError> {
        Ok(match artifact.source {
            ArtifactSource::Bytes(bytes) => futures::stream::once(async { Ok(bytes) }).boxed(),
            ArtifactSource::Stream(stream) => stream,
            ArtifactSource::Url(url) => {
                let places = self.provider.media_origins();
                let open = || self.fetcher.open(&url, places, most);
                self.provider.retries().run("media", retry::fetch, open).await?
            }
        })
    }

    /// Renews the lease until that fails.
    async fn until_lease_is_lost(&self, job: &jobs::Model) {
        let guard = JobRef::from(job);
        loop {
            tokio::time::sleep(self.lease / 3).await;
            match job::renew(self.context.db.write(), &guard, self.lease).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, "a lease was not renewed"),
            }
        }
    }

    /// Tries again later, not before `asked` has passed, or ends the job when it was tried often
    /// enough.
    pub(crate) async fn store_later(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
        asked: Duration,
    ) -> Result<(), WorkError> {
        if job.store_tries + 1 >= policy::MAX_STORE_TRIES {
            return self.media_lost(job, attempt).await;
        }
        let wait = asked + policy::store_delay(job.store_tries + 1, Self::dice());
        let (before, now) = (job.clone(), self.now());
        self.change(job, move |tx| {
            let before = before.clone();
            Box::pin(async move { job::store_again(tx, &before, wait, now).await })
        })
        .await?;
        Ok(())
    }

    /// Ends the job: its objects go first, so that nothing is left that nobody paid for.
    pub(crate) async fn media_lost(
        &self,
        job: &jobs::Model,
        attempt: &attempts::Model,
    ) -> Result<(), WorkError> {
        // Whoever was frozen must not delete what another has stored and charged since.
        let (guard, lease) = (JobRef::from(job), self.lease);
        let asked = Lease::asked_now(lease);
        let held = self
            .write(job.workspace_id.0, move |tx| {
                Box::pin(async move { job::renew(tx, &guard, lease).await })
            })
            .await?;
        if !held || lease_remaining(&asked) < policy::LEASE_MARGIN {
            return Ok(());
        }
        self.delete_files(job).await;
        let ending = Ending::Failed(Failure {
            code: "media_failed",
            detail: "The provider finished, but its files could not be stored. Nothing was charged; please try again.".to_owned(),
        });
        self.end(job, attempt, AttemptOutcome::Failed, ending).await?;
        Ok(())
    }
}
