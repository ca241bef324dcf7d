//! The log: lines on standard error, for people or for machines.
//!
//! Secrets of our own are typed and mask themselves. Libraries that see headers, URLs with
//! passwords or rows of users may write them down at `debug` and `trace`; those never get so far,
//! whatever the filter says.

use std::io::{self, IsTerminal};

use entities::ids::JobId;
use tracing::{Level, Metadata, Span, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{ParseError, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt,
    registry::Registry,
    util::{SubscriberInitExt, TryInitError},
};

use crate::settings::{Log, LogFormat};

/// Libraries that write headers, passwords in URLs, or values of rows below `info`.
const CAPPED: [&str; 9] = [
    "h2",
    "hyper",
    "hyper_util",
    "reqwest",
    "rustls",
    "redis",
    "sea_orm",
    "sea_orm_migration",
    "sqlx",
];

/// A log that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("log.filter: {0}")]
    Filter(#[from] ParseError),
    /// This process has a log already.
    #[error("the log was started twice: {0}")]
    Twice(#[from] TryInitError),
}

/// Starts the log of this process.
///
/// # Errors
/// When the filter cannot be read, or there is a log already.
pub fn init(settings: &Log) -> Result<(), LogError> {
    subscriber(settings, io::stderr, io::stderr().is_terminal())?.try_init()?;
    Ok(())
}

/// The log as `settings` want it, written to `writer`.
fn subscriber<W>(
    settings: &Log,
    writer: W,
    colours: bool,
) -> Result<impl Subscriber + Send + Sync, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&settings.filter)?;
    let cap = filter_fn(may_be_logged).with_max_level_hint(LevelFilter::TRACE);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match settings.format {
        LogFormat::Text => lines.with_ansi(colours).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    // Per layer and in this order, so that the cap cannot be widened by the filter.
    Ok(Registry::default().with(lines.with_filter(filter).with_filter(cap)))
}

fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::INFO || !CAPPED.contains(&root)
}

/// The span of work on one job; everything that is logged inside carries its id.
#[must_use]
pub fn job_span(job_id: JobId, pool: &str) -> Span {
    tracing::info_span!("job", %job_id, pool)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat, work: impl FnOnce()) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let settings = Log { filter: filter.to_owned(), format };
        let subscriber = subscriber(&settings, move || writer.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        String::from_utf8(memory.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn lines_carry_the_ids_of_their_request_and_job() {
        let job_id = JobId::generate();
        let work = || {
            let _request = tracing::info_span!("request", request_id = "req-1").entered();
            let _job = job_span(job_id, "demo").entered();
            tracing::info!(credits = 5, "held");
        };
        let text = logged("info", LogFormat::Text, work);
        assert!(
            text.contains("request_id=\"req-1\"") && text.contains(&job_id.to_string()),
            "{text}"
        );
        let json = logged("info", LogFormat::Json, work);
        let line: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(line["message"], "held");
        assert_eq!(line["credits"], 5);
        assert_eq!(line["spans"][0]["request_id"], "req-1");
        assert_eq!(line["spans"][1]["job_id"], job_id.to_string());
    }

    #[test]
    fn the_filter_decides_what_is_logged() {
        let work = || {
            tracing::debug!("fine detail");
            tracing::debug!(target: "other", "other detail");
            tracing::warn!(target: "other", "other warning");
        };
        let text = logged("warn,config=debug", LogFormat::Text, work);
        assert!(text.contains("fine detail") && text.contains("other warning"), "{text}");
        assert!(!text.contains("other detail"), "{text}");
    }

    #[test]
    fn libraries_that_see_secrets_stay_above_debug() {
        let work = || {
            tracing::trace!(target: "ours", "shown");
            tracing::trace!(target: "h2::codec", "authorization: Bearer hunter2");
            tracing::debug!(target: "sqlx::query", "hunter2");
            let _span =
                tracing::debug_span!(target: "sea_orm::driver", "c", url = "hunter2").entered();
            tracing::info!(target: "sea_orm::driver", "connected");
        };
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged("trace,sqlx=trace,sea_orm=trace,h2=trace", format, work);
            assert!(text.contains("shown") && text.contains("connected"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let settings = Log { filter: "=,=".to_owned(), format: LogFormat::Text };
        assert!(matches!(subscriber(&settings, io::sink, false), Err(LogError::Filter(_))));
    }
}
