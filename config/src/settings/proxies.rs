//! Which peers are proxies of ours, whose word on the client's address is believed.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::reader::Reader;

const KEY: &str = "gateway.trusted_proxies";

/// Networks of proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let (words, place) = reader.list(KEY)?;
        if words == ["none"] {
            return Some(Self::default());
        }
        let parsed = words.iter().map(|word| network(word)).collect::<Option<Vec<IpNet>>>();
        if parsed.is_none() {
            let expected = "must be a list of networks, such as 173.245.48.0/20, or none";
            reader.bad(KEY, place, expected);
        }
        parsed.map(Self)
    }

    /// Whether the peer is one of them.
    #[must_use]
    pub fn contain(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|network| network.contains(&peer))
    }
}

/// A network, or one address.
fn network(word: &str) -> Option<IpNet> {
    word.parse().ok().or_else(|| word.parse::<IpAddr>().ok().map(IpNet::from))
}

impl<'a> FromIterator<&'a str> for TrustedProxies {
    /// For tests: what is no network is left out.
    fn from_iter<I: IntoIterator<Item = &'a str>>(words: I) -> Self {
        Self(words.into_iter().filter_map(network).collect())
    }
}

impl Serialize for TrustedProxies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_found_in_either_family() {
        let proxies: TrustedProxies =
            ["162.158.0.0/15", "2400:cb00::/32", "10.0.0.7"].into_iter().collect();
        for inside in ["162.159.255.255", "::ffff:162.158.0.1", "2400:cb00::1", "10.0.0.7"] {
            assert!(proxies.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["162.160.0.0", "2400:cb01::1", "10.0.0.8", "127.0.0.1", "::1"] {
            assert!(!proxies.contain(outside.parse().unwrap()), "{outside}");
        }
        assert_eq!(network("10.0.0.0/33"), None);
    }
}
