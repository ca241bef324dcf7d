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

use super::{
    Answer, Bucket, Quota,
    advance::{Advances, Worth},
};
use crate::queue::{QueueError, RedisServer, link::Link};

/// How long Redis is not asked again after it did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The most requests that one script answers: Redis does nothing else meanwhile.
const GROUP: usize = 128;

/// The sums of `gcra`. `ARGV` has for each key the interval, how far the bucket may be ahead and how
/// many are worth taking in advance; then for each request the number of its buckets and the number
/// of each one's key. Answers with how far each bucket of each request was ahead before that request;
/// then for each key with how many it grants in advance (all or none), and how far it is ahead now.
const TAKE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ahead, interval, whole, taken, answer = {}, {}, {}, {}, {}
for i, known in ipairs(redis.call('MGET', unpack(KEYS))) do
    interval[i], whole[i] = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
    ahead[i] = known and math.min(math.max(known - now, 0), whole[i]) or 0
end
local at = 3 * #KEYS + 1
while at <= #ARGV do
    local last, refused = at + ARGV[at], false
    for n = at + 1, last do
        local i = tonumber(ARGV[n])
        answer[#answer + 1] = ahead[i]
        refused = refused or ahead[i] + interval[i] > whole[i]
    end
    if not refused then
        for n = at + 1, last do
            local i = tonumber(ARGV[n])
            ahead[i], taken[i] = ahead[i] + interval[i], true
        end
    end
    at = last + 1
end
for i, key in ipairs(KEYS) do
    local more = tonumber(ARGV[3 * i])
    if not taken[i] or ahead[i] + more * interval[i] > whole[i] / 2 then
        more = 0
    end
    ahead[i] = ahead[i] + more * interval[i]
    if taken[i] then
        local until_whole = math.ceil(ahead[i] / 1000)
        redis.call('SET', key, string.format('%d', now + ahead[i]), 'PX', until_whole)
    end
    answer[#answer + 1], answer[#answer + 2] = more, ahead[i]
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
    advances: Advances,
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
            advances: Advances::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// `None`: Redis does not answer.
    pub(super) async fn take(&self, buckets: &[Bucket]) -> Option<Answer> {
        if self.inner.pauses() {
            return None;
        }
        let asked: Vec<(String, Quota)> =
            buckets.iter().map(|bucket| (self.inner.key(bucket), bucket.quota)).collect();
        let ahead = match self.inner.advances.spend(&asked, Instant::now()) {
            Some(ahead) => ahead,
            None => {
                let (ahead, answer) = oneshot::channel();
                self.inner.line_up(Ask { buckets: asked, ahead });
                // A request that stood in line while Redis fell silent has waited once already.
                timeout(self.inner.patience, answer).await.ok()?.ok()?
            }
        };
        Some(Answer::before(buckets.iter().map(|bucket| bucket.quota).zip(ahead)))
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
        let begun = Instant::now();
        // What the last answer brought may be enough for them.
        let mut left = Vec::with_capacity(group.len());
        for ask in group {
            match self.advances.spend(&ask.buckets, begun) {
                // Whoever is gone needs no answer.
                Some(ahead) => drop(ask.ahead.send(ahead)),
                None => left.push(ask),
            }
        }
        let group = left;
        if group.is_empty() || self.pauses() {
            return;
        }
        let keys = Keys::of(&group);
        let worth = keys.worth(&group, &self.advances, begun);
        match self.ask(&keys.call(&group, &worth)).await {
            Ok(numbers) => {
                let mut numbers = numbers.into_iter();
                let answers: Vec<Vec<u64>> = group
                    .iter()
                    .map(|ask| numbers.by_ref().take(ask.buckets.len()).collect())
                    .collect();
                for named in keys.named {
                    let (Some(more), Some(ahead)) = (numbers.next(), numbers.next()) else { break };
                    let more = u32::try_from(more).unwrap_or(0);
                    self.advances.granted(named.key, more, ahead, begun);
                }
                for (ask, ahead) in group.into_iter().zip(answers) {
                    // Whoever is gone needs no answer.
                    let _ = ask.ahead.send(ahead);
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
    async fn ask(&self, call: &Call) -> Result<Vec<u64>, QueueError> {
        match self.link.query(&call.pipeline("EVALSHA", &self.hash), self.patience).await {
            // The server began without it, or was restarted.
            Err(QueueError::Refused(text)) if text.to_uppercase().contains("NOSCRIPT") => {
                self.link.query(&call.pipeline("EVAL", TAKE), self.patience).await
            }
            answer => answer,
        }
        .map(|(numbers,): (Vec<u64>,)| numbers)
    }
}

/// The keys of a group, each once.
struct Keys<'a> {
    named: Vec<Named<'a>>,
    numbers: HashMap<&'a str, usize>,
}

struct Named<'a> {
    key: &'a str,
    quota: Quota,
    /// How many requests of the group ask it.
    asks: u32,
}

impl<'a> Keys<'a> {
    fn of(group: &'a [Ask]) -> Self {
        let mut keys = Self { named: Vec::new(), numbers: HashMap::new() };
        for (key, quota) in group.iter().flat_map(|ask| &ask.buckets) {
            let next = keys.named.len();
            let number = *keys.numbers.entry(key).or_insert(next);
            if number == next {
                keys.named.push(Named { key, quota: *quota, asks: 0 });
            }
            keys.named[number].asks += 1;
        }
        keys
    }

    /// How many of each key are taken in advance. A request uses advances only if all of its buckets
    /// have one: what would not be used is not taken.
    fn worth(&self, group: &[Ask], advances: &Advances, now: Instant) -> Vec<u32> {
        let of = |named: &Named| advances.worth(named.key, named.quota, named.asks, now);
        let all: Vec<Worth> = self.named.iter().map(of).collect();
        let mut used = vec![0; all.len()];
        for ask in group {
            let numbers = || ask.buckets.iter().map(|(key, _)| self.numbers[key.as_str()]);
            if numbers().any(|number| all[number] == Worth::Nothing) {
                continue;
            }
            for number in numbers() {
                if let Worth::Some(more) = all[number] {
                    used[number] = more;
                }
            }
        }
        used
    }

    fn call(&self, group: &[Ask], worth: &[u32]) -> Call {
        let mut arguments = Vec::new();
        for (named, worth) in self.named.iter().zip(worth) {
            arguments.extend([named.quota.interval(), named.quota.whole(), u64::from(*worth)]);
        }
        for ask in group {
            arguments.push(ask.buckets.len() as u64);
            // Redis counts from one.
            let numbers = ask.buckets.iter().map(|(key, _)| self.numbers[key.as_str()] as u64 + 1);
            arguments.extend(numbers);
        }
        Call { keys: self.named.iter().map(|named| named.key.to_owned()).collect(), arguments }
    }
}

/// What the script is called with.
struct Call {
    keys: Vec<String>,
    arguments: Vec<u64>,
}

impl Call {
    fn pipeline(&self, command: &str, script: &str) -> Pipeline {
        let mut pipeline = redis::pipe();
        let call = pipeline.cmd(command).arg(script).arg(self.keys.len());
        call.arg(&self.keys).arg(&self.arguments);
        pipeline
    }
}
