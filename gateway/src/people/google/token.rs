//! Checking an identity token (OpenID Connect Core 1.0, section 3.1.3.7): signed by a key of the
//! issuer, by RS256 and nothing else, from this issuer, for us, in time, and for this sign-in.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::{GoogleError, refused};

/// How far our clock and Google's may be apart, in seconds.
const LEEWAY: i64 = 60;

/// The longest subject.
const SUBJECT: usize = 255;

/// The longest token that is looked at.
const LONGEST: usize = 16 * 1024;

/// A key of the issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) kid: String,
    pub(super) n: Vec<u8>,
    pub(super) e: Vec<u8>,
}

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// In seconds since 1970.
    pub(super) now: i64,
}

/// What a token says about somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) subject: String,
    pub(super) email: Option<String>,
    pub(super) email_verified: bool,
    pub(super) name: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: i64,
    iat: i64,
    nonce: Option<String>,
    email: Option<String>,
    email_verified: Option<Value>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A token in its parts, before anything in it is believed.
pub(super) struct Token<'a> {
    header: Header,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes it apart.
    pub(super) fn read(text: &'a str) -> Result<Self, GoogleError> {
        let malformed = || refused("the token is malformed");
        if text.len() > LONGEST {
            return Err(malformed());
        }
        let (signed, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed())?;
        // What the token itself says about how to check it counts only as far as it is this.
        if header.alg != "RS256" {
            return Err(refused("the token is not signed by RS256"));
        }
        Ok(Self { header, signed, payload: decode(payload)?, signature: decode(signature)? })
    }

    /// Which key it says that it is signed by.
    pub(super) fn kid(&self) -> Result<&str, GoogleError> {
        self.header.kid.as_deref().ok_or_else(|| refused("the token names no key"))
    }

    /// Checks everything.
    pub(super) fn check(
        &self,
        key: &Key,
        expected: &Expected<'_>,
    ) -> Result<Identity, GoogleError> {
        RsaPublicKeyComponents { n: &key.n, e: &key.e }
            .verify(&RSA_PKCS1_2048_8192_SHA256, self.signed.as_bytes(), &self.signature)
            .map_err(|_| refused("the signature is wrong"))?;
        let payload: Payload = serde_json::from_slice(&self.payload)
            .map_err(|error| refused(format!("the claims are malformed: {error}")))?;
        check(&payload, expected)?;
        Ok(Identity {
            subject: payload.sub,
            email: payload.email,
            email_verified: is_true(payload.email_verified.as_ref()),
            name: payload.name,
        })
    }
}

fn check(payload: &Payload, expected: &Expected<'_>) -> Result<(), GoogleError> {
    let holds = |fine: bool, why: &str| if fine { Ok(()) } else { Err(refused(why)) };
    // Google's older tokens name the issuer without its scheme.
    let old = expected.issuer.split_once("://").map(|(_, rest)| rest);
    holds(
        payload.iss == expected.issuer || Some(payload.iss.as_str()) == old,
        "it is from another issuer",
    )?;
    let (ours, alone) = match &payload.aud {
        Audience::One(one) => (one == expected.client_id, true),
        Audience::Several(all) => (all.iter().any(|one| one == expected.client_id), all.len() == 1),
    };
    holds(ours, "it is for another client")?;
    holds(alone || payload.azp.is_some(), "it is for several clients")?;
    let party = payload.azp.as_deref().is_none_or(|azp| azp == expected.client_id);
    holds(party, "it was issued to another client")?;
    holds(expected.now < payload.exp.saturating_add(LEEWAY), "it has expired")?;
    holds(payload.iat <= expected.now.saturating_add(LEEWAY), "it is from the future")?;
    let nonce = payload.nonce.as_deref().unwrap_or_default();
    holds(nonce.as_bytes().ct_eq(expected.nonce.as_bytes()).into(), "it is for another sign-in")?;
    let subject = &payload.sub;
    let fits =
        (1..=SUBJECT).contains(&subject.len()) && subject.bytes().all(|b| b.is_ascii_graphic());
    holds(fits, "it names nobody")
}

/// Google has sent it as a text as well.
fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(change: impl FnOnce(&mut Value)) -> Result<(), GoogleError> {
        let mut claims = json!({
            "iss": "https://accounts.google.com", "sub": "1", "aud": "us", "azp": "us",
            "exp": 1_000, "iat": 900, "nonce": "n",
        });
        change(&mut claims);
        let payload: Payload =
            serde_json::from_value(claims).map_err(|e| refused(e.to_string()))?;
        let issuer = "https://accounts.google.com";
        check(&payload, &Expected { issuer, client_id: "us", nonce: "n", now: 1_000 })
    }

    #[test]
    fn claims_hold_or_do_not() {
        assert_eq!(outcome(|_| {}), Ok(()));
        assert_eq!(outcome(|c| c["iss"] = json!("accounts.google.com")), Ok(()));
        assert_eq!(outcome(|c| c["aud"] = json!(["us"])), Ok(()));
        assert_eq!(outcome(|c| c["aud"] = json!(["us", "them"])), Ok(()));
        assert_eq!(outcome(|c| c["exp"] = json!(941)), Ok(()), "within the leeway");
        let bad: &[(&str, Value)] = &[
            ("iss", json!("https://accounts.google.com.evil.example")),
            ("iss", json!("google.com")),
            ("aud", json!("them")),
            ("aud", json!(["them"])),
            ("aud", json!([])),
            ("azp", json!("them")),
            ("exp", json!(940)),
            ("exp", json!(null)),
            ("exp", json!("1000")),
            ("iat", json!(1_061)),
            ("nonce", json!("m")),
            ("nonce", json!(null)),
            ("nonce", json!("")),
            ("sub", json!("")),
            ("sub", json!(null)),
            ("sub", json!("x".repeat(256))),
        ];
        for (name, value) in bad {
            assert!(outcome(|c| c[*name] = value.clone()).is_err(), "{name} {value}");
        }
        let several = |c: &mut Value| {
            c["aud"] = json!(["us", "them"]);
            c["azp"] = json!(null);
        };
        assert!(outcome(several).is_err());
    }

    #[test]
    fn verified_means_true() {
        assert!(is_true(Some(&json!(true))) && is_true(Some(&json!("true"))));
        for no in [json!(false), json!("false"), json!("True"), json!(1), json!(null)] {
            assert!(!is_true(Some(&no)), "{no}");
        }
        assert!(!is_true(None));
    }

    #[test]
    fn what_is_not_signed_is_not_read() {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        for alg in ["none", "None", "HS256", "RS512", "PS256", ""] {
            let text = format!("{}.{}.", encode(&json!({"alg": alg})), encode(&json!({})));
            assert!(Token::read(&text).is_err(), "{alg}");
        }
        for text in ["", ".", "..", "a.b.c", "a.b"] {
            assert!(Token::read(text).is_err(), "{text}");
        }
    }
}
