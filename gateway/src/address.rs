//! Where a request comes from: the client's address and what kind of program it is.
//!
//! Behind Cloudflare every connection comes from Cloudflare, which names the client in
//! `CF-Connecting-IP`. Anybody can write that header, so it is believed only from the peers that
//! `gateway.trusted_proxies` lists; from anybody else, and when it is not one address, the
//! connection's own peer counts. Nothing is stored here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, Request};
use config::settings::TrustedProxies;
use http::{HeaderMap, request::Parts};

use crate::{
    browser::Browser,
    problem::{Code, Problem},
};

/// Who is at the other end, as far as the network tells. Every request has one: handlers take it
/// as an extractor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address; an IPv4 address that came in IPv6 form is an IPv4 address again.
    pub(crate) address: IpAddr,
    /// What kind of program it is.
    pub(crate) browser: Browser,
}

impl Client {
    /// What the request tells.
    pub(crate) fn of(request: &Request, proxies: &TrustedProxies) -> Self {
        // Only a listener that does not tell its peers has none.
        let peer = request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip().to_canonical());
        let headers = request.headers();
        let named = proxies.contain(peer).then(|| connecting_ip(headers)).flatten();
        Self { address: named.unwrap_or(peer), browser: Browser::of(headers) }
    }

    /// Whom a limit on addresses counts: an IPv6 client has a whole /64 to choose from.
    pub(crate) fn network(self) -> IpAddr {
        match self.address {
            IpAddr::V4(_) => self.address,
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(network))
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().copied().ok_or_else(|| {
            tracing::error!("a request came in without its client");
            Problem::new(Code::Internal, "Something went wrong on our side.")
        })
    }
}

/// The client that Cloudflare names; `None` unless it is exactly one address.
fn connecting_ip(headers: &HeaderMap) -> Option<IpAddr> {
    let mut values = headers.get_all("cf-connecting-ip").iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let address: IpAddr = value.to_str().ok()?.trim().parse().ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn of(peer: &str, named: &[&str]) -> String {
        let proxies: TrustedProxies = ["10.0.0.0/8", "fd00::/8"].into_iter().collect();
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 9)));
        for value in named {
            request.headers_mut().append("cf-connecting-ip", value.parse().unwrap());
        }
        Client::of(&request, &proxies).address.to_string()
    }

    #[test]
    fn only_a_proxy_of_ours_is_believed() {
        assert_eq!(of("10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(of("::ffff:10.1.2.3", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(of("fd00::7", &["::ffff:203.0.113.9"]), "203.0.113.9");
        assert_eq!(of("198.51.100.7", &["203.0.113.9"]), "198.51.100.7");
        assert_eq!(of("198.51.100.7", &[]), "198.51.100.7");
    }

    #[test]
    fn what_is_not_one_address_is_not_believed() {
        for named in [
            &["x"][..],
            &[""],
            &["203.0.113.9, 203.0.113.8"],
            &["203.0.113.9:80"],
            &["203.0.113.9", "203.0.113.8"],
        ] {
            assert_eq!(of("10.1.2.3", named), "10.1.2.3", "{named:?}");
        }
    }

    #[test]
    fn one_network_counts_once() {
        let network = |address: &str| {
            let browser = Browser::of(&HeaderMap::new());
            Client { address: address.parse().unwrap(), browser }.network().to_string()
        };
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("203.0.113.9"), "203.0.113.9");
    }
}
