//! Which places on the network something may be read from.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use url::{Host, Url};

/// Places that may be read from: `files.example.com` (by https), `*.example.com` (every name below
/// it), or a whole origin such as `http://127.0.0.1:9000`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<Origin>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// This name, by https on its usual port.
    Name(String),
    /// Every name below this one, by https on its usual port.
    Below(String),
    /// Exactly this scheme, host and port.
    Exact(url::Origin, String),
}

impl Origins {
    /// Nothing is allowed.
    pub const NONE: Self = Self(Vec::new());

    /// Reads each entry.
    ///
    /// # Errors
    /// A sentence about the first one that is wrong.
    pub fn parse<T: AsRef<str>>(entries: &[T]) -> Result<Self, String> {
        entries.iter().map(|entry| entry.as_ref().parse()).collect::<Result<_, _>>().map(Self)
    }

    /// Only the place where `url` is.
    #[must_use]
    pub fn only(url: &Url) -> Self {
        let origin = url.origin();
        let text = origin.ascii_serialization();
        Self(vec![Origin::Exact(origin, text)])
    }

    /// Whether `url` may be read. A URL with a name or a password in it never is.
    #[must_use]
    pub fn allow(&self, url: &Url) -> bool {
        url.username().is_empty()
            && url.password().is_none()
            && self.0.iter().any(|origin| origin.allows(url))
    }
}

impl Origin {
    fn allows(&self, url: &Url) -> bool {
        let secure = url.scheme() == "https" && url.port().is_none();
        let Some(Host::Domain(host)) = url.host() else {
            return matches!(self, Self::Exact(origin, _) if *origin == url.origin());
        };
        match self {
            Self::Name(name) => secure && host == name,
            Self::Below(name) => {
                let above = host.strip_suffix(name.as_str());
                secure && above.is_some_and(|above| above.len() > 1 && above.ends_with('.'))
            }
            Self::Exact(origin, _) => *origin == url.origin(),
        }
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "must be host names such as files.example.com or *.example.com, but is {text:?}"
            )
        };
        if text.contains("://") {
            let url = Url::parse(text).map_err(|_| wrong())?;
            let plain = matches!(url.scheme(), "http" | "https")
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none();
            let origin = url.origin();
            let shown = origin.ascii_serialization();
            return if plain { Ok(Self::Exact(origin, shown)) } else { Err(wrong()) };
        }
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        match Host::parse(name) {
            Ok(Host::Domain(host)) if host == name && host.contains('.') => {
                Ok(if below { Self::Below(host) } else { Self::Name(host) })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Exact(_, text) => f.write_str(text),
        }
    }
}

impl Serialize for Origins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}
