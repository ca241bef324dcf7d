//! `GET /privacy`: the privacy policy. Its figures are those of the settings in force, so that it
//! promises what the software does.

use std::time::Duration;

use askama::Template;
use axum::{
    extract::State,
    response::{Html, IntoResponse as _, Response},
};
use config::settings::{Offer, Settings};
use http::{HeaderValue, header};

use crate::{
    app::App,
    extract::Parameters,
    people,
    problem::{Code, Problem},
};

/// The version of the policy's words. A change of words is a new version; a test holds the two
/// together.
const VERSION: &str = "1";

/// Since when this version is in force.
const EFFECTIVE: &str = "26 November 2026";

/// SHA-256 of the words of [`VERSION`].
#[cfg(test)]
const WORDS: &str = "0b7ccdf3fa96ea502d568c722feddd5404bc3eca1b915960efed2010fe13d664";

#[derive(Template)]
#[template(path = "privacy.html")]
struct Policy {
    version: &'static str,
    effective: &'static str,
    content_days: u64,
    usage_log_days: u64,
    audit_days: u64,
    export_days: u64,
    session_idle_days: u64,
    session_days: u64,
    link_life: String,
    cookies: Vec<Cookie>,
    processors: Vec<Processor>,
}

struct Cookie {
    name: &'static str,
    purpose: &'static str,
    lasts: String,
}

struct Processor {
    name: &'static str,
    gets: &'static str,
}

impl Policy {
    fn of(settings: &Settings) -> Self {
        let days = |span: Duration| span.as_secs() / 86_400;
        Self {
            version: VERSION,
            effective: EFFECTIVE,
            content_days: days(settings.retention.content),
            usage_log_days: days(settings.retention.usage_log),
            audit_days: days(settings.retention.audit),
            export_days: days(settings.retention.export),
            session_idle_days: days(settings.accounts.session_idle),
            session_days: days(settings.accounts.session),
            link_life: in_words(settings.media.link),
            cookies: cookies(settings),
            processors: processors(settings),
        }
    }
}

fn in_words(span: Duration) -> String {
    let (number, unit) = match span.as_secs() {
        seconds if seconds % 86_400 == 0 => (seconds / 86_400, "day"),
        seconds if seconds % 3_600 == 0 => (seconds / 3_600, "hour"),
        seconds if seconds % 60 == 0 => (seconds / 60, "minute"),
        seconds => (seconds, "second"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

fn cookies(settings: &Settings) -> Vec<Cookie> {
    let days = settings.accounts.session.as_secs() / 86_400;
    let cookie = |name, purpose, lasts: &str| Cookie { name, purpose, lasts: lasts.to_owned() };
    let known =
        "knows this browser again, so that strangers who guess passwords cannot lock you out";
    let mut cookies = vec![
        cookie(people::SESSION, "keeps you signed in", &format!("{days} days at most")),
        cookie(people::DEVICE, known, "365 days"),
        cookie(
            people::AGE,
            "remembers that somebody here said that they are too young",
            "until the browser is closed",
        ),
    ];
    if settings.google.client().is_some() {
        let begun = "makes sure that a sign-in with Google ends in the browser in which it began";
        cookies.push(cookie(people::FLOW, begun, "10 minutes at most"));
        let new = "keeps who you are at Google until you have answered the age question";
        cookies.push(cookie(people::NEWCOMER, new, "10 minutes at most"));
    }
    cookies
}

/// Those whom these settings give something to.
fn processors(settings: &Settings) -> Vec<Processor> {
    let mut all = vec![Processor {
        name: "Cloudflare",
        gets: "passes requests on to us and answers to you, and protects the service from attacks",
    }];
    let offered = |name: &str| settings.providers.offer(name) == Offer::Yes;
    let prompts = "prompts, settings and files of the jobs that its models do";
    for (name, shown) in [
        ("fal", "fal.ai"),
        ("huggingface", "Hugging Face Inference Providers"),
        ("kieai", "kie.ai"),
    ] {
        if offered(name) {
            all.push(Processor { name: shown, gets: prompts });
        }
    }
    if settings.google.client().is_some() {
        all.push(Processor {
            name: "Google",
            gets: "tells us who you are, if you choose to sign in with it",
        });
    }
    if settings.mail.smtp_url.is_some() {
        all.push(Processor { name: "Our mail server", gets: "your address, and the mails to you" });
    }
    all
}

/// The page.
pub(crate) async fn page(
    State(app): State<App>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.end()?;
    let text = Policy::of(&app.context.settings).render().map_err(|error| {
        tracing::error!(%error, "the privacy policy cannot be written");
        Problem::new(Code::Internal, "Something went wrong on our side.")
    })?;
    let mut response = Html(text).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn other_words_are_another_version() {
        let words = include_bytes!("../templates/privacy.html");
        let hash: String = Sha256::digest(words).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, WORDS, "give the policy a new VERSION and date, and this hash");
    }

    #[test]
    fn spans_are_in_words() {
        assert_eq!(in_words(Duration::from_secs(3_600)), "1 hour");
        assert_eq!(in_words(Duration::from_secs(7_200)), "2 hours");
        assert_eq!(in_words(Duration::from_secs(90)), "90 seconds");
        assert_eq!(in_words(Duration::from_secs(2 * 86_400)), "2 days");
    }
}
