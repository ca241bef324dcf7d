//! What operators see: every provider and every route, and why one is not used.

use std::collections::{BTreeMap, BTreeSet};

use entities::{
    Timestamp,
    routing::{Board, Breaker, Cause, GivenUp, Position, RouteKey, Switch, Trouble},
};
use serde::Serialize;

use crate::settings::{Offer, Providers};

/// A provider as operators see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProviderState {
    /// Its name.
    pub provider: String,
    /// Whether it is called at all.
    pub on: bool,
    /// The environment variable that it lacks, if it has no key.
    pub needs_key: Option<&'static str>,
    /// Why an operator switched it off.
    pub off_reason: Option<String>,
    /// When.
    pub off_at: Option<Timestamp>,
    /// Our account there is refused.
    pub account_problem: bool,
    /// Calls that were given up without a verdict: a lost answer that nothing brought back, or no end
    /// in time.
    pub given_up_calls: i64,
    /// The most that these may have cost us, in millionths of a US dollar.
    pub possible_cost_usd_micros: i64,
    /// Its routes.
    pub routes: Vec<RouteState>,
}

/// A route as operators see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouteState {
    /// The provider's name of the model.
    pub model: String,
    /// Whether it is called now.
    pub on: bool,
    /// Why an operator switched it off.
    pub off_reason: Option<String>,
    /// When.
    pub off_at: Option<Timestamp>,
    /// `closed`, `half_open` or `open`.
    pub breaker: &'static str,
    /// Why it is not closed.
    pub cause: Option<Cause>,
    /// Since when it is not closed.
    pub open_since: Option<Timestamp>,
    /// When it may be tried.
    pub retry_at: Option<Timestamp>,
    /// The provider asked for patience until then.
    pub throttled_until: Option<Timestamp>,
    /// What went wrong last.
    pub last_failure: Option<Trouble>,
    /// When.
    pub last_failure_at: Option<Timestamp>,
    /// Calls on it that were given up without a verdict.
    pub given_up_calls: i64,
    /// The most that these may have cost us, in millionths of a US dollar.
    pub possible_cost_usd_micros: i64,
}

/// What providers and routes are told from.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Breakers and switches.
    pub board: &'a Board,
    /// Calls without a verdict.
    pub given_up: &'a BTreeMap<RouteKey, GivenUp>,
    /// The routes of the catalogue.
    pub routes: &'a BTreeSet<RouteKey>,
    /// Which providers have keys.
    pub settings: &'a Providers,
}

/// Every provider of the catalogue and of the settings.
#[must_use]
pub fn overview(known: Known<'_>) -> Vec<ProviderState> {
    let mut names: BTreeSet<&str> = Providers::NAMES.into_iter().collect();
    names.extend(known.routes.iter().map(|route| route.provider.as_str()));
    names.into_iter().map(|name| provider(known, name)).collect()
}

fn provider(known: Known<'_>, name: &str) -> ProviderState {
    let Known { board, given_up, routes, settings } = known;
    let needs_key = match settings.offer(name) {
        Offer::NeedsKey(variable) => Some(variable),
        Offer::Yes | Offer::Unknown => None,
    };
    let switch = find(board, name, None);
    let on = switch.is_none() && needs_key.is_none();
    let of_it = routes.iter().filter(|route| route.provider == name);
    let account = |(key, breaker): (&RouteKey, &Breaker)| {
        key.provider == name && breaker.cause == Some(Cause::Account)
    };
    // Also on routes that the catalogue has no more.
    let lost = given_up.iter().filter(|(key, _)| key.provider == name).map(|(_, lost)| *lost);
    let lost = lost.reduce(GivenUp::plus).unwrap_or_default();
    ProviderState {
        provider: name.to_owned(),
        on,
        needs_key,
        off_reason: switch.map(|switch| switch.reason.clone()),
        off_at: switch.map(|switch| switch.off_at),
        account_problem: board.breakers.iter().any(account),
        given_up_calls: lost.calls,
        possible_cost_usd_micros: lost.possible_cost_usd_micros,
        routes: of_it.map(|key| route(known, key, on)).collect(),
    }
}

fn route(known: Known<'_>, key: &RouteKey, provider_on: bool) -> RouteState {
    let board = known.board;
    let lost = known.given_up.get(key).copied().unwrap_or_default();
    let breaker = board.breakers.get(key).copied().unwrap_or_default();
    let switch = find(board, &key.provider, Some(&key.model));
    let position = breaker.position(board.now);
    let word = match (breaker.cause, position) {
        (None, _) => "closed",
        (Some(_), Position::HalfOpen) => "half_open",
        (Some(_), _) => "open",
    };
    let open = matches!(position, Position::Closed | Position::HalfOpen);
    RouteState {
        model: key.model.clone(),
        on: provider_on && switch.is_none() && open,
        off_reason: switch.map(|switch| switch.reason.clone()),
        off_at: switch.map(|switch| switch.off_at),
        breaker: word,
        cause: breaker.cause,
        open_since: breaker.opened_at,
        retry_at: breaker.retry_at,
        throttled_until: breaker.throttled_until.filter(|until| board.now < *until),
        last_failure: breaker.trouble,
        last_failure_at: breaker.trouble_at,
        given_up_calls: lost.calls,
        possible_cost_usd_micros: lost.possible_cost_usd_micros,
    }
}

fn find<'b>(board: &'b Board, provider: &str, model: Option<&str>) -> Option<&'b Switch> {
    board
        .switches
        .iter()
        .find(|switch| switch.provider == provider && switch.model.as_deref() == model)
}
