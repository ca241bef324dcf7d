//! Who can be expected to call an address of ours.

use std::net::IpAddr;

use url::{Host, Url};

use super::guarded::{is_outer_name, is_public};

/// From where an address can be called; what comes later reaches further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// This machine alone.
    Machine,
    /// A network of our own.
    Network,
    /// Everybody.
    Internet,
}

/// Whether somebody at `service` can be expected to reach `address`: nobody outside this network
/// calls a loopback or private address, and many services refuse to be given one.
#[must_use]
pub fn reaches(address: &Url, service: &Url) -> bool {
    reach(address) >= reach(service)
}

fn reach(url: &Url) -> Reach {
    match url.host() {
        None => Reach::Machine,
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            if name == "localhost" || name.ends_with(".localhost") {
                Reach::Machine
            } else if is_outer_name(name) {
                Reach::Internet
            } else {
                Reach::Network
            }
        }
        Some(Host::Ipv4(ip)) => reach_of(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => reach_of(ip.to_canonical()),
    }
}

fn reach_of(ip: IpAddr) -> Reach {
    if ip.is_loopback() || ip.is_unspecified() {
        Reach::Machine
    } else if is_public(ip) {
        Reach::Internet
    } else {
        Reach::Network
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_outside_calls_a_private_address() {
        let url = |text: &str| Url::parse(text).unwrap();
        let machine =
            ["http://127.0.0.1:8080", "http://localhost", "http://[::1]", "http://x.localhost"];
        let network =
            ["http://10.1.2.3", "http://[fd00::1]", "http://gateway:8080", "http://a.internal"];
        let internet = ["https://images.example.com", "https://8.8.8.8", "https://queue.fal.run"];
        let all = [&machine[..], &network[..], &internet[..]];
        for (rank, addresses) in all.iter().enumerate() {
            for (other, services) in all.iter().enumerate() {
                for (address, service) in addresses.iter().zip(services.iter()) {
                    let expected = rank >= other;
                    assert_eq!(
                        reaches(&url(address), &url(service)),
                        expected,
                        "{address} {service}"
                    );
                }
            }
        }
    }
}
