//! Announcements between processes.
//!
//! One task publishes: whatever gathered while the last message was on its way goes out as the
//! next. Another holds the process's subscription, pings it when it is quiet, and renews it for
//! ever. Both end when the announcer is dropped.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use redis::RedisError;
use tokio::{
    sync::{broadcast, mpsc},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{Announcement, BUFFER, send, wire};
use crate::queue::{
    QueueError, RedisServer,
    link::{Backoff, Link, within},
};

/// How many announcements may wait to be published before some are lost.
const OUTBOX: usize = 16 * 1024;
/// Announcements in one message.
const BATCH: usize = 500;
/// How long publishing may take.
const LIMIT: Duration = Duration::from_secs(1);
/// A subscription that was silent for so long is pinged.
const QUIET: Duration = Duration::from_secs(10);
/// How long connecting, subscribing or an answer to a ping may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Announcements between processes over Redis.
pub struct RedisAnnouncer {
    me: Uuid,
    channel: String,
    link: Link,
    here: broadcast::Sender<Announcement>,
    publisher: Mutex<Option<Publisher>>,
    subscription: Mutex<Option<AbortOnDropHandle<()>>>,
}

struct Publisher {
    outbox: mpsc::Sender<Announcement>,
    _task: AbortOnDropHandle<()>,
}

impl RedisAnnouncer {
    pub(super) fn new(server: &RedisServer, prefix: &str) -> Result<Self, QueueError> {
        Ok(Self {
            me: Uuid::new_v4(),
            channel: format!("{prefix}:announcements"),
            link: Link::new(server.client()?),
            here: broadcast::Sender::new(BUFFER),
            publisher: Mutex::default(),
            subscription: Mutex::default(),
        })
    }

    pub(super) fn announce(&self, messages: &[Announcement]) {
        send(&self.here, messages);
        let mut publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        let outbox = &publisher.get_or_insert_with(|| self.publisher()).outbox;
        for message in messages {
            if outbox.try_send(message.clone()).is_err() {
                tracing::debug!("an announcement was lost: too many at once");
            }
        }
    }

    fn publisher(&self) -> Publisher {
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        let task = publish(inbox, self.link.clone(), self.channel.clone(), self.me);
        Publisher { outbox, _task: AbortOnDropHandle::new(tokio::spawn(task)) }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Announcement> {
        let receiver = self.here.subscribe();
        self.subscription.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| {
            let client = self.link.client().clone();
            let listener = Listener {
                me: self.me,
                channel: self.channel.clone(),
                here: self.here.downgrade(),
            };
            AbortOnDropHandle::new(tokio::spawn(listener.run(client)))
        });
        receiver
    }
}

async fn publish(mut inbox: mpsc::Receiver<Announcement>, link: Link, channel: String, me: Uuid) {
    let mut batch = Vec::with_capacity(BATCH);
    while inbox.recv_many(&mut batch, BATCH).await > 0 {
        let mut pipeline = redis::pipe();
        pipeline.cmd("PUBLISH").arg(&channel).arg(wire::encode(me, &batch));
        if let Err(error) = link.query::<(i64,)>(&pipeline, LIMIT).await {
            tracing::debug!(%error, lost = batch.len(), "announcements were lost");
        }
        batch.clear();
    }
}

struct Listener {
    me: Uuid,
    channel: String,
    here: broadcast::WeakSender<Announcement>,
}

impl Listener {
    async fn run(self, client: redis::Client) {
        let mut backoff = Backoff::new();
        loop {
            let Err(error) = self.listen(&client, &mut backoff).await;
            tracing::debug!(%error, "no subscription to announcements; trying again");
            sleep(backoff.next()).await;
        }
    }

    /// Hears one subscription until it breaks.
    async fn listen(
        &self,
        client: &redis::Client,
        backoff: &mut Backoff,
    ) -> Result<std::convert::Infallible, RedisError> {
        let (mut sink, mut stream) = within(PATIENCE, client.get_async_pubsub()).await?.split();
        within(PATIENCE, sink.subscribe(&self.channel)).await?;
        *backoff = Backoff::new();
        // What was announced before now was not heard.
        self.tell(&[Announcement::Resync]);
        loop {
            match timeout(QUIET, stream.next()).await {
                Ok(Some(message)) => self.tell(&wire::decode(self.me, message.get_payload_bytes())),
                Ok(None) => {
                    let closed = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                    return Err(closed.into());
                }
                Err(_quiet) => {
                    within(PATIENCE, sink.ping::<redis::Value>()).await?;
                }
            }
        }
    }

    fn tell(&self, messages: &[Announcement]) {
        if let Some(here) = self.here.upgrade() {
            send(&here, messages);
        }
    }
}
