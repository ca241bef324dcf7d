//! Links to media: `{public_url}/media/{key}?exp={unix seconds}&sig={tag}`. The tag binds the key
//! and the time; there is one spelling of a link, and no other verifies.

use std::time::Duration;

use entities::Timestamp;
use url::Url;

use super::MediaKey;
use crate::secrets::{MasterSecrets, Purpose};

/// Makes and checks links. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MediaLinks {
    secrets: MasterSecrets,
    base: Url,
    life: Duration,
}

/// Why a link does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Its time is over.
    #[error("the link has expired")]
    Expired,
    /// It was not made here, or was changed.
    #[error("the link is not valid")]
    Invalid,
}

impl MediaLinks {
    /// Links below `base` that live for `life`.
    #[must_use]
    pub fn new(secrets: MasterSecrets, base: Url, life: Duration) -> Self {
        Self { secrets, base, life }
    }

    /// When a link that is made now stops working.
    #[must_use]
    pub fn expiry(&self, now: Timestamp) -> Timestamp {
        let until = now.after(self.life).0;
        Timestamp(until - until.rem_euclid(1_000_000))
    }

    /// A link that works until `until` (whole seconds).
    #[must_use]
    pub fn sign(&self, key: &str, until: Timestamp) -> String {
        let expires = until.0.div_euclid(1_000_000);
        let tag = self.secrets.sign(Purpose::MediaLink, &message(key, expires));
        let base = self.base.as_str().trim_end_matches('/');
        format!("{base}/media/{key}?exp={expires}&sig={tag}")
    }

    /// Checks what a link says about itself; answers with when it stops working.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn verify(
        &self,
        key: &str,
        expires: &str,
        tag: &str,
        now: Timestamp,
    ) -> Result<Timestamp, LinkError> {
        let until: i64 = expires.parse().map_err(|_| LinkError::Invalid)?;
        if until.to_string() != expires || key.parse::<MediaKey>().is_err() {
            return Err(LinkError::Invalid);
        }
        if !self.secrets.verify(Purpose::MediaLink, &message(key, until), tag) {
            return Err(LinkError::Invalid);
        }
        let until = Timestamp(until.saturating_mul(1_000_000));
        if now >= until { Err(LinkError::Expired) } else { Ok(until) }
    }
}

fn message(key: &str, expires: i64) -> Vec<u8> {
    format!("{expires}\n{key}").into_bytes()
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn only_the_link_itself_works_and_only_in_time() {
        let secrets = MasterSecrets::new(&[SecretString::from("s".repeat(40))]).unwrap();
        let base = Url::parse("https://m.example/").unwrap();
        let links = MediaLinks::new(secrets, base, Duration::from_secs(3600));
        let now = Timestamp(1_760_000_000_000_000);
        let until = links.expiry(now);
        let link = links.sign("jobs/ab/x/0", until);
        let expected = "https://m.example/media/jobs/ab/x/0?exp=1760003600&sig=";
        let tag = link.strip_prefix(expected).unwrap();
        let check = |key: &str, exp: &str, tag: &str, now| links.verify(key, exp, tag, now);
        assert_eq!(check("jobs/ab/x/0", "1760003600", tag, now), Ok(until));
        assert_eq!(check("jobs/ab/x/0", "1760003600", tag, until), Err(LinkError::Expired));
        for (key, exp, tag) in [
            ("jobs/ab/x/1", "1760003600", tag),
            ("jobs/ab/x/0", "1760003601", tag),
            ("jobs/ab/x/0", "01760003600", tag),
            ("jobs/ab/x/0", "+1760003600", tag),
            ("jobs/ab/x/0", "1760003600", &tag[1..]),
            ("jobs/ab/x/0", "1760003600", ""),
            ("jobs/ab/x/0", "", tag),
            ("../x", "1760003600", tag),
        ] {
            assert_eq!(check(key, exp, tag, now), Err(LinkError::Invalid), "{key} {exp} {tag}");
        }
    }
}
