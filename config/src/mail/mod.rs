//! Mails: by SMTP, or as `.eml` files in a folder where nobody has set up a server.
//!
//! What waits to be sent is a row (see `entities::mail`); it is claimed, sent, and then forgotten.
//! A crash between the last two sends a mail twice, and loses none. The links in them are built
//! here: `{public_url}/verify?token=…`, where the token is a row's id and a tag of it.

mod folder;
mod link;
#[cfg(test)]
mod tests;
mod words;

use std::{path::PathBuf, time::Duration};

use entities::{
    Db, Timestamp,
    mail::{self, Outgoing},
};
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
};
use sea_orm::DbErr;

use crate::{clock::Clock, secrets::MasterSecrets, settings};

pub use folder::{oldest_mail, remove_mails_to, remove_old_mails};
pub use link::MailLinks;

/// Mails that are claimed together.
const TOGETHER: u64 = 20;

/// How long a server may take for one mail.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why mails cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The settings do not fit.
    #[error("{0}")]
    Settings(String),
    /// The folder cannot be used.
    #[error("the folder {0} cannot be used: {1}")]
    Folder(PathBuf, std::io::Error),
    /// It cannot be written as a mail.
    #[error("the mail cannot be written: {0}")]
    Message(#[from] lettre::error::Error),
    /// The server did not take it.
    #[error("the mail server did not take it: {0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// The file was not written.
    #[error("the mail was not put in its folder: {0}")]
    File(#[from] lettre::transport::file::Error),
}

impl MailError {
    /// What a log may hold of it: a mail server's own words usually name the recipient.
    fn told(&self) -> String {
        match self {
            Self::Smtp(error) => match error.status() {
                Some(code) => format!("the mail server answered {code}"),
                None if error.is_timeout() => "the mail server did not answer in time".to_owned(),
                None => "there was no conversation with the mail server".to_owned(),
            },
            Self::Settings(_) | Self::Folder(..) | Self::Message(_) | Self::File(_) => {
                self.to_string()
            }
        }
    }
}

#[derive(Clone)]
enum Way {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Folder(PathBuf),
}

/// Sends mails. Cheap to clone.
#[derive(Clone)]
pub struct Mailer {
    from: Mailbox,
    way: Way,
    links: MailLinks,
}

impl Mailer {
    /// Reads the settings. The server is not asked yet.
    ///
    /// # Errors
    /// When the settings do not fit.
    pub fn new(
        settings: &settings::Mail,
        secrets: MasterSecrets,
        base: settings::BaseUrl,
    ) -> Result<Self, MailError> {
        let from = settings
            .from
            .parse()
            .map_err(|_| MailError::Settings("mail.from is no address".to_owned()))?;
        let way = match settings.expose_smtp_url() {
            Some(url) => {
                // What the library says about a URL may repeat its password.
                let bad = |_| MailError::Settings("mail.smtp_url cannot be used".to_owned());
                let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(bad)?;
                Way::Smtp(builder.timeout(Some(PATIENCE)).build())
            }
            None => Way::Folder(settings.dir.clone()),
        };
        Ok(Self { from, way, links: MailLinks::new(secrets, base) })
    }

    /// The links in mails.
    #[must_use]
    pub fn links(&self) -> &MailLinks {
        &self.links
    }

    /// Sends what is due. How many mails it were; whoever asks comes again soon if it were many.
    ///
    /// # Errors
    /// When the database fails. A mail that cannot be sent is logged and comes again later.
    pub async fn send_due(&self, db: &Db, clock: &Clock) -> Result<usize, DbErr> {
        let tx = db.begin().await?;
        let claimed = mail::claim(&tx, TOGETHER, clock.now()).await?;
        tx.commit().await?;
        let count = claimed.len();
        for row in claimed {
            let (id, attempts) = (row.id, row.attempts);
            let now = clock.now();
            let tx = db.begin().await?;
            let ready = mail::prepare(&tx, row, now).await?;
            tx.commit().await?;
            let Some(ready) = ready else { continue };
            match self.send(&ready, now).await {
                Ok(()) => mail::sent(db.write(), id).await?,
                Err(error) => {
                    // Neither the address nor the words: a log is no place for either.
                    tracing::warn!(%id, attempts, template = ready.template.name(), error = error.told(), "a mail was not sent; it comes again");
                    mail::failed(db.write(), id, attempts, clock.now()).await?;
                }
            }
        }
        Ok(count)
    }

    async fn send(&self, mail: &Outgoing, now: Timestamp) -> Result<(), MailError> {
        let words = words::of(mail, &self.links);
        let to: Address = mail
            .recipient
            .parse()
            .map_err(|_| MailError::Settings("the recipient is no address".to_owned()))?;
        let date = chrono::DateTime::<chrono::Utc>::from(now);
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(words.subject)
            .date(date.into())
            .message_id(Some(format!("<{}@tiktomato>", mail.id)))
            .header(ContentType::TEXT_PLAIN)
            .body(words.text)?;
        match &self.way {
            Way::Smtp(transport) => {
                transport.send(message).await?;
            }
            Way::Folder(folder) => folder::put(folder, message, now).await?,
        }
        Ok(())
    }
}
