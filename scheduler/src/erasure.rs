//! Ending accounts, step by step; see `entities::privacy`. Every round does a little of each open
//! erasure, so that one with much content does not hold another up, nor live traffic.

use std::time::Duration;

use config::context::Context;
use entities::{
    Effects, Timestamp, WriteError,
    privacy::{self, ErasureState, Owner},
    tables::erasures,
};
use uuid::Uuid;

use crate::tasks::write;

/// Erasures that one round works on.
const AT_ONCE: u64 = 20;

/// Jobs, files or rows that one round touches of each.
const BATCH: u64 = 200;

/// A request that was let in just before may still bring something.
const LAST_REQUESTS: Duration = Duration::from_secs(3);

pub(crate) async fn round(context: &Context, now: Timestamp) -> Result<(), WriteError> {
    for erasure in privacy::next_erasures(context.db.read(), AT_ONCE).await? {
        if let Err(error) = advance(context, &erasure, now).await {
            tracing::warn!(erasure = %erasure.id, %error, "an account is not erased yet; it goes on");
        }
    }
    let given_up = context.writer.run(Uuid::nil(), move |tx| {
        Box::pin(async move { privacy::give_up_copies(tx, BATCH, now).await })
    });
    let given_up = given_up.await?;
    if given_up > 0 {
        tracing::warn!(given_up, "providers never answered about copies that have ended by now");
    }
    Ok(())
}

async fn advance(
    context: &Context,
    erasure: &erasures::Model,
    now: Timestamp,
) -> Result<(), WriteError> {
    match erasure.state {
        ErasureState::Requested | ErasureState::Draining => drain(context, erasure, now).await,
        ErasureState::Erasing => erase(context, erasure, now).await,
        ErasureState::Erased => Ok(()),
    }
}

async fn drain(
    context: &Context,
    erasure: &erasures::Model,
    now: Timestamp,
) -> Result<(), WriteError> {
    let of = erasure.clone();
    let drained = context.writer.run(erasure.workspace_id.0, move |tx| {
        let of = of.clone();
        Box::pin(async move { privacy::drain(tx, &of, BATCH, now).await })
    });
    let (effects, none_left) = drained.await?;
    context.perform(effects);
    if none_left && now.since(erasure.requested_at) >= LAST_REQUESTS {
        let of = erasure.clone();
        write(context, move |tx| {
            let of = of.clone();
            Box::pin(async move {
                privacy::begin_erasing(tx, &of, now).await?;
                Ok(Effects::default())
            })
        })
        .await?;
    }
    Ok(())
}

async fn erase(
    context: &Context,
    erasure: &erasures::Model,
    now: Timestamp,
) -> Result<(), WriteError> {
    let (workspace, user) = (erasure.workspace_id, erasure.user_id);
    let batch = privacy::batch(context.db.read(), workspace, user, BATCH).await?;
    if !batch.is_empty() {
        let exports = batch.exports.iter().map(|id| config::media::MediaKey::export(*id));
        let exports: Vec<String> = exports.map(|key| key.to_string()).collect();
        for key in batch.job_keys.iter().chain(&batch.upload_keys).chain(&exports) {
            if let Err(error) = context.media.delete(key).await {
                // Files first: while one is there, its row must tell of it.
                tracing::warn!(%error, "a file of an account that ends was not deleted; it comes round again");
                return Ok(());
            }
        }
        let of = erasure.clone();
        return write(context, move |tx| {
            let (of, batch) = (of.clone(), batch.clone());
            Box::pin(async move { privacy::erase_batch(tx, &of, &batch, now).await })
        })
        .await;
    }
    let of = erasure.clone();
    let rest = context.writer.run(workspace.0, move |tx| {
        let of = of.clone();
        Box::pin(async move { privacy::erase_rest(tx, &of, BATCH).await })
    });
    if rest.await? > 0 {
        return Ok(());
    }
    half_copies(context).await?;
    // The last mail first: in the folder it is a file, and sending it deletes a row.
    let waiting = privacy::waiting_mails(context.db.write(), erasure, now).await?;
    if waiting > 0 || !mails(context, erasure).await {
        return Ok(());
    }
    if !context.db.scrub().await? {
        tracing::debug!(erasure = %erasure.id, "somebody still reads what was deleted");
        return Ok(());
    }
    let of = erasure.clone();
    write(context, move |tx| {
        let of = of.clone();
        Box::pin(async move {
            privacy::finish(tx, &of, now).await?;
            Ok(Effects::default())
        })
    })
    .await
}

/// Removes the person's mails from the folder that stands in for a mail server. `false`: some are
/// still there.
async fn mails(context: &Context, erasure: &erasures::Model) -> bool {
    let Some(marks) = erasure.address_mark.clone() else { return true };
    let secrets = context.secrets.clone();
    let theirs = move |address: &str| {
        let mark = secrets.erased_address(address);
        marks.chunks(mark.len()).any(|theirs| theirs == mark)
    };
    // Also with a mail server: there may not have been one yesterday.
    let folder = context.settings.mail.dir.clone();
    match config::mail::remove_mails_to(folder, theirs).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%error, "mails in the folder were not removed; they come round again");
            false
        }
    }
}

/// Takes erased people out of logs once more.
pub(crate) async fn logs_again(context: &Context, now: Timestamp) -> Result<(), WriteError> {
    write(context, move |tx| {
        Box::pin(async move {
            privacy::erase_logs_again(tx, now).await?;
            Ok(Effects::default())
        })
    })
    .await
}

/// Removes half copies of files that nobody waits for any more.
pub(crate) async fn half_copies(context: &Context) -> Result<(), WriteError> {
    let halves = match context.media.half_copies().await {
        Ok(halves) => halves,
        Err(error) => {
            tracing::warn!(%error, "half copies were not looked for");
            return Ok(());
        }
    };
    for some in halves.chunks(500) {
        let wanted = privacy::awaited(context.db.read(), some).await?;
        for (name, owner) in some.iter().filter(|(_, owner)| !wanted.contains(owner)) {
            let kind = match owner {
                Owner::Job(_) => "job",
                Owner::Upload(_) => "upload",
                Owner::Export(_) => "export",
            };
            match context.media.remove_half_copy(name).await {
                Ok(()) => context.metrics.retention_deleted("half_copy", 1),
                Err(error) => tracing::warn!(kind, %error, "a half copy was not removed"),
            }
        }
    }
    Ok(())
}
