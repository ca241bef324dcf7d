//! Whether a callback's headers are the service's: an HMAC over the task's id and the time, with
//! the key of our account's settings.
//!
//! The body is not covered, so a captured pair of headers fits any body about the same task. That
//! is why a callback with a good signature is still only a reason to ask.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use entities::Timestamp;
use http::HeaderMap;
use ring::hmac;

/// How far a callback's time may be from its arrival. The service documents no tolerance, and an
/// old callback can do no more than make us look.
const TOLERANCE_SECONDS: i64 = 15 * 60;

pub(super) struct CallbackKey(hmac::Key);

impl CallbackKey {
    pub(super) fn new(key: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()))
    }

    /// # Errors
    /// Why it is not believed.
    pub(super) fn verify(
        &self,
        headers: &HeaderMap,
        task_id: &str,
        now: Timestamp,
    ) -> Result<(), &'static str> {
        let header = |name: &str| {
            let mut values = headers.get_all(name).iter();
            let value = values.next().and_then(|value| value.to_str().ok());
            value.filter(|_| values.next().is_none()).ok_or("it is not signed")
        };
        let time = header("x-webhook-timestamp")?;
        let signature = header("x-webhook-signature")?;
        let seconds: i64 = time.parse().map_err(|_| "its time is no number")?;
        let arrived = now.0.div_euclid(1_000_000);
        if arrived.saturating_sub(seconds).saturating_abs() > TOLERANCE_SECONDS {
            return Err("its time is too far from its arrival");
        }
        let signature = STANDARD.decode(signature).map_err(|_| "its signature is no base64")?;
        hmac::verify(&self.0, format!("{task_id}.{time}").as_bytes(), &signature)
            .map_err(|_| "its signature is wrong")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: i64 = 1_760_000_000;

    fn signed(time: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-webhook-timestamp", time.parse().unwrap());
        headers.insert("x-webhook-signature", signature.parse().unwrap());
        headers
    }

    #[test]
    fn the_documented_formula() {
        let key = CallbackKey::new("kie-hmac-key");
        let good = "ti1n0Tsd377ER29BnGfyfX/JHsfF/GB0ATHw+ZC7r0w=";
        let headers = signed("1760000000", good);
        let at = |seconds| Timestamp((AT + seconds) * 1_000_000);
        let task = "task_12345678";
        for seconds in [0, -900, 900] {
            assert_eq!(key.verify(&headers, task, at(seconds)), Ok(()));
        }
        for seconds in [-901, 901, 1_000_000] {
            assert!(key.verify(&headers, task, at(seconds)).is_err());
        }
        assert!(key.verify(&headers, "task_12345679", at(0)).is_err());
        assert!(CallbackKey::new("other").verify(&headers, task, at(0)).is_err());
        for (time, signature) in
            [("1760000001", good), ("x", good), ("1760000000", "!"), ("1760000000", "")]
        {
            assert!(
                key.verify(&signed(time, signature), task, at(0)).is_err(),
                "{time} {signature}"
            );
        }
        let mut twice = headers.clone();
        twice.append("x-webhook-signature", "AAAA".parse().unwrap());
        assert!(key.verify(&twice, task, at(0)).is_err());
        assert!(key.verify(&HeaderMap::new(), task, at(0)).is_err());
    }
}
