//! The reader of one worker: fills free slots with new entries and with those of dead workers.
//!
//! It owns one connection, because a blocking read holds up everything behind it. Nothing ends
//! it but the worker's stop: any fault leads to a new connection. A read that stays silent past
//! its own time-out means that the peer is gone.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use redis::{RedisError, Value, aio::MultiplexedConnection};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep},
};

use super::{
    entry::{self, Content, EntryId, GROUP, Raw},
    source::Worker,
};
use crate::queue::link::{Backoff, connect, is_refusal, within};

/// How long an answer may take beyond the time that Redis was asked to wait.
const GRACE: Duration = Duration::from_secs(5);
/// The longest blocking read, so that a dead connection is noticed.
const LONGEST_BLOCK: Duration = Duration::from_secs(30);
/// Dead consumers are looked for at every so many claims.
const CLAIMS_PER_REAPING: u32 = 4;
/// How many entries each side stream keeps, about.
const KEPT_UNREADABLE: usize = 1000;
const KEPT_FOR_OTHERS: usize = 100_000;

/// Removes the consumers that hold nothing and are called ARGV[2] or were idle for longer than
/// ARGV[3] ms. A script, because a consumer that is removed while it holds something loses it.
pub(super) const REAP: &str = r"
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local field = {}
  for i = 1, #consumer, 2 do field[consumer[i]] = consumer[i + 1] end
  if field.pending == 0 and (field.name == ARGV[2] or field.idle > tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], field.name)
  end
end";

struct Reader {
    worker: Arc<Worker>,
    next_claim: Instant,
    claims: u32,
    /// Entries may be pending for us whose delivery got lost with a connection.
    lost_some: bool,
    backoff: Backoff,
    /// The present trouble was logged.
    complained: bool,
}

/// Reads until the worker stops.
pub(super) async fn run(worker: Arc<Worker>) {
    let stop = worker.stop.clone();
    let mut reader = Reader {
        worker,
        next_claim: Instant::now(),
        claims: 0,
        lost_some: false,
        backoff: Backoff::new(),
        complained: false,
    };
    while let Err(error) = reader.session().await {
        let pool = &reader.worker.pool;
        if std::mem::replace(&mut reader.complained, true) {
            tracing::debug!(%pool, %error, "a worker cannot read from Redis yet");
        } else {
            tracing::warn!(%pool, %error, "a worker cannot read from Redis; it keeps trying");
        }
        reader.lost_some = true;
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(reader.backoff.next()) => {}
        }
    }
}

impl Reader {
    /// One connection's life; `Ok` when the worker stops.
    async fn session(&mut self) -> Result<(), RedisError> {
        let mut connection = connect(self.worker.link.client()).await?;
        let id = within(GRACE, redis::cmd("CLIENT").arg("ID").query_async(&mut connection)).await?;
        self.worker.client_id.store(id, Ordering::Relaxed);
        self.ensure_group(&mut connection).await?;
        loop {
            let stop = self.worker.stop.clone();
            let mut slots = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                slots = self.free_slots() => slots,
            };
            match self.fill(&mut connection, &mut slots).await {
                Ok(()) => self.settled(),
                // Somebody emptied Redis.
                Err(error) if matches!(error.code(), Some("NOGROUP" | "UNBLOCKED")) => {
                    self.ensure_group(&mut connection).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn settled(&mut self) {
        self.backoff = Backoff::new();
        if std::mem::take(&mut self.complained) {
            tracing::info!(pool = %self.worker.pool, "a worker reads from Redis again");
        }
    }

    /// Waits for a free slot and takes all that are free then.
    async fn free_slots(&self) -> OwnedSemaphorePermit {
        loop {
            // The semaphore is never closed, so this ends with a permit.
            let Ok(mut slots) = Arc::clone(&self.worker.slots).acquire_owned().await else {
                continue;
            };
            let more = u32::try_from(self.worker.slots.available_permits()).unwrap_or(u32::MAX);
            if let Ok(others) = Arc::clone(&self.worker.slots).try_acquire_many_owned(more) {
                slots.merge(others);
            }
            return slots;
        }
    }

    /// Fills `slots` once: with what got lost, with what the dead left, with what is new.
    async fn fill(
        &mut self,
        connection: &mut MultiplexedConnection,
        slots: &mut OwnedSemaphorePermit,
    ) -> Result<(), RedisError> {
        if self.lost_some {
            self.recover(connection, slots).await?;
            self.lost_some = false;
        }
        if Instant::now() >= self.next_claim && slots.num_permits() > 0 {
            self.claim(connection, slots).await?;
        }
        if slots.num_permits() == 0 {
            return Ok(());
        }
        let wait = self.next_claim.saturating_duration_since(Instant::now());
        let block = wait.clamp(Duration::from_millis(1), LONGEST_BLOCK);
        let worker = &self.worker;
        let stream = &worker.keys.stream;
        let count = slots.num_permits();
        let read = entry::read(stream, &worker.consumer, count, Some(block.as_millis()), ">");
        let reply = within(block + GRACE, read.query_async(connection)).await?;
        self.deliver(connection, entry::read_reply(reply)?, slots).await
    }

    /// Takes what Redis believes we have although it never arrived.
    async fn recover(
        &self,
        connection: &mut MultiplexedConnection,
        slots: &mut OwnedSemaphorePermit,
    ) -> Result<(), RedisError> {
        let worker = &self.worker;
        let count = worker.hands.held().len() + slots.num_permits();
        let read = entry::read(&worker.keys.stream, &worker.consumer, count, None, "0");
        let reply = within(GRACE, read.query_async(connection)).await?;
        self.deliver(connection, entry::read_reply(reply)?, slots).await
    }

    /// Takes over what has shown no sign of life for a claim window.
    async fn claim(
        &mut self,
        connection: &mut MultiplexedConnection,
        slots: &mut OwnedSemaphorePermit,
    ) -> Result<(), RedisError> {
        let wanted = slots.num_permits();
        let stale = self.stale(connection, wanted).await?;
        if !stale.is_empty() {
            let worker = &self.worker;
            let mut claim = redis::cmd("XCLAIM");
            claim.arg(&worker.keys.stream).arg(GROUP).arg(&worker.consumer);
            claim.arg(millis(worker.window)).arg(&stale);
            let reply = within(GRACE, claim.query_async(connection)).await?;
            let entries = entry::claim_reply(reply)?;
            self.drop_ghosts(connection, &stale, &entries).await?;
            self.deliver(connection, entries, slots).await?;
        }
        // A full load suggests that there is more: look again when there are slots.
        if stale.len() < wanted {
            self.next_claim = Instant::now() + self.worker.window / 3;
            self.reap(connection).await;
        }
        Ok(())
    }

    async fn stale(
        &self,
        connection: &mut MultiplexedConnection,
        count: usize,
    ) -> Result<Vec<EntryId>, RedisError> {
        let mut pending = redis::cmd("XPENDING");
        pending.arg(&self.worker.keys.stream).arg(GROUP);
        pending.arg("IDLE").arg(millis(self.worker.window)).arg("-").arg("+").arg(count);
        let reply: Value = within(GRACE, pending.query_async(connection)).await?;
        entry::pending_reply(reply)
    }

    /// Acknowledges entries that are pending although somebody deleted them: Redis 6.2 would
    /// hand them out for ever.
    async fn drop_ghosts(
        &self,
        connection: &mut MultiplexedConnection,
        asked: &[EntryId],
        claimed: &[Raw],
    ) -> Result<(), RedisError> {
        let claimed: HashSet<_> = claimed.iter().map(|raw| raw.id).collect();
        let stream = &self.worker.keys.stream;
        for id in asked.iter().filter(|id| !claimed.contains(id)) {
            let mut range = redis::cmd("XRANGE");
            range.arg(stream).arg(id).arg(id);
            let found: Vec<Value> = within(GRACE, range.query_async(connection)).await?;
            if found.is_empty() {
                let mut ack = redis::cmd("XACK");
                ack.arg(stream).arg(GROUP).arg(id);
                within(GRACE, ack.exec_async(connection)).await?;
            }
        }
        Ok(())
    }

    async fn reap(&mut self, connection: &mut MultiplexedConnection) {
        self.claims = self.claims.wrapping_add(1);
        if !self.claims.is_multiple_of(CLAIMS_PER_REAPING) {
            return;
        }
        let mut script = redis::cmd("EVAL");
        script.arg(REAP).arg(1).arg(&self.worker.keys.stream);
        script.arg(GROUP).arg("").arg(millis(self.worker.window * CLAIMS_PER_REAPING));
        if let Err(error) = within(GRACE, script.exec_async(connection)).await {
            tracing::debug!(%error, "dead consumers were not removed");
        }
    }

    async fn deliver(
        &self,
        connection: &mut MultiplexedConnection,
        entries: Vec<Raw>,
        slots: &mut OwnedSemaphorePermit,
    ) -> Result<(), RedisError> {
        let (mut hints, mut others) = (Vec::with_capacity(entries.len()), Vec::new());
        for raw in entries {
            match raw.content() {
                Content::Hint(hint) => hints.push((raw.id, hint)),
                Content::OtherVersion(version) => others.push((raw, Some(version))),
                Content::Unreadable => others.push((raw, None)),
            }
        }
        self.worker.hands.take(hints, slots);
        for (raw, version) in others {
            self.set_aside(connection, &raw, version).await?;
        }
        Ok(())
    }

    /// Moves an entry that is not for us to where it is: the stream of its version, or the one
    /// that an operator looks at.
    async fn set_aside(
        &self,
        connection: &mut MultiplexedConnection,
        raw: &Raw,
        version: Option<u16>,
    ) -> Result<(), RedisError> {
        let keys = &self.worker.keys;
        let (target, kept) = match version {
            Some(version) => (keys.stream_of(version), KEPT_FOR_OTHERS),
            None => (keys.unreadable.clone(), KEPT_UNREADABLE),
        };
        tracing::warn!(pool = %self.worker.pool, entry = %raw.id, %target, "moved an entry that this program cannot read");
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline.cmd("XADD").arg(target).arg("MAXLEN").arg("~").arg(kept).arg("*").arg(&raw.fields);
        entry::remove(&mut pipeline, &keys.stream, &[raw.id]);
        within(GRACE, pipeline.exec_async(connection)).await
    }

    async fn ensure_group(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(&self.worker.keys.stream).arg(GROUP).arg("0").arg("MKSTREAM");
        match within(GRACE, create.exec_async(connection)).await {
            Err(error) if is_refusal(&error) && error.code() == Some("BUSYGROUP") => Ok(()),
            other => other,
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
