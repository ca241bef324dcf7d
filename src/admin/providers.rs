//! `admin providers`: what is switched off, what is shut, and why.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use clap::Subcommand;
use config::{
    catalogue::Catalogue,
    clock::Clock,
    routes::overview,
    settings::{Providers, Settings},
};
use entities::{Db, routing};
use serde_json::{Map, Value, json};

/// The longest reason, in characters.
const REASON: usize = 500;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Every provider and route: on or off, and why.
    List,
    /// Give a provider, or one of its routes, no new calls. What runs there is still finished.
    Off {
        /// Such as fal, or fal/fal-ai/flux/schnell for one route.
        #[arg(value_name = "PROVIDER[/MODEL]")]
        target: String,
        #[arg(long)]
        reason: String,
    },
    /// Give it calls again.
    On {
        #[arg(value_name = "PROVIDER[/MODEL]")]
        target: String,
    },
}

/// What the commands need.
pub(super) struct Here<'a> {
    pub(super) db: &'a Db,
    pub(super) clock: &'a Clock,
    pub(super) catalogue: Catalogue,
    pub(super) settings: &'a Settings,
}

impl Here<'_> {
    pub(super) async fn run(&self, command: Command) -> Result<Value> {
        match command {
            Command::List => {
                let board = routing::read(self.db.read()).await?;
                let all = overview(&board, self.catalogue.routes(), &self.settings.providers);
                Ok(json!({"providers": all}))
            }
            Command::Off { target, reason } => {
                let (provider, model) = self.target(&target)?;
                let length = reason.trim().chars().count();
                ensure!((1..=REASON).contains(&length), "--reason needs 1 to {REASON} characters");
                let switch =
                    routing::switch_off(self.db.write(), provider, model, reason.trim()).await?;
                Ok(json!({"off": target, "reason": switch.reason, "at": switch.off_at}))
            }
            Command::On { target } => {
                let (provider, model) = self.target(&target)?;
                let tx = self.db.begin().await?;
                let changed = routing::switch_on(&tx, provider, model, self.clock.now()).await?;
                tx.commit().await?;
                Ok(json!({"on": target, "changed": changed}))
            }
        }
    }

    /// The provider and the model that a text names. A provider's models have slashes, too.
    fn target<'t>(&self, text: &'t str) -> Result<(&'t str, Option<&'t str>)> {
        let (provider, model) = match text.split_once('/') {
            Some((provider, model)) => (provider, Some(model)),
            None => (text, None),
        };
        let routes = self.catalogue.routes();
        let known = Providers::NAMES.contains(&provider)
            || routes.iter().any(|route| route.provider == provider);
        ensure!(known, "there is no provider {provider:?}, only {}", Providers::NAMES.join(", "));
        let Some(model) = model else { return Ok((provider, None)) };
        let of_it: BTreeSet<&str> = routes
            .iter()
            .filter(|route| route.provider == provider)
            .map(|route| route.model.as_str())
            .collect();
        if !of_it.contains(model) {
            let names: Vec<&str> = of_it.into_iter().collect();
            bail!("{provider} has no route to {model:?}, only to {}", names.join(", "));
        }
        Ok((provider, Some(model)))
    }
}

/// The list for people.
pub(super) fn table(answer: &Map<String, Value>) -> String {
    let none = Vec::new();
    let items = |value: &Value| value.as_array().unwrap_or(&none).clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for provider in answer.get("providers").map(items).unwrap_or_default() {
        let mut why = Vec::new();
        if !provider["needs_key"].is_null() {
            why.push(format!("no key: {} is not set", text(&provider["needs_key"])));
        }
        why.extend(switched_off(&provider));
        if provider["account_problem"] == true {
            why.push("our account there is refused".to_owned());
        }
        lines.push(line(&text(&provider["provider"]), &provider, &why));
        for route in items(&provider["routes"]) {
            let mut why: Vec<String> = switched_off(&route).into_iter().collect();
            if route["breaker"] != "closed" {
                let (word, cause) = (text(&route["breaker"]), text(&route["cause"]));
                let (since, retry) = (text(&route["open_since"]), text(&route["retry_at"]));
                why.push(format!(
                    "breaker {word} ({cause}) since {since}, may be tried from {retry}"
                ));
            }
            if !route["throttled_until"].is_null() {
                why.push(format!("throttled until {}", text(&route["throttled_until"])));
            }
            if !route["last_failure"].is_null() {
                let (what, at) = (text(&route["last_failure"]), text(&route["last_failure_at"]));
                why.push(format!("last failure {what} at {at}"));
            }
            lines.push(line(&format!("  {}", text(&route["model"])), &route, &why));
        }
    }
    lines.join("\n")
}

fn switched_off(what: &Value) -> Option<String> {
    let (reason, at) = (what["off_reason"].as_str()?, what["off_at"].as_str().unwrap_or_default());
    Some(format!("switched off at {at}: {reason}"))
}

fn line(name: &str, what: &Value, why: &[String]) -> String {
    let word = if what["on"] == true { "on " } else { "off" };
    format!("{word}  {name:<52}  {}", why.join("; ")).trim_end().to_owned()
}
