//! Whoever is at the door: from where, with which browser, and what it remembers for us.

use axum::extract::FromRequestParts;
use entities::{accounts::SessionSecret, audit::Origin};
use http::{HeaderMap, request::Parts};

use super::cookies::{self, AGE, DEVICE, FLOW, NEWCOMER, SESSION};
use crate::{address::Client, problem::Problem};

/// Somebody at the door.
pub(crate) struct Visitor {
    /// From where, for the audit log.
    pub(super) origin: Origin,
    /// From where, for limits.
    pub(super) network: String,
    /// The session that they had.
    pub(super) session: Option<SessionSecret>,
    /// What proves that this browser has signed in before.
    pub(super) device: Option<String>,
    /// A sign-in with Google that has begun.
    pub(super) flow: Option<String>,
    /// Whom Google knows.
    pub(super) newcomer: Option<String>,
    /// Whether somebody here said that they were too young.
    pub(super) said_too_young: bool,
}

impl Visitor {
    /// From where they act, for the audit log.
    pub(crate) fn origin(&self) -> Origin {
        self.origin.clone()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let client = Client::from_request_parts(parts, state).await?;
        let headers = &parts.headers;
        Ok(Self {
            origin: origin(client),
            network: client.network().to_string(),
            session: session(headers),
            device: cookies::read(headers, DEVICE),
            flow: cookies::read(headers, FLOW),
            newcomer: cookies::read(headers, NEWCOMER),
            said_too_young: cookies::read(headers, AGE).is_some(),
        })
    }
}

/// A client as the audit log knows it.
pub(crate) fn origin(client: Client) -> Origin {
    Origin { address: Some(client.address), browser: Some(client.browser.name().to_owned()) }
}

/// The session's secret in the cookie.
pub(crate) fn session(headers: &HeaderMap) -> Option<SessionSecret> {
    SessionSecret::parse(&cookies::read(headers, SESSION)?)
}
