//! How often somebody may ask: limits by address, by key and by workspace.
//!
//! All buckets of a request are asked in one round trip, after its caller is known and before its
//! body is read. Every answer that was counted says how its buckets stand (`RateLimit` and
//! `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-10); one that was refused is 429 with
//! `Retry-After`. Addresses are in the buckets' names for as long as these fill, seconds.

use std::{fmt::Write as _, num::NonZeroU32, time::Duration};

use axum::{
    extract::Request,
    response::{IntoResponse as _, Response},
};
use config::{
    rates::{Answer, Bucket, Quota, Rates},
    settings::Settings,
};
use entities::accounts::{Caller, Credential};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    address::Client,
    app::App,
    problem::{Code, Problem},
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What the settings allow; `None`: no limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quotas {
    address: Option<Quota>,
    anonymous: Option<Quota>,
    key: Option<Quota>,
    workspace: Option<Quota>,
}

impl Quotas {
    pub(crate) fn new(settings: &Settings, rates: &Rates) -> Self {
        let limits = &settings.limits;
        let burst = limits.burst;
        let requests = |rate: u32| quota(rate, burst).map(|quota| rates.kept(quota));
        Self {
            address: requests(limits.requests_per_address),
            anonymous: requests(limits.anonymous_per_address),
            key: requests(limits.requests_per_key),
            workspace: requests(limits.requests_per_workspace),
        }
    }
}

/// So many a minute; what comes in within `burst` may come at once.
fn quota(rate: u32, burst: Duration) -> Option<Quota> {
    let rate = NonZeroU32::new(rate)?;
    let at_once = (f64::from(rate.get()) * burst.as_secs_f64() / 60.0).round();
    let at_once = NonZeroU32::new(at_once as u32).unwrap_or(NonZeroU32::MIN);
    Some(Quota::per_minute(rate, at_once))
}

fn bucket(limit: &'static str, owner: impl ToString, quota: Option<Quota>) -> Option<Bucket> {
    Some(Bucket { limit, owner: owner.to_string(), quota: quota? })
}

/// How the buckets of one request stand.
pub(crate) struct Stand {
    buckets: Vec<Bucket>,
    answer: Answer,
}

/// A request from an address that is known to be refused need not be looked at any further.
pub(crate) fn refused_already(app: &App, client: Client) -> Option<Stand> {
    let bucket = bucket("address", client.network(), app.quotas.address)?;
    let answer = app.context.rates.refusal(&bucket)?;
    Some(Stand { buckets: vec![bucket], answer })
}

/// Counts a request. `nobody`: it needs a caller and has none.
pub(crate) async fn count(
    app: &App,
    client: Client,
    caller: Option<&Caller>,
    nobody: bool,
) -> Stand {
    let (quotas, network) = (app.quotas, client.network());
    let mut buckets: Vec<Bucket> = bucket("address", network, quotas.address).into_iter().collect();
    match caller {
        Some(caller) => {
            buckets.extend(match caller.credential {
                Credential::Key(id) => bucket("key", id, quotas.key),
                Credential::Session(id) => bucket("session", id, quotas.key),
            });
            buckets.extend(bucket("workspace", caller.workspace_id, quotas.workspace));
        }
        None if nobody => buckets.extend(bucket("anonymous", network, quotas.anonymous)),
        None => {}
    }
    let answer = app.context.rates.take(&buckets).await;
    Stand { buckets, answer }
}

/// The longest body that is read only so that its connection can go on.
const SMALL: usize = 65_536;

/// How long such a body may take.
const SHORT: Duration = Duration::from_millis(250);

/// Answers a request whose body nobody reads. What is still on its way would be taken for the next
/// request, so a small body is read and forgotten, and after any other the connection ends; the
/// client is told, or it would send its next request into a closed connection.
pub(crate) async fn turn_away(request: Request, mut refused: Response) -> Response {
    let body = request.into_body();
    let read = tokio::time::timeout(SHORT, axum::body::to_bytes(body, SMALL)).await;
    if !matches!(read, Ok(Ok(_))) {
        refused.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    refused
}

impl Stand {
    /// The problem, if there were too many.
    pub(crate) fn refusal(&self, app: &App) -> Option<Problem> {
        let wait = self.answer.retry_after?;
        let seconds = whole_seconds(wait);
        let full = self.buckets.iter().zip(&self.answer.standings);
        for (bucket, _) in full.filter(|(_, standing)| standing.left == 0) {
            app.context.metrics.request_limited(bucket.limit);
        }
        let detail = format!("Too many requests. Try again in {seconds} s.");
        let problem = Problem::new(Code::RateLimited, detail);
        Some(problem.with_header(header::RETRY_AFTER, HeaderValue::from(seconds)))
    }

    /// The refusal as a response.
    pub(crate) fn refuse(&self, app: &App) -> Option<Response> {
        let mut response = self.refusal(app)?.into_response();
        self.tell(response.headers_mut());
        Some(response)
    }

    /// Says how the buckets stand.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let (mut stand, mut policy) = (String::new(), String::new());
        for (bucket, standing) in self.buckets.iter().zip(&self.answer.standings) {
            let comma = if stand.is_empty() { "" } else { ", " };
            let (name, left, burst) = (bucket.limit, standing.left, bucket.quota.burst());
            let whole_in = whole_seconds(standing.whole_in);
            let window = whole_seconds(bucket.quota.window());
            // Writing to a string cannot fail.
            let _ = write!(stand, "{comma}\"{name}\";r={left};t={whole_in}");
            let _ = write!(policy, "{comma}\"{name}\";q={burst};w={window}");
        }
        for (name, text) in [(RATE_LIMIT, stand), (POLICY, policy)] {
            if let Ok(value) = HeaderValue::try_from(text)
                && !value.is_empty()
            {
                headers.insert(name, value);
            }
        }
    }
}

/// Rounded up: whoever waits so long has waited long enough.
fn whole_seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use config::rates::Standing;

    use super::*;

    #[test]
    fn a_burst_is_what_comes_in_its_time() {
        let quota = |rate, seconds| quota(rate, Duration::from_secs(seconds));
        assert_eq!(quota(0, 10), None);
        assert_eq!(quota(600, 10).map(Quota::burst), Some(100));
        assert_eq!(quota(1, 1).map(Quota::burst), Some(1));
    }

    #[test]
    fn an_answer_says_how_its_buckets_stand() {
        let buckets: Vec<Bucket> = ["key", "workspace"]
            .into_iter()
            .filter_map(|name| bucket(name, "x", quota(600, Duration::from_secs(10))))
            .collect();
        let standing = |left, millis| Standing {
            left,
            whole_in: Duration::from_millis(millis),
            refuses_for: Duration::ZERO,
        };
        let standings = vec![standing(99, 100), standing(0, 10_000)];
        let stand = Stand { buckets, answer: Answer { retry_after: None, standings } };
        let mut headers = HeaderMap::new();
        stand.tell(&mut headers);
        assert_eq!(headers["ratelimit"], "\"key\";r=99;t=1, \"workspace\";r=0;t=10");
        assert_eq!(headers["ratelimit-policy"], "\"key\";q=100;w=10, \"workspace\";q=100;w=10");
    }
}
