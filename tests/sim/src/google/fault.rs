//! What can go wrong at Google, or what somebody who pretends to be Google can try.

use serde::{Deserialize, Serialize};

/// A fault; each concerns one sign-in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The person says no.
    Deny,
    /// The redirect back carries another state.
    OtherState,
    /// The redirect back names another issuer.
    OtherIss,
    /// The code is refused.
    RefuseCode,
    /// The token endpoint answers with this status and a page.
    TokenPage(u16),
    /// Nobody hears the token.
    LoseToken,
    /// There is no identity token.
    NoIdToken,
    /// The identity token is wrong in this way.
    Token(TokenFault),
    /// The keys cannot be read.
    NoKeys,
}

/// What is wrong with an identity token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFault {
    /// For another client.
    Audience,
    /// For us and for another client, issued to that one.
    Party,
    /// For us and for another client, and it does not say to whom.
    Audiences,
    /// From somebody else.
    Issuer,
    /// From Google in its old spelling, without `https://`: this is fine.
    OldIssuer,
    /// With another nonce.
    Nonce,
    /// Without a nonce.
    NoNonce,
    /// It expired a while ago.
    Expired,
    /// It never expires.
    NoExpiry,
    /// It was issued an hour from now.
    Future,
    /// Not signed at all (`alg: none`).
    Unsigned,
    /// Signed by HMAC with the public key, which everybody knows.
    Hmac,
    /// Signed by HMAC with our own secret.
    HmacSecret,
    /// Signed by a key that is not published.
    ForeignKey,
    /// Signed by a key that is not published, which the token itself carries.
    OwnKey,
    /// Changed after it was signed.
    Changed,
    /// Without a subject.
    NoSubject,
    /// With an empty subject.
    EmptySubject,
    /// With a subject that is too long.
    LongSubject,
    /// Not a token.
    Garbage,
}
