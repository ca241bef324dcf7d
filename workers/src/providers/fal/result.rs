//! What a finished request brings: its media, and what it cost us.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use entities::job::Usage;
use http::{HeaderMap, StatusCode};
use url::Url;

use super::{
    FalProvider,
    errors::{self, End},
    links::Links,
    wire::{File, Output, Status},
};
use crate::providers::{Accepted, Artifact, ArtifactSource, Call, Finished, Polled, Refusal};

impl FalProvider {
    /// Reads the result of a request that has ended, as its status says.
    pub(super) async fn result(
        &self,
        call: &Call,
        accepted: &Accepted,
        links: &Links,
        status: &Status,
    ) -> Result<Polled, Refusal> {
        let answer = self.ask(self.client.get(links.response.clone())).await?;
        let usage = usage(&answer.headers, call.unit_usd_micros);
        let told = !status.error.is_null() || status.error_type.is_some();
        if answer.status == StatusCode::ACCEPTED || answer.still_running() {
            let poll_after = self.next_look(accepted, None);
            return Ok(Polled::Running { progress: None, poll_after });
        }
        if answer.status.is_success() {
            let failed =
                told.then(|| errors::of_status(&status.error, status.error_type.as_deref()));
            return match failed {
                Some(End::Canceled) => Ok(Polled::Canceled),
                Some(End::Failed(refusal)) => read(&answer.body, usage, Some(refusal)),
                Some(End::LookAgain(_)) | None => read(&answer.body, usage, None),
            };
        }
        match errors::of_result(&answer, told) {
            End::Failed(refusal) => Ok(Polled::Failed(refusal, usage)),
            End::Canceled => Ok(Polled::Canceled),
            End::LookAgain(refusal) => Err(refusal),
        }
    }
}

/// A result that was answered with success. `failed` is what the status said of a failure, if it
/// did: a result without media believes it.
pub(super) fn read(body: &[u8], usage: Usage, failed: Option<Refusal>) -> Result<Polled, Refusal> {
    let output: Output = serde_json::from_slice(body)
        .map_err(|error| Refusal::Unknown(format!("the result cannot be read: {error}")))?;
    let files = output.files();
    if files.is_empty() {
        let nothing = || Refusal::Unknown("the result has no media".to_owned());
        return Ok(Polled::Failed(failed.unwrap_or_else(nothing), usage));
    }
    // A picture that breaks the content rules is delivered black, with a flag: it is not sold.
    let clean: Vec<File> =
        files.into_iter().filter(|(_, flagged)| !flagged).map(|(file, _)| file).collect();
    if clean.is_empty() {
        return Ok(Polled::Failed(Refusal::Moderated, usage));
    }
    let artifacts: Option<Vec<Artifact>> = clean.into_iter().map(artifact).collect();
    Ok(match artifacts {
        Some(artifacts) => Polled::Finished(Finished { artifacts, usage }),
        None => {
            let refusal = Refusal::Unknown("a file of the result has no address".to_owned());
            Polled::Failed(refusal, usage)
        }
    })
}

fn artifact(file: File) -> Option<Artifact> {
    let source = match file.url.strip_prefix("data:") {
        // Not asked for, but some endpoints answer with the file itself.
        Some(data) => {
            let (_, text) = data.split_once(";base64,")?;
            ArtifactSource::Bytes(STANDARD.decode(text).ok()?.into())
        }
        None => ArtifactSource::Url(Url::parse(&file.url).ok()?),
    };
    Some(Artifact { content_type: file.content_type, source })
}

/// What the answer says that the request used.
pub(super) fn usage(headers: &HeaderMap, unit_usd_micros: Option<i64>) -> Usage {
    let text = headers.get("x-fal-billable-units").and_then(|value| value.to_str().ok());
    let units = text.and_then(micros);
    let cost = || {
        let product = i128::from(units?) * i128::from(unit_usd_micros?);
        i64::try_from((product + 999_999) / 1_000_000).ok()
    };
    Usage { cost_usd_micros: cost(), billed_units_micros: units }
}

/// Millionths of a decimal number that is not negative; finer digits are rounded up.
fn micros(text: &str) -> Option<i64> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fine: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let finer = fraction.bytes().skip(6).any(|digit| digit != b'0');
    whole.checked_mul(1_000_000)?.checked_add(fine.parse::<i64>().ok()? + i64::from(finer))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn polled(output: serde_json::Value) -> Polled {
        read(&serde_json::to_vec(&output).unwrap(), Usage::UNKNOWN, None).unwrap()
    }

    #[test]
    fn null_sizes_and_seeds_beyond_what_a_float_holds_are_no_trouble() {
        let file = json!({"url": "https://v3.fal.media/x.png", "width": null, "height": null});
        let output = json!({"images": [file], "seed": u64::MAX, "timings": {}, "prompt": "x"});
        let Polled::Finished(finished) = polled(output) else { panic!("not finished") };
        assert_eq!(finished.artifacts.len(), 1);
        let video = json!({"video": file, "images": null, "has_nsfw_concepts": null});
        assert!(matches!(polled(video), Polled::Finished(_)));
    }

    #[test]
    fn blacked_out_pictures_are_not_sold() {
        let file = |name: &str| json!({"url": format!("https://v3.fal.media/{name}")});
        let output = |flags: serde_json::Value| json!({"images": [file("a"), file("b")], "has_nsfw_concepts": flags});
        for flags in [json!([true, true]), json!(true)] {
            let polled = polled(output(flags));
            assert!(matches!(polled, Polled::Failed(Refusal::Moderated, _)), "{polled:?}");
        }
        for (flags, left) in [(json!([true, false]), 1), (json!([]), 2), (json!([null, 1]), 2)] {
            let Polled::Finished(finished) = polled(output(flags)) else { panic!("not finished") };
            assert_eq!(finished.artifacts.len(), left);
        }
    }

    #[test]
    fn a_result_without_media_has_failed() {
        for output in [json!({}), json!({"images": []}), json!({"video": null}), json!({"seed": 1})]
        {
            assert!(matches!(polled(output), Polled::Failed(Refusal::Unknown(_), _)));
        }
        assert!(read(b"<html>", Usage::UNKNOWN, None).is_err(), "a look that failed");
        let told = read(b"{}", Usage::UNKNOWN, Some(Refusal::Moderated)).unwrap();
        assert!(matches!(told, Polled::Failed(Refusal::Moderated, _)));
    }

    #[test]
    fn units_are_exact_and_cost_is_rounded_up() {
        for (text, expected) in [
            ("1", Some(1_000_000)),
            ("0.5", Some(500_000)),
            (".25", Some(250_000)),
            ("3.", Some(3_000_000)),
            ("0.0000001", Some(1)),
            ("-1", None),
            ("", None),
            (".", None),
            ("1e3", None),
            ("99999999999999999999", None),
            ("9223372036855", None),
        ] {
            assert_eq!(micros(text), expected, "{text}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("X-Fal-Billable-Units", "1.5".parse().unwrap());
        let used = usage(&headers, Some(3_001));
        assert_eq!(
            (used.billed_units_micros, used.cost_usd_micros),
            (Some(1_500_000), Some(4_502))
        );
        assert_eq!(usage(&headers, None).cost_usd_micros, None);
        assert_eq!(usage(&HeaderMap::new(), Some(1)), Usage::UNKNOWN);
    }
}
