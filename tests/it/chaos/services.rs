//! The simulated providers: in this process, so that nothing kills them. What they accepted and
//! billed is what the platform is held to.

use std::collections::HashMap;

use sim::{
    fal::Fal, faults::Rule, huggingface::HuggingFace, kie::Kie, record::Entry, serve::Server,
};

use super::{
    mishaps::{Mishap, Times},
    plan::{Order, prompt},
};

/// fal.ai, Hugging Face and kie.ai.
pub(super) struct Services {
    pub(super) fal: Fal,
    pub(super) hf: HuggingFace,
    pub(super) kie: Kie,
    _servers: [Server; 3],
}

/// A request that one of them accepted.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) provider: &'static str,
    pub(super) entry: Entry,
}

impl Call {
    /// Whether one of its callbacks was taken.
    pub(super) fn was_reported(&self) -> bool {
        self.entry.deliveries.iter().any(|status| (200..300).contains(status))
    }

    /// Whether its provider has stopped trying to report its end.
    pub(super) fn has_given_up(&self) -> bool {
        let tries = match self.provider {
            "fal" => sim::fal::TRIES,
            "kieai" => sim::kie::TRIES,
            _ => 0,
        };
        !self.was_reported() && self.entry.deliveries.len() >= tries
    }
}

impl Services {
    pub(super) async fn start() -> Self {
        let (fal, first) = sim::fal::start().await.unwrap();
        let (hf, second) = sim::huggingface::start(0).await.unwrap();
        let (kie, third) = sim::kie::start(0).await.unwrap();
        kie.sign(true);
        Self { fal, hf, kie, _servers: [first, second, third] }
    }

    /// Settings that lead to them; Hugging Face only where it is wanted.
    pub(super) fn env(&self, hugging_face: bool) -> Vec<(&'static str, String)> {
        let fal = self.fal.base();
        let mut env = vec![
            ("FAL_KEY", sim::fal::KEY.to_owned()),
            ("TIKTOMATO__PROVIDERS__FAL_URL", fal.clone()),
            ("TIKTOMATO__PROVIDERS__FAL_JWKS_URL", format!("{fal}/.well-known/jwks.json")),
            ("TIKTOMATO__PROVIDERS__FAL_MEDIA_HOSTS", fal),
            ("TIKTOMATO__PROVIDERS__FAL_USER_ID", sim::fal::USER.to_owned()),
            ("KIE_API_KEY", sim::kie::KEY.to_owned()),
            ("TIKTOMATO__PROVIDERS__KIE_URL", self.kie.base()),
            ("TIKTOMATO__PROVIDERS__KIE_MEDIA_HOSTS", self.kie.base()),
            ("TIKTOMATO__PROVIDERS__KIE_WEBHOOK_KEY", sim::kie::WEBHOOK_KEY.to_owned()),
        ];
        if hugging_face {
            env.push(("HF_TOKEN", sim::huggingface::TOKEN.to_owned()));
            env.push(("TIKTOMATO__PROVIDERS__HF_URL", self.hf.base()));
            env.push(("TIKTOMATO__PROVIDERS__HF_HUB_URL", self.hf.base()));
            env.push(("TIKTOMATO__PROVIDERS__HF_MEDIA_HOSTS", self.hf.base()));
        }
        env
    }

    /// Tells them what shall go wrong with these orders.
    pub(super) fn arm(&self, orders: &[Order]) {
        for order in orders {
            let words = prompt(order.n);
            for mishap in &order.weather.mishaps {
                match mishap.clone() {
                    Mishap::Fal(fault, times) => self.fal.rules().add(rule(&words, fault, times)),
                    Mishap::HuggingFace(fault, times) => {
                        self.hf.rules().add(rule(&words, fault, times));
                    }
                    Mishap::Kie(fault, times) => self.kie.rules().add(rule(&words, fault, times)),
                }
            }
        }
    }

    /// Everything that they accepted, by the order that it was for.
    pub(super) fn calls(&self) -> HashMap<usize, Vec<Call>> {
        let mut all: HashMap<usize, Vec<Call>> = HashMap::new();
        for (provider, entries) in [
            ("fal", self.fal.accepted()),
            ("huggingface", self.hf.accepted()),
            ("kieai", self.kie.accepted()),
        ] {
            for entry in entries {
                let words = entry.input["prompt"].as_str().unwrap();
                let n = words.trim_start_matches("tomato ").trim_end_matches('.').parse().unwrap();
                all.entry(n).or_default().push(Call { provider, entry });
            }
        }
        all
    }
}

fn rule<F>(words: &str, fault: F, times: Times) -> Rule<F> {
    let times = (times == Times::Once).then_some(1);
    Rule { times, ..Rule::when(words, fault) }
}
