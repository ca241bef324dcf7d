//! The master secrets, and the keys that are derived from them.
//!
//! A list, so that it can rotate: the first one signs, all of them verify. Stored, when everything
//! runs in one process and none is configured: the file `master.key` in the data folder, readable
//! by its owner only.

use std::{fmt, io, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// The shortest master secret, in characters.
pub const SHORTEST: usize = 32;

/// Bytes of a signature that are shown: 128 bits.
const TAG: usize = 16;

/// What a derived key is for; keys of different purposes have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Links to media.
    MediaLink,
    /// Addresses that providers report to.
    CallbackMac,
    /// Links in mails.
    MailLink,
    /// What a browser keeps for us between two steps.
    Cookie,
    /// Names of what is counted, so that nobody can read who it was.
    Throttle,
    /// Email addresses that had their free credits.
    GrantMark,
    /// Email addresses of accounts that are being erased.
    ErasedAddress,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::MediaLink => b"tiktomato media link v1",
            Self::CallbackMac => b"tiktomato callback mac v1",
            Self::MailLink => b"tiktomato mail link v1",
            Self::Cookie => b"tiktomato cookie v1",
            Self::Throttle => b"tiktomato throttle v1",
            Self::GrantMark => b"tiktomato grant mark v1",
            Self::ErasedAddress => b"tiktomato erased address v1",
        }
    }
}

/// Why the master secrets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// None is given.
    #[error("no master secret is given (setting secrets.master)")]
    None,
    /// One is too short.
    #[error("a master secret needs at least {SHORTEST} characters (setting secrets.master)")]
    Short,
    /// The kept one cannot be read or written.
    #[error("the file master.key in the data folder cannot be used: {0}")]
    Kept(#[from] io::Error),
}

/// The master secrets. Cheap enough to clone; never shown.
#[derive(Clone)]
pub struct MasterSecrets {
    masters: Vec<SecretString>,
}

impl fmt::Debug for MasterSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterSecrets({})", self.masters.len())
    }
}

impl MasterSecrets {
    /// The secrets from the settings.
    ///
    /// # Errors
    /// When there is none, or one is too short.
    pub fn new(masters: &[SecretString]) -> Result<Self, SecretsError> {
        if masters.is_empty() {
            return Err(SecretsError::None);
        }
        if masters.iter().any(|master| master.expose_secret().chars().count() < SHORTEST) {
            return Err(SecretsError::Short);
        }
        Ok(Self { masters: masters.to_vec() })
    }

    /// The secret that is kept in the data folder; made from `random` if there is none. Processes
    /// that start together agree on one, because a file appears whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no secret.
    pub fn load_or_create(data: &Path, random: [u8; 32]) -> Result<Self, SecretsError> {
        use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
        let path = data.join("master.key");
        if !path.exists() {
            let fresh = data.join(format!("master.key.{}", hex::encode(&random[..8])));
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(hex::encode(random).as_bytes())?;
            file.sync_all()?;
            let linked = std::fs::hard_link(&fresh, &path);
            std::fs::remove_file(&fresh)?;
            match linked {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(error.into());
                }
                Ok(()) | Err(_) => {}
            }
        }
        let text = std::fs::read_to_string(&path)?;
        Self::new(&[SecretString::from(text.trim().to_owned())])
    }

    /// A tag that proves that this platform has signed `message` for `purpose`.
    #[must_use]
    pub fn sign(&self, purpose: Purpose, message: &[u8]) -> String {
        self.masters.first().map_or_else(String::new, |master| tag(master, purpose, message))
    }

    /// What an email address is remembered by once it had its free credits: a keyed hash under each
    /// master secret, the newest first. The address is to be in its canonical form.
    #[must_use]
    pub fn grant_marks(&self, email: &str) -> Vec<[u8; 32]> {
        self.marks(Purpose::GrantMark, email)
    }

    /// What the address of an account is remembered by while the account is being erased.
    #[must_use]
    pub fn erased_address(&self, email: &str) -> [u8; 32] {
        self.marks(Purpose::ErasedAddress, email).into_iter().next().unwrap_or_default()
    }

    fn marks(&self, purpose: Purpose, text: &str) -> Vec<[u8; 32]> {
        let label = purpose.label();
        let mark = |master: &SecretString| {
            hmac(&hmac(master.expose_secret().as_bytes(), label), text.as_bytes())
        };
        self.masters.iter().map(mark).collect()
    }

    /// Whether the tag is right, in a time that does not depend on where it is wrong.
    #[must_use]
    pub fn verify(&self, purpose: Purpose, message: &[u8], claimed: &str) -> bool {
        let mut right = subtle::Choice::from(0);
        for master in &self.masters {
            right |= tag(master, purpose, message).as_bytes().ct_eq(claimed.as_bytes());
        }
        right.into()
    }
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// HMAC-SHA256 under a key that is itself an HMAC of the purpose under the master secret.
fn tag(master: &SecretString, purpose: Purpose, message: &[u8]) -> String {
    let key = hmac(master.expose_secret().as_bytes(), purpose.label());
    URL_SAFE_NO_PAD.encode(&hmac(&key, message)[..TAG])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(texts: &[&str]) -> MasterSecrets {
        let all: Vec<SecretString> =
            texts.iter().map(|t| SecretString::from(t.repeat(32))).collect();
        MasterSecrets::new(&all).unwrap()
    }

    #[test]
    fn an_older_master_still_verifies_after_a_rotation() {
        let (old, both, new) = (secrets(&["a"]), secrets(&["b", "a"]), secrets(&["b"]));
        let signed = old.sign(Purpose::MediaLink, b"m");
        assert!(both.verify(Purpose::MediaLink, b"m", &signed));
        assert!(!new.verify(Purpose::MediaLink, b"m", &signed));
        assert!(new.verify(Purpose::MediaLink, b"m", &both.sign(Purpose::MediaLink, b"m")));
        assert!(!old.verify(Purpose::MediaLink, b"n", &signed));
        assert!(!old.verify(Purpose::MediaLink, b"m", ""));
    }

    #[test]
    fn an_address_is_known_by_its_marks_after_a_rotation() {
        let (old, both) = (secrets(&["a"]), secrets(&["b", "a"]));
        let mark = old.grant_marks("a@example.com");
        assert_eq!(mark.len(), 1);
        assert!(both.grant_marks("a@example.com").contains(&mark[0]));
        assert!(!both.grant_marks("b@example.com").contains(&mark[0]));
        assert_ne!(old.erased_address("a@example.com"), mark[0]);
    }

    #[test]
    fn a_kept_secret_is_found_again_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let first = MasterSecrets::load_or_create(folder.path(), [1; 32]).unwrap();
        let second = MasterSecrets::load_or_create(folder.path(), [2; 32]).unwrap();
        let signed = first.sign(Purpose::MediaLink, b"m");
        assert!(second.verify(Purpose::MediaLink, b"m", &signed));
        let mode =
            std::fs::metadata(folder.path().join("master.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn short_or_no_secrets_are_refused_and_none_is_shown() {
        assert!(matches!(MasterSecrets::new(&[]), Err(SecretsError::None)));
        let short = SecretString::from("x".repeat(31));
        assert!(matches!(MasterSecrets::new(&[short]), Err(SecretsError::Short)));
        assert_eq!(format!("{:?}", secrets(&["a"])), "MasterSecrets(1)");
    }
}
