//! Identity tokens: signed by RS256, and wrong in every way that a rule asks for.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use ring::{hmac, rand::SystemRandom, rsa::PublicKeyComponents, signature};
use serde_json::{Value, json};

use super::{CLIENT_ID, CLIENT_SECRET, Person, fault::TokenFault, now};

const KEYS: [&[u8]; 3] =
    [include_bytes!("keys/1.der"), include_bytes!("keys/2.der"), include_bytes!("keys/3.der")];

/// How many keys there are to rotate through; the one after the last is published never.
pub(super) const ROTATING: usize = KEYS.len() - 1;

/// What a token says before something goes wrong.
pub(super) struct Subject<'a> {
    pub(super) issuer: &'a str,
    pub(super) nonce: Option<&'a str>,
    pub(super) person: &'a Person,
}

/// The name of a key.
pub(super) fn kid(key: usize) -> String {
    format!("sim-key-{key}")
}

fn pair(key: usize) -> signature::RsaKeyPair {
    #[expect(clippy::expect_used, reason = "the keys are part of this program")]
    signature::RsaKeyPair::from_der(KEYS[key % KEYS.len()]).expect("a key of this program")
}

/// A key as it is published.
pub(super) fn jwk(key: usize) -> Value {
    let parts: PublicKeyComponents<Vec<u8>> = pair(key).public().into();
    json!({
        "kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid(key),
        "n": B64.encode(parts.n), "e": B64.encode(parts.e),
    })
}

/// A token, signed by `key`.
pub(super) fn make(key: usize, subject: &Subject<'_>, fault: Option<TokenFault>) -> String {
    let mut header = json!({"alg": "RS256", "typ": "JWT", "kid": kid(key)});
    let mut claims = claims(subject);
    spoil(&mut claims, fault);
    let by_secret = |header: &mut Value, secret: &[u8]| {
        header["alg"] = json!("HS256");
        let body = body(header, &claims);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body.as_bytes());
        format!("{body}.{}", B64.encode(tag))
    };
    match fault {
        Some(TokenFault::Garbage) => "this.is.nothing".to_owned(),
        Some(TokenFault::Unsigned) => {
            header["alg"] = json!("none");
            format!("{}.", body(&header, &claims))
        }
        Some(TokenFault::Hmac) => {
            by_secret(&mut header, jwk(key)["n"].as_str().unwrap_or("").as_bytes())
        }
        Some(TokenFault::HmacSecret) => by_secret(&mut header, CLIENT_SECRET.as_bytes()),
        Some(TokenFault::ForeignKey) => sign(ROTATING, &header, &claims),
        Some(TokenFault::OwnKey) => {
            header["jwk"] = jwk(ROTATING);
            header["kid"] = json!(kid(ROTATING));
            sign(ROTATING, &header, &claims)
        }
        Some(TokenFault::Changed) => {
            let signed = sign(key, &header, &claims);
            claims["sub"] = json!("somebody-else");
            let signature = signed.rsplit('.').next().unwrap_or_default();
            format!("{}.{signature}", body(&header, &claims))
        }
        _ => sign(key, &header, &claims),
    }
}

fn claims(subject: &Subject<'_>) -> Value {
    let (person, now) = (subject.person, now());
    let mut claims = json!({
        "iss": subject.issuer, "azp": CLIENT_ID, "aud": CLIENT_ID, "sub": person.sub,
        "iat": now, "exp": now + 3_600, "at_hash": "c2ltdWxhdGVk",
    });
    if let Some(nonce) = subject.nonce {
        claims["nonce"] = json!(nonce);
    }
    let optional = [
        ("email", person.email.clone().map(Value::from)),
        ("email_verified", person.email_verified.clone()),
        ("name", person.name.clone().map(Value::from)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            claims[name] = value;
        }
    }
    claims
}

fn spoil(claims: &mut Value, fault: Option<TokenFault>) {
    let other = "other-client.apps.example";
    match fault {
        Some(TokenFault::Audience) => claims["aud"] = json!(other),
        Some(TokenFault::Party) => {
            claims["aud"] = json!([CLIENT_ID, other]);
            claims["azp"] = json!(other);
        }
        Some(TokenFault::Audiences) => {
            claims["aud"] = json!([CLIENT_ID, other]);
            remove(claims, "azp");
        }
        Some(TokenFault::Issuer) => claims["iss"] = json!("https://accounts.example.com"),
        Some(TokenFault::OldIssuer) => {
            let issuer = claims["iss"].as_str().unwrap_or_default();
            let old = issuer.split_once("://").map_or(issuer, |(_, rest)| rest).to_owned();
            claims["iss"] = json!(old);
        }
        Some(TokenFault::Nonce) => claims["nonce"] = json!("another-nonce"),
        Some(TokenFault::NoNonce) => remove(claims, "nonce"),
        Some(TokenFault::Expired) => {
            claims["iat"] = json!(now() - 7_200);
            claims["exp"] = json!(now() - 3_600);
        }
        Some(TokenFault::NoExpiry) => remove(claims, "exp"),
        Some(TokenFault::Future) => claims["iat"] = json!(now() + 3_600),
        Some(TokenFault::NoSubject) => remove(claims, "sub"),
        Some(TokenFault::EmptySubject) => claims["sub"] = json!(""),
        Some(TokenFault::LongSubject) => claims["sub"] = json!("1".repeat(256)),
        _ => {}
    }
}

fn remove(claims: &mut Value, name: &str) {
    if let Some(fields) = claims.as_object_mut() {
        fields.remove(name);
    }
}

fn body(header: &Value, claims: &Value) -> String {
    format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()))
}

fn sign(key: usize, header: &Value, claims: &Value) -> String {
    let body = body(header, claims);
    let pair = pair(key);
    let mut tag = vec![0; pair.public().modulus_len()];
    #[expect(clippy::expect_used, reason = "the system always has randomness")]
    pair.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), body.as_bytes(), &mut tag)
        .expect("a signature");
    format!("{body}.{}", B64.encode(tag))
}
