//! Sends mails that wait, a few at a time. Each is claimed first, so that schedulers that run beside
//! each other do not send it twice. Every scheduler also looks through its own folder of mails that no
//! server sends.

use std::time::Duration;

use config::{context::Context, mail};
use entities::mail::LIFE;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// How often somebody looks whether a mail waits.
const EVERY: Duration = Duration::from_millis(500);

/// After the database was away.
const LATER: Duration = Duration::from_secs(5);

/// How often the folder is looked through.
const FOLDER_EVERY: Duration = Duration::from_secs(60);

/// Files that one look removes; more are removed at once with the next.
const FILES: usize = 200;

/// Starts the task; it ends with the handle. What was claimed and not sent comes again.
pub(crate) fn start(context: &Context) -> AbortOnDropHandle<()> {
    let context = context.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut look_again = Instant::now();
        loop {
            let wait = match context.mailer.send_due(&context.db, &context.clock).await {
                Ok(_) => EVERY,
                Err(error) => {
                    tracing::warn!(%error, "mails wait for the database");
                    LATER
                }
            };
            if Instant::now() >= look_again && folder(&context).await < FILES {
                look_again = Instant::now() + FOLDER_EVERY;
            }
            tokio::time::sleep(wait).await;
        }
    }))
}

/// Removes a small batch of files that are as old as a mail may be; how many it were. With a mail
/// server, too: there may not have been one yesterday.
async fn folder(context: &Context) -> usize {
    let before = context.clock.now().before(LIFE);
    let folder = context.settings.mail.dir.clone();
    match mail::remove_old_mails(folder, before, FILES).await {
        Ok(removed) => {
            context.metrics.retention_deleted("mail_file", removed);
            removed
        }
        Err(error) => {
            tracing::warn!(%error, "old mails in the folder were not removed; they come round again");
            0
        }
    }
}
