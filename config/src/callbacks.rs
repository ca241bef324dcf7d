//! The addresses that providers report to:
//! `{public_url}/callbacks/{provider}/{attempt_id}?mac={tag}`.
//!
//! The tag (128 bits under a key that is derived from the master secrets) binds the provider and
//! the attempt: only whom we gave the address to can call it. That is enough to look at a job
//! sooner, and not enough to believe what a callback says: see `Provider::callback` in `workers`.

use entities::ids::AttemptId;
use url::Url;

use crate::{
    net::reaches,
    secrets::{MasterSecrets, Purpose},
    settings::BaseUrl,
};

/// Makes and checks callback addresses. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallbackLinks {
    secrets: MasterSecrets,
    base: BaseUrl,
}

impl CallbackLinks {
    /// Addresses below the gateway's public URL.
    #[must_use]
    pub fn new(secrets: MasterSecrets, base: BaseUrl) -> Self {
        Self { secrets, base }
    }

    /// Where `provider` reports about `attempt`.
    #[must_use]
    pub fn url(&self, provider: &str, attempt: AttemptId) -> Option<Url> {
        let mac = self.secrets.sign(Purpose::CallbackMac, &message(provider, attempt));
        Url::parse(&self.base.at(&format!("/callbacks/{provider}/{attempt}?mac={mac}"))).ok()
    }

    /// Whether `mac` is the tag of this provider's address for this attempt.
    #[must_use]
    pub fn verify(&self, provider: &str, attempt: AttemptId, mac: &str) -> bool {
        self.secrets.verify(Purpose::CallbackMac, &message(provider, attempt), mac)
    }

    /// Whether somebody at `service` can be expected to reach the addresses: nobody outside this
    /// network calls a loopback or private address, and many services refuse to be given one.
    #[must_use]
    pub fn reachable_from(&self, service: &Url) -> bool {
        reaches(self.base.as_url(), service)
    }
}

fn message(provider: &str, attempt: AttemptId) -> Vec<u8> {
    format!("{provider}/{attempt}").into_bytes()
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn links(masters: &[&str], base: &str) -> CallbackLinks {
        let masters: Vec<SecretString> =
            masters.iter().map(|text| SecretString::from(text.repeat(32))).collect();
        CallbackLinks::new(MasterSecrets::new(&masters).unwrap(), base.parse().unwrap())
    }

    #[test]
    fn a_tag_is_good_for_one_provider_and_one_attempt_across_a_rotation() {
        let (old, both) =
            (links(&["a"], "https://x.example/shop"), links(&["b", "a"], "https://x.example"));
        let attempt = AttemptId::generate();
        let url = old.url("fal", attempt).unwrap();
        assert_eq!(url.path(), format!("/shop/callbacks/fal/{attempt}"));
        let mac = url.query().unwrap().strip_prefix("mac=").unwrap();
        assert_eq!(mac.len(), 22, "128 bits in base64");
        for links in [&old, &both] {
            assert!(links.verify("fal", attempt, mac));
            assert!(!links.verify("kieai", attempt, mac));
            assert!(!links.verify("fal", AttemptId::generate(), mac));
            assert!(!links.verify("fal", attempt, ""));
        }
        assert!(!links(&["c"], "https://x.example").verify("fal", attempt, mac));
    }

    #[test]
    fn nobody_outside_calls_a_private_address() {
        let fal = Url::parse("https://queue.fal.run").unwrap();
        let simulator = Url::parse("http://127.0.0.1:9000").unwrap();
        for base in ["http://127.0.0.1:8080", "http://localhost", "http://10.1.2.3", "http://[::1]"]
        {
            let links = links(&["a"], base);
            assert!(!links.reachable_from(&fal) && links.reachable_from(&simulator), "{base}");
        }
        assert!(links(&["a"], "https://images.example.com").reachable_from(&fal));
    }
}
