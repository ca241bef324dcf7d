//! Links in mails. A token is `{id}.{tag}`: the id of a row that says what it is good for, and a tag
//! of 128 bits under a key that is derived from the master secrets. Nothing that opens anything is
//! stored, and a link of one kind does not work as another.

use entities::mail::LinkKind;
use uuid::Uuid;

use crate::{
    secrets::{MasterSecrets, Purpose},
    settings::BaseUrl,
};

/// Makes and checks links in mails. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MailLinks {
    secrets: MasterSecrets,
    base: BaseUrl,
}

impl MailLinks {
    pub(super) fn new(secrets: MasterSecrets, base: BaseUrl) -> Self {
        Self { secrets, base }
    }

    /// The token for a row.
    #[must_use]
    pub fn token(&self, kind: LinkKind, id: Uuid) -> String {
        let tag = self.secrets.sign(Purpose::MailLink, &message(kind, id));
        format!("{}.{tag}", id.simple())
    }

    /// The row that a token stands for, if we made it for this kind.
    #[must_use]
    pub fn open(&self, kind: LinkKind, token: &str) -> Option<Uuid> {
        let (id, tag) = token.split_once('.')?;
        let id = Uuid::try_parse(id).ok().filter(|parsed| parsed.simple().to_string() == id)?;
        self.secrets.verify(Purpose::MailLink, &message(kind, id), tag).then_some(id)
    }

    /// An address below the gateway's public URL.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        self.base.at(path)
    }
}

fn message(kind: LinkKind, id: Uuid) -> Vec<u8> {
    format!("{}/{}", kind.name(), id.simple()).into_bytes()
}

#[cfg(test)]
mod tests {
    use entities::mail::Purpose as Use;
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn a_token_opens_one_row_for_one_purpose() {
        let secrets = MasterSecrets::new(&[SecretString::from("s".repeat(32))]).unwrap();
        let links = MailLinks::new(secrets, "https://x.example".parse().unwrap());
        let id = Uuid::now_v7();
        let token = links.token(LinkKind::Token(Use::Reset), id);
        assert_eq!(links.open(LinkKind::Token(Use::Reset), &token), Some(id));
        for kind in [LinkKind::SignUp, LinkKind::Token(Use::ChangeEmail)] {
            assert_eq!(links.open(kind, &token), None);
        }
        let (_, tag) = token.split_once('.').unwrap();
        let other = format!("{}.{tag}", Uuid::now_v7().simple());
        let cut = &token[..token.len() - 1];
        for bad in ["", ".", &other, cut, &token.to_uppercase(), &token.replace('.', "")] {
            assert_eq!(links.open(LinkKind::Token(Use::Reset), bad), None, "{bad}");
        }
    }
}
