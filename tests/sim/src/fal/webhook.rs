//! Callbacks: signed with Ed25519, sent again while they are not taken.

use std::{io, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Fal,
    fault::{CallbackFault, Fault},
    request::{Outcome, Request},
};

/// How often a callback that is not taken is sent.
pub const TRIES: usize = 10;
/// How soon it is sent again; each time twice as long,
const AGAIN: Duration = Duration::from_millis(500);
/// but never longer than this. The service itself takes hours for it.
const RAREST: Duration = Duration::from_secs(5);

/// The keys that sign.
pub(super) struct Signer {
    current: Ed25519KeyPair,
    /// Public keys that are published, the current one last.
    published: Vec<Vec<u8>>,
}

impl Signer {
    pub(super) fn new() -> io::Result<Self> {
        let current = key()?;
        // There are always two: one that is not used yet, or not any more.
        let published = vec![key()?.public_key().as_ref().to_vec(), public(&current)];
        Ok(Self { current, published })
    }

    pub(super) fn rotate(&mut self, publish_old: bool) -> io::Result<()> {
        self.current = key()?;
        if !publish_old {
            self.published.clear();
        }
        self.published.push(public(&self.current));
        Ok(())
    }

    pub(super) fn key_set(&self) -> Value {
        let key = |bytes: &Vec<u8>| json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": URL_SAFE_NO_PAD.encode(bytes)});
        json!({"keys": self.published.iter().map(key).collect::<Vec<_>>()})
    }
}

fn public(key: &Ed25519KeyPair) -> Vec<u8> {
    key.public_key().as_ref().to_vec()
}

fn key() -> io::Result<Ed25519KeyPair> {
    let failed = |_| io::Error::other("no key can be made");
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(failed)?;
    Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| io::Error::other("no key can be made"))
}

/// Reports the end of a request, if somebody wants to know.
pub(super) async fn report(fal: &Fal, request: &Arc<Request>) {
    if request.callback.is_none() {
        return;
    }
    let fault = fal.0.rules.take(&request.text, |fault| match fault {
        Fault::Callback(fault) => Some(fault.clone()),
        _ => None,
    });
    match &fault {
        Some(CallbackFault::Missing) => return,
        Some(CallbackFault::Late(millis)) => {
            tokio::time::sleep(Duration::from_millis(*millis)).await;
        }
        _ => {}
    }
    let times = if fault == Some(CallbackFault::Twice) { 2 } else { 1 };
    for _ in 0..times {
        let mut wait = AGAIN;
        for _ in 0..TRIES {
            if matches!(deliver(fal, request, fault.as_ref()).await, Ok(200..=299)) {
                break;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RAREST);
        }
    }
}

/// Sends a callback once; the status of the answer.
pub(super) async fn deliver(
    fal: &Fal,
    request: &Request,
    fault: Option<&CallbackFault>,
) -> io::Result<u16> {
    let url = request.callback.as_ref().ok_or_else(|| io::Error::other("it asked for none"))?;
    let id = match fault {
        Some(CallbackFault::OtherRequest) => "00000000-0000-4000-8000-00000000beef",
        _ => request.id.as_str(),
    };
    let body = body(request, id, fault).to_string();
    let user = match fault {
        Some(CallbackFault::OtherAccount) => "user_somebody_else",
        _ => fal.0.user_id.as_str(),
    };
    let age = if fault == Some(&CallbackFault::Old) { 3_600 } else { 0 };
    let time = (now() - age).to_string();
    let headers = match fault {
        Some(CallbackFault::Forged) => sign(&key()?, id, user, &time, body.as_bytes()),
        _ => sign(&fal.signer().current, id, user, &time, body.as_bytes()),
    };
    let request_to = fal.0.client.post(url).header("content-type", "application/json");
    let signed = headers.into_iter().fold(request_to, |to, (name, value)| to.header(name, value));
    let sent = signed.body(body).send().await;
    let status = sent.as_ref().map_or(0, |answer| answer.status().as_u16());
    fal.0.record.change(&request.id, |entry| entry.deliveries.push(status));
    sent.map(|answer| answer.status().as_u16()).map_err(io::Error::other)
}

/// The headers of a callback.
fn sign(
    key: &Ed25519KeyPair,
    id: &str,
    user: &str,
    time: &str,
    body: &[u8],
) -> [(&'static str, String); 4] {
    let message = [id, user, time, &hex::encode(Sha256::digest(body))].join("\n");
    [
        ("x-fal-webhook-request-id", id.to_owned()),
        ("x-fal-webhook-user-id", user.to_owned()),
        ("x-fal-webhook-timestamp", time.to_owned()),
        ("x-fal-webhook-signature", hex::encode(key.sign(message.as_bytes()))),
    ]
}

impl Fal {
    /// The headers of a callback with this body, signed with the current key.
    #[must_use]
    pub fn sign(
        &self,
        id: &str,
        user: &str,
        time: i64,
        body: &[u8],
    ) -> [(&'static str, String); 4] {
        sign(&self.signer().current, id, user, &time.to_string(), body)
    }
}

fn body(request: &Request, id: &str, fault: Option<&CallbackFault>) -> Value {
    let mut body = json!({"request_id": id, "gateway_request_id": id});
    match request.outcome() {
        Some(Outcome::Output(_)) if fault == Some(&CallbackFault::PayloadError) => {
            body["status"] = json!("OK");
            body["payload"] = Value::Null;
            body["payload_error"] = json!("Response payload is not JSON serializable");
        }
        Some(Outcome::Output(output)) => {
            body["status"] = json!("OK");
            body["payload"] = output;
        }
        Some(Outcome::Error(failure, _)) => {
            body["status"] = json!("ERROR");
            body["error"] = json!(format!("Invalid status code: {}", failure.status));
            body["payload"] = failure.body;
        }
        None => {}
    }
    body
}

#[expect(clippy::disallowed_methods, reason = "an outside service has a clock of its own")]
fn now() -> i64 {
    chrono::Utc::now().timestamp()
}
