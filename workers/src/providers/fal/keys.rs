//! Whether a callback was signed by fal.ai, for our account.
//!
//! Ed25519 over the request's id, the account's id, the time, and the hash of the raw body. The
//! public keys are read from the service and kept for a day; when none fits they are read once
//! more, but not more often than once a minute, so that forged callbacks cause no traffic.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use config::net;
use entities::Timestamp;
use http::HeaderMap;
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use url::Url;

use super::wire::KeySet;
use crate::retry::{Again, Retries};

/// How long keys are kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How soon they may be read again.
const RATE: Duration = Duration::from_secs(60);
/// They are needed before jobs that wait for their callback are given up, so no answer keeps them
/// from being asked for longer than this.
const BUSY: Duration = Duration::from_secs(120);
/// How far a callback's time may be from its arrival.
const TOLERANCE: i64 = 300;
/// The largest set of keys that is read, in bytes.
const LARGEST: usize = 64 * 1024;

type Key = [u8; 32];

/// Why a callback is not believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It is not fal.ai's, not for us, or too old.
    Wrong(&'static str),
    /// The keys could not be read.
    NoKeys(String),
    /// Our account's id is not known, so that nothing can be checked.
    NoAccount,
}

/// Checks signatures.
pub(super) struct Keys {
    client: reqwest::Client,
    url: Url,
    user_id: String,
    retries: Retries,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    keys: Vec<Key>,
    read_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
    /// They are not asked for before this: their place was busy.
    busy_until: Option<Timestamp>,
}

/// The parts of a callback that its signature covers.
struct Signed<'a> {
    request_id: &'a str,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Keys {
    pub(super) fn new(
        client: reqwest::Client,
        url: Url,
        user_id: String,
        retries: Retries,
    ) -> Self {
        Self { client, url, user_id, retries, kept: Mutex::default() }
    }

    /// The id of the request that a callback is about, if it is signed. `now` is the time by which
    /// keys grow old.
    pub(super) async fn verify<'a>(
        &self,
        headers: &'a HeaderMap,
        body: &[u8],
        arrived_at: Timestamp,
        now: Timestamp,
    ) -> Result<&'a str, Doubt> {
        let signed = self.signed(headers, body, arrived_at)?;
        let mut kept = self.kept.lock().await;
        let fresh = kept.read_at.is_some_and(|read| now.since(read) < KEPT);
        if fresh && kept.fits(&signed) {
            return Ok(signed.request_id);
        }
        let refused = kept.tried_at.is_some_and(|tried| now.since(tried) < RATE && tried <= now);
        let busy = kept.busy_until.is_some_and(|until| now < until);
        if refused || busy {
            return Err(Doubt::NoKeys("the keys were read a moment ago; none fits".to_owned()));
        }
        kept.tried_at = Some(now);
        let read = self.retries.run("keys", NotRead::again, || self.read());
        kept.keys = match read.await {
            Ok(keys) => keys,
            Err(not) => {
                kept.busy_until = not.retry_after.map(|wait| now.after(wait.min(BUSY)));
                return Err(Doubt::NoKeys(not.why));
            }
        };
        kept.busy_until = None;
        kept.read_at = Some(now);
        if kept.fits(&signed) {
            return Ok(signed.request_id);
        }
        Err(Doubt::Wrong("no key fits its signature"))
    }

    fn signed<'a>(
        &self,
        headers: &'a HeaderMap,
        body: &[u8],
        arrived_at: Timestamp,
    ) -> Result<Signed<'a>, Doubt> {
        let header = |name: &str| {
            let mut values = headers.get_all(name).iter();
            let value = values.next().and_then(|value| value.to_str().ok());
            value.filter(|_| values.next().is_none()).ok_or(Doubt::Wrong("it is not signed"))
        };
        let request_id = header("x-fal-webhook-request-id")?;
        let user_id = header("x-fal-webhook-user-id")?;
        let time = header("x-fal-webhook-timestamp")?;
        let signature = header("x-fal-webhook-signature")?;
        // Another customer's callback is signed as well as ours.
        if user_id != self.user_id {
            return Err(Doubt::Wrong("it is for another account (setting providers.fal_user_id)"));
        }
        let seconds: i64 = time.parse().map_err(|_| Doubt::Wrong("its time is no number"))?;
        let arrived = arrived_at.0.div_euclid(1_000_000);
        if arrived.saturating_sub(seconds).saturating_abs() > TOLERANCE {
            return Err(Doubt::Wrong("its time is too far from its arrival"));
        }
        let hash = hex::encode(Sha256::digest(body));
        let signature =
            hex::decode(signature).map_err(|_| Doubt::Wrong("its signature is no hex"))?;
        let message = [request_id, user_id, time, hash.as_str()].join("\n").into_bytes();
        Ok(Signed { request_id, message, signature })
    }

    async fn read(&self) -> Result<Vec<Key>, NotRead> {
        let (passing, lasting) =
            (|why: String| not_read(why, true), |why: String| not_read(why, false));
        let answer = self.client.get(self.url.clone()).send().await;
        let response = answer.map_err(|error| passing(net::Unanswered::from(error).to_string()))?;
        let status = response.status();
        if !status.is_success() {
            let why = format!("the keys were answered with {status}");
            let retry_after = net::busy_for(status, response.headers());
            return Err(NotRead { why, passes: status.is_server_error(), retry_after });
        }
        let body = net::read(response, LARGEST).await;
        let body = body.map_err(|error| passing(error.to_string()))?;
        let set: KeySet =
            serde_json::from_slice(&body).map_err(|error| lasting(error.to_string()))?;
        let key = |text: String| {
            let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
            Key::try_from(bytes).ok()
        };
        Ok(set.keys.into_iter().filter_map(|each| key(each.x?)).collect())
    }
}

/// Why the keys were not read.
#[derive(Debug)]
struct NotRead {
    why: String,
    passes: bool,
    /// Their place is busy for so long.
    retry_after: Option<Duration>,
}

fn not_read(why: String, passes: bool) -> NotRead {
    NotRead { why, passes, retry_after: None }
}

impl NotRead {
    fn again(&self) -> Again {
        match self.retry_after {
            Some(wait) => Again::After(wait),
            None if self.passes => Again::Soon,
            None => Again::No,
        }
    }
}

impl Kept {
    fn fits(&self, signed: &Signed<'_>) -> bool {
        self.keys.iter().any(|key| {
            UnparsedPublicKey::new(&ED25519, key).verify(&signed.message, &signed.signature).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        br#"{"request_id":"req_1","gateway_request_id":"req_1","status":"OK","payload":{"images":[]}}"#;
    const TIME: i64 = 1_760_000_000;

    /// A published example: nothing is read from the network, because a key that fits is kept.
    fn keys(user_id: &str) -> Keys {
        let x = URL_SAFE_NO_PAD.decode("A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg").unwrap();
        let client = net::client(net::Timeouts::call(Duration::from_secs(5))).unwrap();
        let url = Url::parse("http://127.0.0.1:9/none").unwrap();
        let keys = Keys::new(client, url, user_id.to_owned(), Retries::new("fal"));
        let kept =
            Kept { keys: vec![x.try_into().unwrap()], read_at: Some(at(0)), ..Kept::default() };
        Keys { kept: Mutex::new(kept), ..keys }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp((TIME + seconds) * 1_000_000)
    }

    fn headers() -> HeaderMap {
        let signature = "a7e74e0a02d25e065162a4efaf4b2663a6769f96cedfaac4c4a243b3e578beda\
                         618959f1f8814f54fd23d574e527ea3eed18a50727ad919c36e9c6c194dd670a";
        [
            ("x-fal-webhook-request-id", "req_1"),
            ("x-fal-webhook-user-id", "user_1"),
            ("x-fal-webhook-timestamp", "1760000000"),
            ("x-fal-webhook-signature", signature),
        ]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
    }

    async fn verify(keys: &Keys, headers: &HeaderMap, body: &[u8], seconds: i64) -> bool {
        keys.verify(headers, body, at(seconds), at(0)).await.is_ok()
    }

    #[tokio::test]
    async fn the_published_example_is_right() {
        let ours = keys("user_1");
        for (seconds, right) in [(0, true), (300, true), (-300, true), (301, false), (-301, false)]
        {
            assert_eq!(verify(&ours, &headers(), BODY, seconds).await, right, "{seconds}");
        }
        let headers = headers();
        assert_eq!(ours.verify(&headers, BODY, at(0), at(0)).await, Ok("req_1"));
    }

    #[tokio::test]
    async fn whatever_is_changed_is_refused() {
        assert!(!verify(&keys("user_2"), &headers(), BODY, 0).await, "another account");
        assert!(!verify(&keys("user_1"), &headers(), b"{}", 0).await, "another body");
        for (name, value) in [
            ("x-fal-webhook-request-id", "req_2"),
            ("x-fal-webhook-timestamp", "1760000001"),
            ("x-fal-webhook-timestamp", "soon"),
            ("x-fal-webhook-signature", "a7"),
            ("x-fal-webhook-signature", "zz"),
        ] {
            let mut changed = headers();
            changed.insert(name, value.parse().unwrap());
            assert!(!verify(&keys("user_1"), &changed, BODY, 0).await, "{name}: {value}");
            changed.remove(name);
            assert!(!verify(&keys("user_1"), &changed, BODY, 0).await, "{name} is missing");
            let mut twice = headers();
            twice.append(name, value.parse().unwrap());
            assert!(!verify(&keys("user_1"), &twice, BODY, 0).await, "{name} is there twice");
        }
    }
}
