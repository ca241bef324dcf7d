//! Who a request acts for, and what it may do.
//!
//! A session stands for its person and may do everything; an API key has the scopes that it was
//! made with. Stored: a key's scopes, as words with spaces between them.

use std::{fmt, str::FromStr};

use crate::ids::{ApiKeyId, SessionId, UserId, WorkspaceId};

/// One kind of things that may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Read jobs and what belongs to them.
    JobsRead,
    /// Submit, cancel and delete jobs, and hand in what they need.
    JobsWrite,
    /// Read the wallet and the ledger.
    CreditsRead,
    /// The account itself: keys, usage, personal data. Whoever has it can give every scope that
    /// they have to a new key.
    Account,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::JobsRead, Self::JobsWrite, Self::CreditsRead, Self::Account];

    /// Its name in public and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JobsRead => "jobs:read",
            Self::JobsWrite => "jobs:write",
            Self::CreditsRead => "credits:read",
            Self::Account => "account",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::JobsRead => 1,
            Self::JobsWrite => 2,
            Self::CreditsRead => 4,
            Self::Account => 8,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a scope")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.name() == text).ok_or(UnknownScope)
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, sea_orm::DeriveValueType)]
#[sea_orm(value_type = "String")]
pub struct Scopes(u8);

impl Scopes {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether the scope is among them.
    #[must_use]
    pub fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether all of `others` are among them.
    #[must_use]
    pub fn include(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, scope) in self.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            write!(f, "{space}{scope}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

impl FromStr for Scopes {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        text.split(' ').filter(|word| !word.is_empty()).map(str::parse).collect()
    }
}

/// What a caller proved to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credential {
    /// An API key.
    Key(ApiKeyId),
    /// A signed-in browser.
    Session(SessionId),
}

impl Credential {
    /// The key, if it is one.
    #[must_use]
    pub fn key(self) -> Option<ApiKeyId> {
        match self {
            Self::Key(id) => Some(id),
            Self::Session(_) => None,
        }
    }

    /// The session, if it is one.
    #[must_use]
    pub fn session(self) -> Option<SessionId> {
        match self {
            Self::Session(id) => Some(id),
            Self::Key(_) => None,
        }
    }
}

/// Who a request acts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// What proves it.
    pub credential: Credential,
    /// The person.
    pub user_id: UserId,
    /// Whose wallet and jobs.
    pub workspace_id: WorkspaceId,
    /// What may be done.
    pub scopes: Scopes,
}

impl Caller {
    /// Whether this may be done.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.has(scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_read_back() {
        for bits in 0..16 {
            let scopes = Scopes(bits);
            assert_eq!(scopes.to_string().parse(), Ok(scopes));
            assert!(Scopes::all().include(scopes));
            assert_eq!(scopes.iter().collect::<Scopes>(), scopes);
        }
        assert_eq!(Scopes::all().to_string(), "jobs:read jobs:write credits:read account");
        assert_eq!("jobs:read everything".parse::<Scopes>(), Err(UnknownScope));
        assert!(Scopes::default().is_empty() && !Scopes::default().include(Scopes::all()));
    }
}
