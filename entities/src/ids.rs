//! One id type for each table, so that ids of different tables cannot be mixed up.
//!
//! In the database an id is a UUID (version 7, so that rows sort by age); in public it is the
//! UUID's 32 hexadecimal digits behind a prefix, such as `job_0198…`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A text that is not an id of the expected table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {prefix} id")]
pub struct BadId {
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sea_orm::DeriveValueType)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What its public form begins with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A fresh id, ordered by time.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl sea_orm::TryFromU64 for $name {
            fn try_from_u64(n: u64) -> Result<Self, sea_orm::DbErr> {
                Uuid::try_from_u64(n).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = BadId { prefix: $prefix };
                let digits = text.strip_prefix(concat!($prefix, "_")).ok_or(bad.clone())?;
                let canonical = digits.len() == 32
                    && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                if !canonical {
                    return Err(bad);
                }
                Uuid::try_parse(digits).map(Self).map_err(|_| bad)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A person.
    UserId, "usr");
id!(
    /// The owner of a wallet, of jobs, keys and limits.
    WorkspaceId, "ws");
id!(
    /// An API key's row; not the secret.
    ApiKeyId, "key");
id!(
    /// A signed-in browser; not its token.
    SessionId, "ses");
id!(
    /// A job.
    JobId, "job");
id!(
    /// One call to a provider for a job.
    AttemptId, "att");
id!(
    /// One media file that a job made.
    OutputId, "out");
id!(
    /// One media file that a user handed in.
    UploadId, "upload");
id!(
    /// What a provider reported.
    CallbackId, "cb");
id!(
    /// One transfer between two accounts of the ledger.
    EntryId, "ent");
id!(
    /// A copy of a person's data, made for them.
    ExportId, "exp");
id!(
    /// The end of an account, and its receipt.
    ErasureId, "era");
id!(
    /// One running process.
    ProcessId, "prc");
id!(
    /// A person as another service knows them.
    IdentityId, "idn");
id!(
    /// Somebody who signed up and has not proven their address yet.
    SignUpId, "sup");
id!(
    /// A link that was sent by mail.
    MailTokenId, "mtk");
id!(
    /// A mail that waits to be sent.
    MailId, "mail");
id!(
    /// Something that happened to an account.
    AuditEventId, "aud");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_id_reads_back_as_itself() {
        let id = JobId::generate();
        assert_eq!(id.to_string().parse::<JobId>(), Ok(id));
    }

    #[test]
    fn other_spellings_are_refused() {
        let id = JobId::generate().to_string();
        for text in ["", "job_", "job_0", &id.to_uppercase(), &id.replace("job", "usr"), &id[4..]] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
        assert!(format!("job_{}", Uuid::now_v7()).parse::<JobId>().is_err());
    }
}
