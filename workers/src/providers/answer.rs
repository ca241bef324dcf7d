//! An answer of an outside service, read to its end, and what its words are good for.

use std::time::Duration;

use bytes::Bytes;
use config::net::{self, Unanswered};
use http::{HeaderMap, StatusCode, header};
use reqwest::RequestBuilder;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::Refusal;

/// The most of a text of theirs that is repeated, in characters.
const WORDS: usize = 300;

/// The longest wait that a service can ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// Sends the request, once, and reads an answer of at most `most` bytes.
    ///
    /// # Errors
    /// `Unavailable` if nothing was sent; `Unknown` if it may have arrived.
    pub(super) async fn to(request: RequestBuilder, most: usize) -> Result<Self, Refusal> {
        let response = request.send().await.map_err(Unanswered::from)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = match net::read(response, most).await {
            Ok(body) => body,
            // Whatever stops an answer half-way, the request had arrived.
            Err(Unanswered::NotSent(text) | Unanswered::Unknown(text)) => {
                return Err(Refusal::Unknown(text));
            }
        };
        Ok(Self { status, headers, body })
    }

    /// The body as JSON of this shape.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A page for people: its words say nothing about the request.
    pub(super) fn is_page(&self) -> bool {
        self.content_type().is_some_and(|kind| kind == "text/html")
            || self.body.trim_ascii_start().starts_with(b"<")
    }

    /// The declared type, without parameters.
    pub(super) fn content_type(&self) -> Option<String> {
        let kind = self.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        Some(kind.split(';').next()?.trim().to_ascii_lowercase())
    }

    /// How long the service asks to be left alone, where its answer says that it is busy.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        net::retry_after(&self.headers)
    }

    /// The same, where nothing but the status says so.
    pub(super) fn busy_for(&self) -> Option<Duration> {
        net::busy_for(self.status, &self.headers)
    }

    /// No verdict on a submit; who is busy is left alone for as long as it asks.
    pub(super) fn no_verdict(&self, words: String) -> Refusal {
        no_verdict(self.busy_for(), words)
    }

    /// A look that failed: who is busy says when to look again.
    pub(super) fn no_look(&self, words: String) -> Refusal {
        no_look(self.busy_for(), words)
    }
}

/// See [`Answer::no_verdict`].
pub(super) fn no_verdict(retry_after: Option<Duration>, words: String) -> Refusal {
    match retry_after {
        Some(retry_after) => Refusal::Busy { words, retry_after },
        None => Refusal::Unknown(words),
    }
}

/// See [`Answer::no_look`].
pub(super) fn no_look(retry_after: Option<Duration>, words: String) -> Refusal {
    match retry_after {
        None => Refusal::Unknown(words),
        retry_after => Refusal::Throttled { retry_after },
    }
}

/// A wait in seconds, as a service names it.
pub(super) fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok().map(|wait| wait.min(LONGEST_WAIT))
}

/// A text of theirs, short and without control characters.
pub(super) fn clean(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control())
        .take(WORDS)
        .collect();
    text.trim().to_owned()
}

/// Whether an error is about what was asked for, not about how. Few services have a code for it.
pub(super) fn speaks_of_content(text: &str) -> bool {
    let text = text.to_lowercase();
    [
        "content polic",
        "content_polic",
        "nsfw",
        "safety",
        "moderat",
        "sensitive",
        "prohibited",
        "violat",
        "inappropriate",
    ]
    .iter()
    .any(|word| text.contains(word))
}

/// The user's input was refused, by the rules on content or otherwise.
pub(super) fn input_refused(text: &str) -> Refusal {
    let text = clean(text);
    if speaks_of_content(&text) {
        Refusal::Moderated
    } else if text.is_empty() {
        Refusal::Rejected("The provider did not accept this input.".to_owned())
    } else {
        Refusal::Rejected(text)
    }
}

/// An id that can be part of a path or a query.
pub(super) fn is_plain_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && !id.starts_with('.')
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// A value of another type than expected counts as missing.
pub(super) fn or_none<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Maybe<T> {
        Value(T),
        Other(serde::de::IgnoredAny),
    }
    Ok(match Maybe::deserialize(from)? {
        Maybe::Value(value) => Some(value),
        Maybe::Other(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn their_words_are_cut_and_cleaned() {
        assert_eq!(clean(" a\n\u{7}b\u{0} "), "a b");
        assert_eq!(clean(&"é".repeat(1_000)).chars().count(), WORDS);
        assert_eq!(input_refused("Blocked: NSFW content"), Refusal::Moderated);
        assert!(matches!(input_refused("\n"), Refusal::Rejected(text) if !text.is_empty()));
        assert_eq!(seconds(f64::NAN), None);
        assert_eq!(seconds(-1.0), None);
        assert_eq!(seconds(1e12), Some(LONGEST_WAIT));
    }

    #[test]
    fn ids_that_would_leave_their_place_are_no_ids() {
        assert!(is_plain_id("task_12345678") && is_plain_id("0a-b.c"));
        for id in ["", "..", "../x", "a/b", "a?b", "a b", "\"\n{", "ä", &"x".repeat(129)] {
            assert!(!is_plain_id(id), "{id}");
        }
    }
}
