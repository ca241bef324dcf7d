//! Google's sign-in: discovery, consent, codes, identity tokens, and keys that rotate.
//!
//! It answers as the contract says. Whoever comes to its consent page is the person that was set
//! last, and says yes at once. A code works once, for the redirect URI and the PKCE challenge that
//! it was made for, and only with the client's secret. A wrong client or redirect URI is told on a
//! page, never by a redirect. Anything that is known to go wrong there can be made to go wrong here
//! by a rule; see [`fault`].

mod admin;
pub mod fault;
mod http;
mod token;

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::fault::Fault;
use crate::{
    faults::Rules,
    serve::{self, Door, Server},
};

/// The client that it knows.
pub const CLIENT_ID: &str = "sim-client.apps.example";
/// That client's secret.
pub const CLIENT_SECRET: &str = "sim-google-secret";

/// Somebody with an account at Google.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// Google's unchanging id for them.
    pub sub: String,
    /// Their address.
    pub email: Option<String>,
    /// Whether Google has checked it: true, false, a text, or missing.
    pub email_verified: Option<Value>,
    /// Their name.
    pub name: Option<String>,
}

impl Person {
    /// Somebody whose address Google has checked.
    #[must_use]
    pub fn new(sub: &str, email: &str) -> Self {
        Self {
            sub: sub.to_owned(),
            email: Some(email.to_owned()),
            email_verified: Some(Value::Bool(true)),
            name: Some("Sim Person".to_owned()),
        }
    }
}

/// A code that was handed out.
#[derive(Debug, Clone)]
struct Grant {
    redirect_uri: String,
    challenge: Option<String>,
    nonce: Option<String>,
    person: Person,
    made: i64,
    used: bool,
}

/// A request that reached the token endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// What it was answered with.
    pub status: u16,
    /// The error, if it was one.
    pub error: Option<String>,
}

/// Google. Cheap to clone.
#[derive(Clone)]
pub struct Google(Arc<Inner>);

struct Inner {
    base: String,
    rules: Rules<Fault>,
    person: Mutex<Person>,
    grants: Mutex<HashMap<String, Grant>>,
    exchanges: Mutex<Vec<Exchange>>,
    key: AtomicUsize,
    key_reads: AtomicUsize,
}

/// Starts it on a port (0: any).
///
/// # Errors
/// When the port is taken.
pub async fn start(port: u16) -> io::Result<(Google, Server)> {
    let door = Door::plain(port).await?;
    let google = Google(Arc::new(Inner {
        base: door.base().to_owned(),
        rules: Rules::default(),
        person: Mutex::new(Person::new("100000000000000000001", "person@example.com")),
        grants: Mutex::default(),
        exchanges: Mutex::default(),
        key: AtomicUsize::new(0),
        key_reads: AtomicUsize::new(0),
    }));
    let server = serve::serve(door, http::router(google.clone()));
    Ok((google, server))
}

impl Google {
    /// Where it is; also its issuer.
    #[must_use]
    pub fn base(&self) -> String {
        self.0.base.clone()
    }

    /// What shall go wrong.
    #[must_use]
    pub fn rules(&self) -> &Rules<Fault> {
        &self.0.rules
    }

    /// Who comes to the consent page from now on.
    pub fn set_person(&self, person: Person) {
        *lock(&self.0.person) = person;
    }

    /// Tokens are signed by the next key from now on, and the one before is not published any more.
    pub fn rotate(&self) {
        self.0.key.fetch_add(1, Ordering::SeqCst);
    }

    /// How often the keys were read.
    #[must_use]
    pub fn key_reads(&self) -> usize {
        self.0.key_reads.load(Ordering::SeqCst)
    }

    /// Everything that reached the token endpoint.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.0.exchanges).clone()
    }

    fn key(&self) -> usize {
        self.0.key.load(Ordering::SeqCst) % token::ROTATING
    }

    fn person(&self) -> Person {
        lock(&self.0.person).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "an outside service has a clock of its own")]
fn now() -> i64 {
    chrono::Utc::now().timestamp()
}
