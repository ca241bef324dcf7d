//! Media and cost of a finished task.

use entities::job::Usage;
use url::Url;

use super::wire::Record;
use crate::providers::{Artifact, ArtifactSource, Finished, Polled, Refusal};

/// What one of their credits is counted as, unless the route says otherwise.
const CREDIT_USD_MICROS: i64 = 5_000;

/// What a task that succeeded brings.
pub(super) fn finished(record: &Record, usage: Usage) -> Polled {
    let artifacts: Option<Vec<Artifact>> = record
        .result_urls()
        .iter()
        .map(|url| {
            let source = ArtifactSource::Url(Url::parse(url).ok()?);
            Some(Artifact { content_type: None, source })
        })
        .collect();
    match artifacts {
        Some(artifacts) if !artifacts.is_empty() => Polled::Finished(Finished { artifacts, usage }),
        _ => {
            let refusal = Refusal::Unknown("it succeeded without a result".to_owned());
            Polled::Failed(refusal, usage)
        }
    }
}

/// Their credits; what one costs us is the route's word, or a third party's.
pub(super) fn usage(record: &Record, unit_usd_micros: Option<i64>) -> Usage {
    let credits = record.credits_consumed.filter(|credits| (0.0..1e9).contains(credits));
    let micros = |factor: i64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "below 1e9 times a factor of at most 2^32: fits, and is exact enough for costs"
        )]
        credits.map(|credits| (credits * factor as f64).round() as i64)
    };
    Usage {
        cost_usd_micros: micros(unit_usd_micros.unwrap_or(CREDIT_USD_MICROS).clamp(0, 1 << 32)),
        billed_units_micros: micros(1_000_000),
    }
}
