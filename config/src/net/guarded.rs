//! The one client that fetches URLs which users give.
//!
//! Whoever may name a URL may try to make us call ourselves: our database, an operations port, a
//! cloud's metadata service. So the address is checked where the connection is made (inside the
//! resolver, so that a name cannot answer differently the second time), literal addresses are
//! checked before, and each redirect is followed by hand and is a new URL to be checked. Nothing
//! is stored; what can fail is in [`GuardedError`].

mod address;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::header;
use reqwest::{
    Client, Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use url::{Host, Url};

pub(super) use address::is_public;

/// The most redirects that are followed.
const REDIRECTS: usize = 3;
/// The longest URL.
const LONGEST: usize = 4_096;

/// Names of machines that only our own network knows.
const INNER_SUFFIXES: [&str; 8] =
    ["localhost", "local", "internal", "intranet", "lan", "home", "corp", "arpa"];

/// Why a URL was not fetched. The words are for the user who gave it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardedError {
    /// Not a URL that may be fetched.
    #[error("{0}")]
    Refused(&'static str),
    /// Its server did not answer as it should.
    #[error("{0}")]
    Failed(String),
    /// More than was allowed.
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    /// It took too long.
    #[error("its server took too long")]
    TooSlow,
}

/// What a fetch may take.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// From the first byte sent to the last one received, redirects included.
    pub time: Duration,
    /// Of the file.
    pub bytes: u64,
    /// What its type must begin with; a file without one is taken.
    pub types: &'static [&'static str],
}

/// Addresses that are fetched although they are private, on any port and without TLS: a hole in the
/// guard for tests and for a store in one's own network. Empty unless an operator says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed(BTreeSet<SocketAddr>);

impl FromIterator<SocketAddr> for Allowed {
    fn from_iter<T: IntoIterator<Item = SocketAddr>>(addresses: T) -> Self {
        Self(addresses.into_iter().collect())
    }
}

impl Allowed {
    /// Whether the URL has one of these addresses, written as an address: a name is never allowed,
    /// because it could lead anywhere tomorrow.
    fn has(&self, url: &Url) -> bool {
        let ip = match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
            Some(Host::Domain(_)) | None => return false,
        };
        url.port_or_known_default().is_some_and(|port| self.0.contains(&SocketAddr::new(ip, port)))
    }
}

/// Fetches what users point to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guarded {
    client: Client,
    allowed: Arc<Allowed>,
    ports: Arc<[u16]>,
}

/// Finds the addresses of a name.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

impl Guarded {
    /// A client with the system's resolver.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(allowed: Allowed) -> Result<Self, GuardedError> {
        let lookup: Lookup = Arc::new(|name| {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
        });
        Self::with(allowed, lookup, &[80, 443])
    }

    fn with(allowed: Allowed, lookup: Lookup, ports: &[u16]) -> Result<Self, GuardedError> {
        #[expect(clippy::disallowed_methods, reason = "this is the place where it is guarded")]
        let client = Client::builder()
            .user_agent(concat!("tiktomato/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(PublicOnly(lookup)))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .no_gzip()
            .referer(false)
            .retry(reqwest::retry::never())
            // A connection is made anew for each request, and so checked each time.
            .pool_max_idle_per_host(0)
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| GuardedError::Failed(error.to_string()))?;
        Ok(Self { client, allowed: Arc::new(allowed), ports: ports.into() })
    }

    /// Fetches the file. With `https_only`, plain HTTP is refused, also after a redirect.
    ///
    /// # Errors
    /// See [`GuardedError`].
    pub async fn fetch(
        &self,
        url: &str,
        https_only: bool,
        limits: FetchLimits,
    ) -> Result<Bytes, GuardedError> {
        let work = async {
            let mut url = Url::parse(checked_length(url)?)
                .map_err(|_| GuardedError::Refused("is not a URL"))?;
            for _ in 0..=REDIRECTS {
                self.check(&url, https_only)?;
                let response = self.ask(&url).await?;
                match next_hop(&url, &response)? {
                    Some(next) => url = next,
                    None => return read(response, limits).await,
                }
            }
            Err(GuardedError::Refused("is redirected too often"))
        };
        tokio::time::timeout(limits.time, work).await.map_err(|_| GuardedError::TooSlow)?
    }

    async fn ask(&self, url: &Url) -> Result<Response, GuardedError> {
        let request = self.client.get(url.clone()).header(header::ACCEPT_ENCODING, "identity");
        let response = request.send().await.map_err(|error| GuardedError::Failed(words(&error)))?;
        // The resolver has checked it; that it was asked at all is checked here.
        let peer = response.remote_addr().ok_or(GuardedError::Refused(NOT_PUBLIC))?;
        if is_public(peer.ip()) || (self.allowed.has(url) && self.allowed.0.contains(&peer)) {
            Ok(response)
        } else {
            Err(GuardedError::Refused(NOT_PUBLIC))
        }
    }

    /// Whether the URL may be asked at all, as far as that can be seen.
    fn check(&self, url: &Url, https_only: bool) -> Result<(), GuardedError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(GuardedError::Refused("must begin with https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(GuardedError::Refused("must not contain a user name or a password"));
        }
        checked_length(url.as_str())?;
        if self.allowed.has(url) {
            return Ok(());
        }
        if https_only && url.scheme() != "https" {
            return Err(GuardedError::Refused("must begin with https://"));
        }
        if !url.port_or_known_default().is_some_and(|port| self.ports.contains(&port)) {
            return Err(GuardedError::Refused("must not name a port other than 80 and 443"));
        }
        let public = match url.host() {
            Some(Host::Ipv4(ip)) => is_public(ip.into()),
            Some(Host::Ipv6(ip)) => is_public(ip.into()),
            Some(Host::Domain(name)) => is_outer_name(name),
            None => false,
        };
        if public { Ok(()) } else { Err(GuardedError::Refused(NOT_PUBLIC)) }
    }
}

const NOT_PUBLIC: &str = "does not lead to the public Internet";

fn checked_length(url: &str) -> Result<&str, GuardedError> {
    if url.len() <= LONGEST { Ok(url) } else { Err(GuardedError::Refused("is too long")) }
}

/// Whether the name can be one of the Internet's, whatever its addresses are.
pub(super) fn is_outer_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let Some((_, last)) = name.rsplit_once('.') else { return false };
    // A last part of digits would be an address, which the URL's parser reads as one.
    !name.split('.').any(str::is_empty)
        && !INNER_SUFFIXES.contains(&last)
        && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Where a redirect leads; `None`: this is the answer.
fn next_hop(url: &Url, response: &Response) -> Result<Option<Url>, GuardedError> {
    match response.status() {
        StatusCode::OK => Ok(None),
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => {
            let location = response.headers().get(header::LOCATION);
            let location = location.and_then(|location| location.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            next.map(Some).ok_or(GuardedError::Refused("is redirected to nowhere"))
        }
        status => Err(GuardedError::Failed(format!("its server answered {}", status.as_u16()))),
    }
}

async fn read(mut response: Response, limits: FetchLimits) -> Result<Bytes, GuardedError> {
    let too_large = || GuardedError::TooLarge(limits.bytes);
    if response.content_length().is_some_and(|length| length > limits.bytes) {
        return Err(too_large());
    }
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.map(|kind| kind.as_bytes().to_ascii_lowercase());
    if kind.is_some_and(|kind| !limits.types.iter().any(|known| kind.starts_with(known.as_bytes())))
    {
        return Err(GuardedError::Refused("does not lead to a file of a type that is taken here"));
    }
    let mut bytes = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if (bytes.len() + chunk.len()) as u64 > limits.bytes => {
                return Err(too_large());
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes.freeze()),
            Err(error) => return Err(GuardedError::Failed(words(&error))),
        }
    }
}

/// What a user may know of a failed request: nothing about our side of it.
fn words(error: &reqwest::Error) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return NOT_PUBLIC.to_owned();
        }
        cause = error.source();
    }
    let text = if error.is_connect() {
        "its server cannot be reached"
    } else {
        "its server broke the connection off"
    };
    text.to_owned()
}

/// A resolver that knows no address of a private network. One that is private among public ones
/// spoils them all: who mixes them is up to something.
struct PublicOnly(Lookup);

/// A name that leads, also, into a private network.
#[derive(Debug, thiserror::Error)]
#[error("the name does not lead to the public Internet")]
struct NotPublic;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let looked_up = self.0(name.as_str().to_owned());
        Box::pin(async move {
            let found = looked_up.await?;
            if found.is_empty() || found.iter().any(|address| !is_public(address.ip())) {
                return Err(NotPublic.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
