//! The sections about people: their accounts, the mails they get, and signing in with Google.

use std::{path::PathBuf, time::Duration};

use entities::{Credits, accounts::SessionTerms};
use lettre::message::Mailbox;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use url::Url;

use super::{outside::Data, reader::Reader, shown, urls::BaseUrl};

/// Accounts and sessions.
#[derive(Debug, Clone, Serialize)]
pub struct Accounts {
    /// What a new account is granted once its address is proven.
    pub free_credits: Credits,
    /// A session that is not used ends after this time.
    #[serde(rename = "session_idle_days", serialize_with = "shown::days")]
    pub session_idle: Duration,
    /// A session ends after this time, whatever happens.
    #[serde(rename = "session_days", serialize_with = "shown::days")]
    pub session: Duration,
}

impl Accounts {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let free_credits = reader.number("accounts.free_credits", 0..=1_000_000_000);
        let session_idle = reader.days("accounts.session_idle_days");
        let session = reader.days("accounts.session_days");
        Some(Self {
            free_credits: Credits(free_credits?),
            session_idle: session_idle?,
            session: session?,
        })
    }

    /// The same for the rules.
    #[must_use]
    pub fn session_terms(&self) -> SessionTerms {
        SessionTerms { idle: self.session_idle, absolute: self.session }
    }
}

/// How mails go out.
#[derive(Debug, Clone, Serialize)]
pub struct Mail {
    /// Who they come from.
    pub from: String,
    /// The server that sends them; it may hold a password.
    #[serde(serialize_with = "shown::secret")]
    pub smtp_url: Option<SecretString>,
    /// Without a server: the folder that they are put in.
    pub dir: PathBuf,
}

impl Mail {
    pub(super) fn read(reader: &mut Reader, data: Option<&Data>) -> Option<Self> {
        let from = reader.required("mail.from", |text| {
            let parsed: Result<Mailbox, _> = text.parse();
            parsed.map(|_| text.to_owned()).map_err(|_| {
                format!("must be an address such as TikTomato <hello@example.com>, but is {text:?}")
            })
        });
        let smtp_url = reader.optional("mail.smtp_url", |text| {
            let expected = "must be smtps://USER:PASSWORD@HOST or \
                            smtp://USER:PASSWORD@HOST:587?tls=required; the value is not shown here";
            let url = Url::parse(text).map_err(|_| expected.to_owned())?;
            let fits = matches!(url.scheme(), "smtp" | "smtps") && url.host_str().is_some();
            if fits { Ok(SecretString::from(text)) } else { Err(expected.to_owned()) }
        });
        let dir = reader.optional("mail.dir", |text| Ok(PathBuf::from(text)));
        Some(Self {
            from: from?,
            smtp_url: smtp_url?,
            dir: dir?.or_else(|| data.map(|data| data.dir.join("mail")))?,
        })
    }

    /// The server's URL with its password, for the driver.
    #[must_use]
    pub fn expose_smtp_url(&self) -> Option<&str> {
        self.smtp_url.as_ref().map(|url| url.expose_secret())
    }
}

/// Signing in with Google.
#[derive(Debug, Clone, Serialize)]
pub struct Google {
    /// Our id at Google; without it, and the secret, nobody can sign in there.
    #[serde(serialize_with = "shown::or_not_set")]
    pub client_id: Option<String>,
    /// Our secret at Google.
    #[serde(serialize_with = "shown::secret")]
    pub client_secret: Option<SecretString>,
    /// Who signs identities; its discovery document is below it.
    pub issuer: BaseUrl,
}

impl Google {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let client_id = reader.optional("google.client_id", |text| Ok(text.to_owned()));
        let client_secret = reader.secret("google.client_secret");
        let issuer = reader.required("google.issuer", str::parse);
        let (client_id, client_secret) = (client_id?, client_secret?);
        match (&client_id, &client_secret) {
            (Some(_), None) => {
                reader.bad_here("google.client_id", "needs google.client_secret as well");
            }
            (None, Some(_)) => {
                reader.bad_here("google.client_secret", "needs google.client_id as well");
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        Some(Self { client_id, client_secret, issuer: issuer? })
    }

    /// Our id and secret at Google, if it is offered.
    #[must_use]
    pub fn client(&self) -> Option<(&str, &str)> {
        Some((self.client_id.as_deref()?, self.client_secret.as_ref()?.expose_secret()))
    }
}
