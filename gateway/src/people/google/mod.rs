//! Signing in with Google: the code flow with PKCE, and an identity token that is checked.
//!
//! | file | what |
//! |---|---|
//! | `flow` | discovery, the way there, and the code's exchange |
//! | `keys` | Google's keys, which rotate |
//! | `token` | checking an identity token |
//! | `routes` | what browsers do |
//!
//! Between its two steps a sign-in is kept by its own browser, in a sealed cookie: state, nonce and
//! PKCE verifier. Who somebody is says `sub` alone.

mod flow;
mod keys;
mod routes;
mod token;

pub(crate) use flow::Google;
pub(crate) use routes::*;

/// Why a sign-in with Google did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum GoogleError {
    /// Google cannot be asked just now.
    #[error("Google cannot be asked: {0}")]
    Away(String),
    /// Google refused, or what it said does not hold.
    #[error("Google's answer does not hold: {0}")]
    Refused(String),
}

fn refused(why: impl Into<String>) -> GoogleError {
    GoogleError::Refused(why.into())
}
