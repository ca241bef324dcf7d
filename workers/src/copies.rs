//! Asking a provider to delete its copies, for people who have deleted their account.

use std::time::{Duration, Instant};

use entities::privacy;

use crate::engine::Engine;

/// How often a pool looks whether there is something to ask.
const LOOK: Duration = Duration::from_secs(2);

/// How many copies are asked about before the next look.
const BATCH: u64 = 20;

/// Asks until the process closes. What is not answered is asked again, later each time.
pub(crate) async fn copies_loop(engine: Engine) {
    let stopping = engine.context.shutdown.clone();
    while !stopping.is_closing() {
        if let Err(error) = round(&engine).await {
            tracing::debug!(%error, "copies at the provider were not asked about");
        }
        tokio::select! {
            () = stopping.wait() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn round(engine: &Engine) -> Result<(), sea_orm::DbErr> {
    let (db, name) = (&engine.context.db, engine.provider.name());
    for copy in privacy::copies_due(db, name, BATCH, engine.now()).await? {
        let asked = Instant::now();
        let answer = engine.provider.forget(&copy.request_id).await;
        engine.count("forget", answer.as_ref().err(), asked);
        match answer {
            Ok(fate) => {
                let tx = db.begin().await?;
                privacy::copy_settled(&tx, copy.attempt_id, fate).await?;
                tx.commit().await?;
            }
            Err(refusal) => {
                tracing::warn!(provider = name, %refusal, "a copy was not deleted; it is asked again");
            }
        }
    }
    Ok(())
}
