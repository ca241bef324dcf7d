//! Mails that wait to be sent, and the links in them.
//!
//! Stored: `mails`, a row for each until it is sent or given up, written in the transaction of
//! what it tells about; and `mail_tokens`, what a link is good for. The secret of a link is
//! derived from the token's id and the master secret, so that neither table alone opens anything,
//! and a mail that is tried again after a crash holds the same link.

mod queue;
mod token;

pub use queue::{LIFE, Outgoing, claim, enqueue, failed, forget_user, prepare, sent};
pub use token::{LinkKind, Purpose, delete_old, issue, take, take_all};

/// What a mail says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// Prove that this address is yours; then there is an account.
    SignUp,
    /// Somebody signed up with the address of an account.
    KnownAddress,
    /// Choose a new password. Written before anybody looks whether there is an account.
    Reset,
    /// The password was changed.
    PasswordChanged,
    /// Google can sign in now.
    GoogleLinked,
    /// Prove that the new address is yours.
    ChangeEmail,
    /// Tells the old address that the account has a new one.
    EmailChanged,
    /// What was asked for is ready to be fetched.
    ExportReady,
    /// The account is gone.
    AccountDeleted,
}

impl Template {
    /// Its name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::KnownAddress => "known_address",
            Self::Reset => "reset",
            Self::PasswordChanged => "password_changed",
            Self::GoogleLinked => "google_linked",
            Self::ChangeEmail => "change_email",
            Self::EmailChanged => "email_changed",
            Self::ExportReady => "export_ready",
            Self::AccountDeleted => "account_deleted",
        }
    }

    /// The template of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [
            Self::SignUp,
            Self::KnownAddress,
            Self::Reset,
            Self::PasswordChanged,
            Self::GoogleLinked,
            Self::ChangeEmail,
            Self::EmailChanged,
            Self::ExportReady,
            Self::AccountDeleted,
        ]
        .into_iter()
        .find(|template| template.name() == name)
    }
}
