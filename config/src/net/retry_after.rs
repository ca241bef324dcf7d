//! `Retry-After` (RFC 9110, section 10.2.3): when a service that is busy wants to be asked again.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::clock::Clock;

/// The longest wait that a service can ask for.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// How long a service asks to be left alone that answers with 429 or 503: that it is busy.
#[must_use]
pub fn busy_for(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    busy.then(|| retry_after(headers)).flatten()
}

/// How long a service asks to be left alone, at most an hour: in seconds, or until a time, which is
/// compared with the answer's own `Date`, so that the service's clock may be wrong. For answers that
/// say in their own way that the service is busy; for others see [`busy_for`].
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        // More digits than a number has.
        Err(_) if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => LONGEST,
        Err(_) => {
            let until = httpdate::parse_http_date(value).ok()?;
            let now = date(headers, &header::DATE).unwrap_or_else(now);
            until.duration_since(now).unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(LONGEST))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?.trim()).ok()
}

/// The time in the world outside, whatever a test has done to ours.
fn now() -> SystemTime {
    let micros = u64::try_from(Clock::system(0).now().0).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(status: u16, given: &[(&'static str, &str)]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.insert(*name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        busy_for(status, &headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn it_is_seconds_or_a_date() {
        let noon = ("date", "Fri, 27 Nov 2026 12:00:00 GMT");
        for (value, expected) in [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("0", Some(0)),
            ("Fri, 27 Nov 2026 12:00:30 GMT", Some(30)),
            // The two older forms.
            ("Friday, 27-Nov-26 12:01:00 GMT", Some(60)),
            ("Fri Nov 27 12:00:05 2026", Some(5)),
            // Past.
            ("Fri, 27 Nov 2026 11:00:00 GMT", Some(0)),
            // Too long.
            ("86400", Some(3_600)),
            ("99999999999999999999999", Some(3_600)),
            ("Sat, 28 Nov 2026 12:00:00 GMT", Some(3_600)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Fri, 32 Nov 2026 12:00:00 GMT", None),
        ] {
            for status in [429, 503] {
                assert_eq!(asked(status, &[noon, ("retry-after", value)]), expected, "{value}");
            }
        }
        assert_eq!(asked(503, &[noon]), None);
        for status in [200, 202, 301, 500, 502] {
            assert_eq!(asked(status, &[noon, ("retry-after", "7")]), None, "{status}");
        }
    }

    #[test]
    fn without_a_date_our_own_clock_counts() {
        let soon = httpdate::fmt_http_date(now() + Duration::from_secs(100));
        let wait = asked(429, &[("retry-after", &soon)]).unwrap();
        assert!((90..=100).contains(&wait), "{wait}");
    }
}
