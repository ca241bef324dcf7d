//! What goes wrong at the simulated providers, job by job, made from the seed alone: answers that
//! are late or lost after the provider has accepted, refusals, slow runs, runs that fail, callbacks
//! that come late, twice, never, forged or with lies, looks and media that are answered badly.

use rand::{RngExt, rngs::StdRng};
use serde_json::Value;
use sim::{fal::fault as fal, huggingface::fault as hf, kie::fault as kie};

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9";

/// One thing that goes wrong, and whether only once.
#[derive(Debug, Clone)]
pub(super) enum Mishap {
    Fal(fal::Fault, Times),
    HuggingFace(hf::Fault, Times),
    Kie(kie::Fault, Times),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    Once,
    Always,
}

/// All that goes wrong with one job at its provider.
#[derive(Debug, Clone, Default)]
pub(super) struct Weather {
    pub(super) mishaps: Vec<Mishap>,
    /// The provider accepts the job, and its answer is lost or cannot be read.
    pub(super) lost: bool,
    /// No callback comes that could prove that it was accepted.
    pub(super) mute: bool,
    /// Why the job cannot succeed, however well it is handled.
    pub(super) doom: Option<&'static str>,
}

/// Milliseconds of a call that takes long enough to be hit.
fn long(dice: &mut StdRng) -> u64 {
    dice.random_range(100..3_000)
}

impl Weather {
    /// For a job that goes to fal.ai.
    pub(super) fn at_fal(dice: &mut StdRng) -> Self {
        use fal::{CallbackFault, Failure, Fault, MediaFault, RunFault, SubmitFault};
        let mut all = Self::default();
        let late = long(dice);
        let busy = Failure::throttled().with("retry-after", "1");
        let submit = match dice.random_range(0..100) {
            0..7 => all.losing(SubmitFault::LoseAnswer),
            7..10 => all.losing(SubmitFault::Garbage),
            10..50 => Some(SubmitFault::Late(late)),
            50..53 => Some(SubmitFault::NoLinks),
            53..56 => Some(SubmitFault::OldLinks),
            56..58 => Some(SubmitFault::Links(NOWHERE.to_owned())),
            58..64 => {
                all.fal(Times::Once, Some(Fault::Submit(SubmitFault::Refuse(busy))));
                None
            }
            _ => None,
        };
        all.fal(Times::Always, submit.map(Fault::Submit));
        let run = match dice.random_range(0..100) {
            0..30 => Some(RunFault::Slow(dice.random_range(200..6_000))),
            30..33 => {
                all.doom = Some("the run fails");
                Some(RunFault::Fail(Failure::list(422, "no_media_generated", "Nothing came.")))
            }
            33..36 => Some(RunFault::Odd),
            _ => None,
        };
        all.fal(Times::Always, run.map(Fault::Run));
        let callback = match dice.random_range(0..100) {
            0..5 => all.silent(CallbackFault::Missing),
            5..7 => all.silent(CallbackFault::Forged),
            7..9 => all.silent(CallbackFault::OtherAccount),
            9..11 => all.silent(CallbackFault::Old),
            // Where the answer is lost, nothing contradicts what fal.ai has signed.
            11..13 if all.lost => all.silent(CallbackFault::Forged),
            11..13 => all.silent(CallbackFault::OtherRequest),
            13..20 => Some(CallbackFault::Twice),
            20..28 => Some(CallbackFault::Late(dice.random_range(300..4_000))),
            28..32 => Some(CallbackFault::PayloadError),
            _ => None,
        };
        all.fal(Times::Always, callback.map(Fault::Callback));
        let look = match dice.random_range(0..100) {
            0..5 => Some(Failure::throttled()),
            5..10 => Some(Failure::text(502, "bad gateway")),
            _ => None,
        };
        all.fal(Times::Once, look.map(Fault::Look));
        let media = match dice.random_range(0..100) {
            0..4 => Some(MediaFault::Gone),
            4..8 => Some(MediaFault::Torn),
            _ => None,
        };
        all.fal(Times::Once, media.map(Fault::Media));
        all.judged()
    }

    /// For a job that goes to kie.ai and nowhere else.
    pub(super) fn at_kie(dice: &mut StdRng) -> Self {
        use kie::{CallbackFault, CreateFault, Fault, MediaFault, Refusal, RunFault};
        let mut all = Self::default();
        let late = long(dice);
        let refusal = match dice.random_range(0..16) {
            0 => Some(Refusal::inside_200(429, "slow down").with_status(429)),
            1 => Some(Refusal::inside_200(455, "maintenance")),
            _ => None,
        };
        all.kie(Times::Once, refusal.map(|refusal| Fault::Create(CreateFault::Refuse(refusal))));
        let create = match dice.random_range(0..100) {
            0..7 => all.losing(CreateFault::LoseAnswer),
            7..10 => all.losing(CreateFault::Page(502)),
            10..12 => all.losing(CreateFault::NoId),
            12..50 => Some(CreateFault::Late(late)),
            _ => None,
        };
        all.kie(Times::Always, create.map(Fault::Create));
        if dice.random_ratio(3, 10) {
            let slow = RunFault::Slow(dice.random_range(200..6_000));
            all.kie(Times::Always, Some(Fault::Run(slow)));
        }
        if dice.random_ratio(3, 100) {
            all.doom = Some("the run fails");
            let failure = RunFault::Fail("500".to_owned(), "Internal error".to_owned());
            all.kie(Times::Always, Some(Fault::Run(failure)));
        }
        let callback = match dice.random_range(0..100) {
            0..5 => all.silent(CallbackFault::Missing),
            5..8 => all.silent(CallbackFault::Forged),
            8..11 => all.silent(CallbackFault::OtherTask("task_of_somebody_else".to_owned())),
            11..18 => Some(CallbackFault::Twice),
            18..26 => Some(CallbackFault::Late(dice.random_range(300..4_000))),
            26..32 => Some(CallbackFault::Lie(NOWHERE.to_owned())),
            32..36 => Some(CallbackFault::SnakeCase),
            36..40 => Some(CallbackFault::TopLevel),
            _ => None,
        };
        all.kie(Times::Always, callback.map(Fault::Callback));
        let look = match dice.random_range(0..100) {
            0..5 => Some(Refusal::inside_200(500, "server error")),
            5..8 => Some(Refusal::inside_200(401, "no")),
            _ => None,
        };
        all.kie(Times::Once, look.map(Fault::Look));
        let empty = dice.random_ratio(1, 20).then_some(Fault::EmptyResult(Value::Null));
        all.kie(Times::Always, empty);
        let media = dice.random_ratio(1, 20).then_some(Fault::Media(MediaFault::Gone));
        all.kie(Times::Once, media);
        all.judged()
    }

    /// For a job that goes to Hugging Face and nowhere else. A lost answer is lost for good there.
    pub(super) fn at_hugging_face(dice: &mut StdRng) -> Self {
        use hf::{Failure, Fault, MediaFault, RunFault, SubmitFault};
        let mut all = Self { mute: true, ..Self::default() };
        let late = long(dice);
        let refusal = match dice.random_range(0..16) {
            0 => Some(Failure::loading(0.5)),
            1 => Some(Failure::throttled(1)),
            _ => None,
        };
        all.hf(Times::Once, refusal.map(|refusal| Fault::Submit(SubmitFault::Refuse(refusal))));
        let submit = match dice.random_range(0..100) {
            0..5 => all.losing(SubmitFault::LoseAnswer),
            5..7 => all.losing(SubmitFault::Page(504)),
            7..45 => Some(SubmitFault::Late(late)),
            _ => None,
        };
        all.hf(Times::Always, submit.map(Fault::Submit));
        if dice.random_ratio(3, 10) {
            let slow = RunFault::Slow(dice.random_range(200..3_000));
            all.hf(Times::Always, Some(Fault::Run(slow)));
        }
        let media = dice.random_ratio(1, 20).then_some(Fault::Media(MediaFault::Gone));
        all.hf(Times::Once, media);
        all.judged()
    }

    /// For a job that may go to either of the two: calls are long there, and nothing else.
    pub(super) fn at_either(dice: &mut StdRng) -> Self {
        let mut all = Self::default();
        let late = long(dice);
        let at_kie = kie::Fault::Create(kie::CreateFault::Late(late));
        let at_hf = hf::Fault::Submit(hf::SubmitFault::Late(late));
        if dice.random_ratio(1, 2) {
            all.kie(Times::Always, Some(at_kie));
            all.hf(Times::Always, Some(at_hf));
        }
        all
    }

    fn losing<T>(&mut self, fault: T) -> Option<T> {
        self.lost = true;
        Some(fault)
    }

    fn silent<T>(&mut self, fault: T) -> Option<T> {
        self.mute = true;
        Some(fault)
    }

    fn judged(mut self) -> Self {
        if self.lost && self.mute {
            self.doom = self.doom.or(Some("its answer is lost and nothing can prove it"));
        }
        self
    }

    fn fal(&mut self, times: Times, fault: Option<fal::Fault>) {
        self.mishaps.extend(fault.map(|fault| Mishap::Fal(fault, times)));
    }

    fn hf(&mut self, times: Times, fault: Option<hf::Fault>) {
        self.mishaps.extend(fault.map(|fault| Mishap::HuggingFace(fault, times)));
    }

    fn kie(&mut self, times: Times, fault: Option<kie::Fault>) {
        self.mishaps.extend(fault.map(|fault| Mishap::Kie(fault, times)));
    }
}
