//! What mails say: plain text, short, with what to do when it was not you.

use entities::mail::{LinkKind, Outgoing, Purpose, Template};

use super::MailLinks;

pub(super) struct Words {
    pub(super) subject: &'static str,
    pub(super) text: String,
}

pub(super) fn of(mail: &Outgoing, links: &MailLinks) -> Words {
    let (subject, text) = match mail.template {
        Template::SignUp | Template::Reset | Template::ChangeEmail => asking(mail, links),
        Template::KnownAddress
        | Template::PasswordChanged
        | Template::GoogleLinked
        | Template::EmailChanged
        | Template::ExportReady
        | Template::AccountDeleted => telling(mail.template, links),
    };
    Words { subject, text }
}

/// Mails with a link that does something.
fn asking(mail: &Outgoing, links: &MailLinks) -> (&'static str, String) {
    let link = |path: &str, kind: LinkKind| {
        let token = mail.token_id.map(|id| links.token(kind, id)).unwrap_or_default();
        links.at(&format!("{path}?token={token}"))
    };
    match mail.template {
        Template::Reset => (
            "Choose a new password",
            format!(
                "Somebody, we hope you, asked for a new password for your TikTomato account.\n\n\
                 To choose one, open this link within one hour. It works once, and a later link \
                 replaces it:\n\n{}\n\n\
                 If it was not you, you need not do anything: your password stays as it is.\n",
                link("/reset", LinkKind::Token(Purpose::Reset)),
            ),
        ),
        Template::ChangeEmail => (
            "Confirm your new address",
            format!(
                "To use this address for your TikTomato account from now on, sign in to your account \
                 and open this link within 24 hours:\n\n{}\n\nIf it was not you, do not open it: nothing happens then.\n",
                link("/verify", LinkKind::Token(Purpose::ChangeEmail)),
            ),
        ),
        _ => (
            "Confirm your address",
            format!(
                "Somebody, we hope you, signed up to TikTomato with this address.\n\n\
                 To confirm that it is yours, open this link within 24 hours:\n\n{}\n\n\
                 If it was not you, do not open it: nothing happens then, and what was entered is \
                 deleted.\n",
                link("/verify", LinkKind::SignUp),
            ),
        ),
    }
}

/// Mails that tell what has happened.
fn telling(template: Template, links: &MailLinks) -> (&'static str, String) {
    let (forgot, account) = (links.at("/forgot"), links.at("/sign-in"));
    match template {
        Template::KnownAddress => (
            "You have an account already",
            format!(
                "Somebody, perhaps you, tried to sign up to TikTomato with this address, which has \
                 an account already. Nothing was changed.\n\nTo sign in: {account}\n\
                 If you have forgotten your password: {forgot}\n\n\
                 If it was not you, you need not do anything.\n",
            ),
        ),
        Template::PasswordChanged => (
            "Your password was changed",
            format!(
                "The password of your TikTomato account was changed, and all other browsers were \
                 signed out.\n\nIf it was not you, choose a new one at once: {forgot}\n",
            ),
        ),
        Template::GoogleLinked => (
            "Google can sign you in now",
            format!(
                "Your TikTomato account is now joined to the Google account with this address: \
                 either can sign you in.\n\nIf it was not you, choose a new password at once, and \
                 look at your Google account: {forgot}\n",
            ),
        ),
        Template::EmailChanged => (
            "Your account has a new address",
            "Your TikTomato account has a new address, and mails will go there from now on.\n\n\
             If it was not you, answer to this mail.\n"
                .to_owned(),
        ),
        Template::ExportReady => (
            "Your data is ready",
            format!(
                "The copy of your data that you asked for is ready. Sign in to fetch it: {account}\n"
            ),
        ),
        _ => (
            "Your account was deleted",
            "Your TikTomato account was deleted, and what we knew about you with it.\n".to_owned(),
        ),
    }
}
