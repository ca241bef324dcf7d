//! Sends mails that wait, a few at a time. Each is claimed first, so that schedulers that run beside
//! each other do not send it twice.

use std::time::Duration;

use config::context::Context;
use tokio_util::task::AbortOnDropHandle;

/// How often somebody looks whether a mail waits.
const EVERY: Duration = Duration::from_millis(500);

/// After the database was away.
const LATER: Duration = Duration::from_secs(5);

/// Starts the task; it ends with the handle. What was claimed and not sent comes again.
pub(crate) fn start(context: &Context) -> AbortOnDropHandle<()> {
    let context = context.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let wait = match context.mailer.send_due(&context.db, &context.clock).await {
                Ok(_) => EVERY,
                Err(error) => {
                    tracing::warn!(%error, "mails wait for the database");
                    LATER
                }
            };
            tokio::time::sleep(wait).await;
        }
    }))
}
