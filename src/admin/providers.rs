//! `admin providers`: what is switched off, what is shut, and why.

use anyhow::Result;
use clap::Subcommand;
use config::routes::Switches;
use entities::{Timestamp, operators::Acting};
use serde_json::{Map, Value, json};

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

/// Runs the command.
pub(super) async fn run(
    switches: &Switches<'_>,
    command: Command,
    job_now: Timestamp,
    by: &Acting,
) -> Result<Value> {
    Ok(match command {
        Command::List => json!({"providers": switches.list().await?}),
        Command::Off { target, reason } => {
            let switch = switches.off(&target, &reason, by).await?;
            json!({"off": target, "reason": switch.reason, "at": switch.off_at})
        }
        Command::On { target } => {
            let changed = switches.on(&target, job_now, by).await?;
            json!({"on": target, "changed": changed})
        }
    })
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
        why.extend(given_up(&provider));
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
            why.extend(given_up(&route));
            lines.push(line(&format!("  {}", text(&route["model"])), &route, &why));
        }
    }
    lines.join("\n")
}

/// What calls without a verdict may have cost.
fn given_up(what: &Value) -> Option<String> {
    let calls = what["given_up_calls"].as_i64().filter(|calls| *calls > 0)?;
    let dollars = what["possible_cost_usd_micros"].as_f64().unwrap_or_default() / 1e6;
    Some(format!(
        "{calls} call(s) given up without a verdict, which may have cost {dollars:.2} USD"
    ))
}

fn switched_off(what: &Value) -> Option<String> {
    let (reason, at) = (what["off_reason"].as_str()?, what["off_at"].as_str().unwrap_or_default());
    Some(format!("switched off at {at}: {reason}"))
}

fn line(name: &str, what: &Value, why: &[String]) -> String {
    let word = if what["on"] == true { "on " } else { "off" };
    format!("{word}  {name:<52}  {}", why.join("; ")).trim_end().to_owned()
}
