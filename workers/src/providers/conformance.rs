//! One set of checks that every provider's adapter passes.
//!
//! An adapter's tests bring a [`ProviderFixture`] (usually the adapter and a simulator of the
//! service) and call [`conforms`] with a function that makes a fresh one for each check, so that
//! counts begin at zero. Nothing here waits for time: the fixture makes calls finish.

use std::{future::Future, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use config::net::Fetcher;
use futures::{StreamExt as _, TryStreamExt as _};

use super::{
    Accepted, Artifact, ArtifactSource, Call, CancelOutcome, Finished, Polled, Provider, Refusal,
    Submitted,
};

/// How often something that must happen is looked for before the check fails.
const LOOKS: u32 = 1_000;

/// The largest file that a fixture delivers.
const LARGEST: u64 = 10_000_000;

/// A kind of [`Refusal`], without its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Rejected,
    Moderated,
    Throttled,
    Unavailable,
    Unknown,
    Account,
}

impl From<&Refusal> for Kind {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Rejected(_) => Self::Rejected,
            Refusal::Moderated => Self::Moderated,
            Refusal::Throttled { .. } => Self::Throttled,
            Refusal::Unavailable(_) => Self::Unavailable,
            Refusal::Unknown(_) | Refusal::Busy { .. } => Self::Unknown,
            Refusal::Account(_) => Self::Account,
        }
    }
}

/// Where a refusal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// The submit is refused: nothing was accepted.
    AtSubmit,
    /// The call is accepted, and a poll brings the refusal.
    AtPoll,
}

/// A call that is refused, and how.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) call: Call,
    pub(crate) kind: Kind,
    pub(crate) shows: Shows,
}

/// What an adapter's tests bring.
#[async_trait]
pub(crate) trait ProviderFixture: Send + Sync {
    fn provider(&self) -> &dyn Provider;

    /// A call (a new attempt) that succeeds once [`Self::let_finish`] was called.
    async fn good_call(&self) -> Call;

    /// Calls for every kind of refusal that this provider knows. What a service has to be told
    /// (an empty account, an outage) is told here, for these calls alone.
    async fn refused_calls(&self) -> Vec<Refused>;

    /// A call that is accepted but whose answer never arrives.
    async fn lost_call(&self) -> Call;

    /// Makes everything that was accepted finish.
    async fn let_finish(&self);

    /// How many calls the provider accepted, by its own books.
    async fn accepted(&self) -> usize;
}

/// Runs every check, each on a fixture of its own.
pub(crate) async fn conforms<F, M, Made>(make: M)
where
    F: ProviderFixture,
    M: Fn() -> Made,
    Made: Future<Output = F>,
{
    has_a_name_and_a_timeout(&make().await);
    a_good_call_finishes(&make().await).await;
    refusals_arise_as_promised(&make().await).await;
    a_lost_answer_is_found(&make().await).await;
    a_running_call_can_be_canceled_or_goes_on(&make().await).await;
    a_finished_call_cannot_be_canceled(&make().await).await;
    a_stranger_is_refused(&make().await).await;
}

fn has_a_name_and_a_timeout(fixture: &impl ProviderFixture) {
    let name = fixture.provider().name();
    assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()), "{name}");
    assert!(fixture.provider().submit_timeout() > Duration::ZERO);
}

async fn a_good_call_finishes(fixture: &impl ProviderFixture) {
    let call = fixture.good_call().await;
    let submitted = fixture.provider().submit(&call).await.expect("a good call is accepted");
    assert_eq!(fixture.accepted().await, 1, "one submit is accepted once");
    let accepted = match submitted {
        Submitted::Finished(finished) => {
            check_media(&files(fixture, finished).await);
            return;
        }
        Submitted::Accepted(accepted) => accepted,
    };
    assert!(!accepted.request_id.is_empty());
    match fixture.provider().poll(&call, &accepted).await.expect("a look at a running call") {
        Polled::Running { progress, .. } => {
            assert!(progress.is_none_or(|p| (0.0..=1.0).contains(&p)), "{progress:?}");
        }
        // A fast provider may be done.
        Polled::Finished(_) => {}
        other => panic!("a good call must run: {other:?}"),
    }
    fixture.let_finish().await;
    let Polled::Finished(finished) = ended(fixture, &call, &accepted).await else {
        panic!("a good call finishes")
    };
    let first = files(fixture, finished).await;
    check_media(&first);
    let again = ended(fixture, &call, &accepted).await;
    match again {
        Polled::Finished(finished) if fixture.provider().capabilities().rereads_results => {
            assert_eq!(files(fixture, finished).await, first, "a result reads the same again");
        }
        Polled::Finished(_) | Polled::Failed(..) => {}
        other => panic!("a finished call stays finished: {other:?}"),
    }
    assert_eq!(fixture.accepted().await, 1, "polls submit nothing");
}

async fn refusals_arise_as_promised(fixture: &impl ProviderFixture) {
    let refused = fixture.refused_calls().await;
    assert!(refused.iter().any(|r| r.kind == Kind::Rejected), "every provider rejects something");
    for Refused { call, kind, shows } in refused {
        let before = fixture.accepted().await;
        let submitted = fixture.provider().submit(&call).await;
        match shows {
            Shows::AtSubmit => {
                let refusal = submitted.expect_err("must be refused at submit");
                assert_eq!(Kind::from(&refusal), kind, "{refusal}");
                words(&refusal);
                assert_eq!(fixture.accepted().await, before, "refused, yet accepted: {refusal}");
                let found = fixture.provider().lookup(&call).await;
                assert!(!matches!(found, Ok(Some(_))), "refused, yet found: {found:?}");
            }
            Shows::AtPoll => {
                let Ok(Submitted::Accepted(accepted)) = submitted else {
                    panic!("{kind:?} must show at the poll: {submitted:?}")
                };
                assert_eq!(fixture.accepted().await, before + 1);
                fixture.let_finish().await;
                for _ in 0..2 {
                    match ended(fixture, &call, &accepted).await {
                        Polled::Failed(refusal, _) => assert_eq!(Kind::from(&refusal), kind),
                        other => panic!("{kind:?} expected: {other:?}"),
                    }
                }
            }
        }
    }
}

async fn a_lost_answer_is_found(fixture: &impl ProviderFixture) {
    let call = fixture.lost_call().await;
    let refusal = fixture.provider().submit(&call).await.expect_err("the answer is lost");
    assert_eq!(Kind::from(&refusal), Kind::Unknown, "{refusal}");
    assert_eq!(fixture.accepted().await, 1, "it was accepted, once");
    let found = fixture.provider().lookup(&call).await;
    if !fixture.provider().capabilities().recovers_lost_answers {
        assert!(!matches!(found, Ok(Some(_))), "the capabilities deny this: {found:?}");
        return;
    }
    // A provider that recovers by its callback alone finds nothing here.
    if let Some(accepted) = found.expect("a lookup") {
        fixture.let_finish().await;
        let polled = ended(fixture, &call, &accepted).await;
        assert!(matches!(polled, Polled::Finished(_)), "{polled:?}");
    }
    let stranger = fixture.good_call().await;
    let found = fixture.provider().lookup(&stranger).await;
    assert!(!matches!(found, Ok(Some(_))), "never submitted, yet found: {found:?}");
    assert_eq!(fixture.accepted().await, 1, "a lookup submits nothing");
}

async fn a_running_call_can_be_canceled_or_goes_on(fixture: &impl ProviderFixture) {
    let call = fixture.good_call().await;
    let Ok(Submitted::Accepted(accepted)) = fixture.provider().submit(&call).await else {
        return;
    };
    let outcome = fixture.provider().cancel(&call, &accepted).await.expect("cancel");
    let again = fixture.provider().cancel(&call, &accepted).await.expect("cancel is repeatable");
    fixture.let_finish().await;
    let polled = ended(fixture, &call, &accepted).await;
    match outcome {
        CancelOutcome::Canceled => {
            assert_eq!(again, CancelOutcome::Canceled, "canceled stays canceled");
            assert!(matches!(polled, Polled::Canceled), "{polled:?}");
        }
        CancelOutcome::Requested => {
            assert!(matches!(polled, Polled::Canceled | Polled::Finished(_)), "{polled:?}");
        }
        CancelOutcome::NotCanceled => {
            assert!(matches!(polled, Polled::Finished(_)), "{polled:?}");
        }
    }
}

async fn a_finished_call_cannot_be_canceled(fixture: &impl ProviderFixture) {
    let call = fixture.good_call().await;
    let Ok(Submitted::Accepted(accepted)) = fixture.provider().submit(&call).await else {
        return;
    };
    fixture.let_finish().await;
    let polled = ended(fixture, &call, &accepted).await;
    assert!(matches!(polled, Polled::Finished(_)), "{polled:?}");
    let outcome = fixture.provider().cancel(&call, &accepted).await.expect("cancel");
    assert_eq!(outcome, CancelOutcome::NotCanceled);
}

/// An id that the provider never gave is answered by a refusal, whatever is asked about it.
async fn a_stranger_is_refused(fixture: &impl ProviderFixture) {
    let call = fixture.good_call().await;
    for id in ["00000000-0000-4000-8000-000000000000", "", "../../x", "\"\n{"] {
        let handle = serde_json::Value::Null;
        let stranger = Accepted { request_id: id.to_owned(), handle, poll_after: Duration::ZERO };
        let polled = fixture.provider().poll(&call, &stranger).await;
        assert!(matches!(polled, Err(_) | Ok(Polled::Failed(..))), "{id:?}: {polled:?}");
        let canceled = fixture.provider().cancel(&call, &stranger).await;
        assert!(!matches!(canceled, Ok(CancelOutcome::Canceled)), "{id:?}: {canceled:?}");
    }
    assert_eq!(fixture.accepted().await, 0);
}

/// Polls until the call is no longer running.
async fn ended(fixture: &impl ProviderFixture, call: &Call, accepted: &Accepted) -> Polled {
    for _ in 0..LOOKS {
        match fixture.provider().poll(call, accepted).await.expect("a look at a known call") {
            Polled::Running { .. } => tokio::task::yield_now().await,
            end => return end,
        }
    }
    panic!("still running after the fixture let it finish")
}

/// A refusal for the user says something.
fn words(refusal: &Refusal) {
    match refusal {
        Refusal::Rejected(text)
        | Refusal::Unavailable(text)
        | Refusal::Unknown(text)
        | Refusal::Busy { words: text, .. }
        | Refusal::Account(text) => assert!(!text.trim().is_empty()),
        Refusal::Moderated | Refusal::Throttled { .. } => {}
    }
}

/// Each file's declared type and bytes.
async fn files(fixture: &impl ProviderFixture, finished: Finished) -> Vec<(Option<String>, Bytes)> {
    let usage = finished.usage;
    assert!(usage.cost_usd_micros.is_none_or(|cost| cost >= 0));
    assert!(usage.billed_units_micros.is_none_or(|units| units >= 0));
    let mut files = Vec::new();
    for Artifact { content_type, source } in finished.artifacts {
        let stream = match source {
            ArtifactSource::Bytes(bytes) => futures::stream::once(async { Ok(bytes) }).boxed(),
            ArtifactSource::Stream(stream) => stream,
            ArtifactSource::Url(url) => {
                let (fetcher, allowed) = (Fetcher::new(), fixture.provider().media_origins());
                fetcher.expect("a client").open(&url, allowed, LARGEST).await.expect("a file")
            }
        };
        let parts = stream.try_collect::<Vec<_>>().await.expect("a stream of bytes");
        let bytes = parts.concat().into();
        files.push((content_type, bytes));
    }
    files
}

/// There is media, and its bytes are of the type that the provider declared.
fn check_media(files: &[(Option<String>, Bytes)]) {
    assert!(!files.is_empty(), "a finished call has media");
    for (declared, bytes) in files {
        let found = sniff(bytes).expect("known media");
        if let Some(declared) = declared {
            assert_eq!(found, declared);
        }
    }
}

/// The type that the first bytes of a file show.
fn sniff(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xFF, 0xD8, 0xFF, ..] => Some("image/jpeg"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some("video/mp4"),
        [0x1A, 0x45, 0xDF, 0xA3, ..] => Some("video/webm"),
        _ => None,
    }
}
