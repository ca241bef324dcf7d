//! Buckets on Redis, on the clock of the Redis server. One script answers all requests that came
//! in while Redis answered the last ones: each key is read and written once for all of them, and
//! neither side pays for a round trip per request. No timer is involved: a request that finds
//! nobody asking is asked for at once.
//!
//! Stored: `PREFIX:{rate}:LIMIT:OWNER`, for each bucket that is not whole, the time at which it will
//! be; gone by itself then. All are in one slot of a cluster, because a request has several.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::Pipeline;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{Answer, Bucket, Quota};
use crate::queue::{QueueError, RedisServer, link::Link};

/// How long Redis is not asked again after it did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The most requests that one script answers: Redis does nothing else meanwhile.
const GROUP: usize = 128;

/// The sums of `gcra`. `ARGV` has for each request the number of its buckets, and for each bucket
/// the number of its key, the interval and the burst. Answers with how far each bucket of each
/// request was ahead before that request.
const TAKE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local whole_at, taken, answer, at = {}, {}, {}, 1
for i, known in ipairs(redis.call('MGET', unpack(KEYS))) do
    whole_at[i] = tonumber(known or now)
end
while at <= #ARGV do
    local buckets, last, refused = {}, at + 3 * ARGV[at], false
    for n = at + 1, last, 3 do
        local i, interval = tonumber(ARGV[n]), tonumber(ARGV[n + 1])
        local whole = interval * ARGV[n + 2]
        local ahead = math.min(math.max(whole_at[i] - now, 0), whole)
        answer[#answer + 1] = ahead
        buckets[#buckets + 1] = {i, ahead + interval}
        refused = refused or ahead + interval > whole
    end
    if not refused then
        for _, bucket in ipairs(buckets) do
            whole_at[bucket[1]] = now + bucket[2]
            taken[bucket[1]] = bucket[2]
        end
    end
    at = last + 1
end
for i, next in pairs(taken) do
    redis.call('SET', KEYS[i], string.format('%d', now + next), 'PX', math.ceil(next / 1000))
end
return answer
";

/// Buckets that processes share.
pub(super) struct RedisRates {
    inner: Arc<Inner>,
}

struct Inner {
    link: Link,
    prefix: String,
    /// How long an answer may take: a request is not held up for longer.
    patience: Duration,
    /// What Redis knows the script by.
    hash: String,
    /// Until when Redis is not asked.
    pause: Mutex<Option<Instant>>,
    line: Mutex<Line>,
}

/// Who waits to be asked for.
#[derive(Default)]
struct Line {
    waiting: Vec<Ask>,
    /// Whether a task asks for them.
    served: bool,
}

/// What one request asks.
struct Ask {
    buckets: Vec<(String, Quota)>,
    /// How far each bucket was ahead; dropped when Redis does not answer.
    ahead: oneshot::Sender<Vec<u64>>,
}

impl RedisRates {
    pub(super) fn new(
        server: &RedisServer,
        prefix: &str,
        patience: Duration,
    ) -> Result<Self, QueueError> {
        let inner = Inner {
            link: Link::new(server.client()?),
            prefix: prefix.to_owned(),
            patience,
            hash: redis::Script::new(TAKE).get_hash().to_owned(),
            pause: Mutex::new(None),
            line: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// `None`: Redis does not answer.
    pub(super) async fn take(&self, buckets: &[Bucket]) -> Option<Answer> {
        if self.inner.pauses() {
            return None;
        }
        let (ahead, answer) = oneshot::channel();
        let asked = buckets.iter().map(|bucket| (self.inner.key(bucket), bucket.quota)).collect();
        self.inner.line_up(Ask { buckets: asked, ahead });
        // A request that stood in line while Redis fell silent has waited once already.
        let ahead = timeout(self.inner.patience, answer).await.ok()?.ok()?;
        Some(Answer::before(buckets, &ahead))
    }
}

impl Inner {
    /// All buckets are in one slot: the braces are part of the name.
    fn key(&self, bucket: &Bucket) -> String {
        format!("{}:{{rate}}:{}", self.prefix, bucket.key())
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // Nothing can panic while it is held.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line_up(self: &Arc<Self>, ask: Ask) {
        let mut line = self.line();
        line.waiting.push(ask);
        if !mem::replace(&mut line.served, true) {
            // On its own: a request whose client goes away must not take the others with it.
            tokio::spawn(Arc::clone(self).serve());
        }
    }

    /// Asks for whoever waits, until nobody does.
    async fn serve(self: Arc<Self>) {
        loop {
            // Whoever can run now comes along.
            tokio::task::yield_now().await;
            let group: Vec<Ask> = {
                let mut line = self.line();
                let count = line.waiting.len().min(GROUP);
                line.served = count > 0;
                line.waiting.drain(..count).collect()
            };
            if group.is_empty() {
                return;
            }
            self.answer(group).await;
        }
    }

    async fn answer(&self, mut group: Vec<Ask>) {
        group.retain(|ask| !ask.ahead.is_closed());
        if group.is_empty() || self.pauses() {
            return;
        }
        let begun = Instant::now();
        match self.ask(&group).await {
            Ok(ahead) => {
                let mut ahead = ahead.into_iter();
                for ask in group {
                    let own: Vec<u64> = ahead.by_ref().take(ask.buckets.len()).collect();
                    // Whoever is gone needs no answer.
                    let _ = ask.ahead.send(own);
                }
            }
            Err(error) => self.stop_asking(begun, &error),
        }
    }

    fn pauses(&self) -> bool {
        let pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        pause.is_some_and(|end| Instant::now() < end)
    }

    fn stop_asking(&self, begun: Instant, error: &QueueError) {
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        // Told once, not every second.
        if pause.replace(Instant::now() + PAUSE).is_none_or(|end| end + PAUSE < begun) {
            tracing::warn!(%error, "this process keeps rate limits for itself");
        }
    }

    /// Sent twice after a broken connection, it takes twice: too careful, not too much.
    async fn ask(&self, group: &[Ask]) -> Result<Vec<u64>, QueueError> {
        match self.link.query(&call("EVALSHA", &self.hash, group), self.patience).await {
            // The server began without it, or was restarted.
            Err(QueueError::Refused(text)) if text.to_uppercase().contains("NOSCRIPT") => {
                self.link.query(&call("EVAL", TAKE, group), self.patience).await
            }
            answer => answer,
        }
        .map(|(ahead,): (Vec<u64>,)| ahead)
    }
}

fn call(command: &str, script: &str, group: &[Ask]) -> Pipeline {
    let (mut keys, mut numbers) = (Vec::new(), HashMap::new());
    for (key, _) in group.iter().flat_map(|ask| &ask.buckets) {
        numbers.entry(key.as_str()).or_insert_with(|| {
            keys.push(key);
            keys.len()
        });
    }
    let mut pipeline = redis::pipe();
    let call = pipeline.cmd(command).arg(script).arg(keys.len()).arg(keys);
    for ask in group {
        call.arg(ask.buckets.len());
        for (key, quota) in &ask.buckets {
            call.arg(numbers[key.as_str()]).arg(quota.interval()).arg(quota.burst());
        }
    }
    pipeline
}
