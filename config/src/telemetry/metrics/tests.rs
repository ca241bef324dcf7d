//! Metrics as Prometheus reads them.

use std::collections::BTreeMap;

use entities::{
    Timestamp,
    routing::{Board, Breaker, GivenUp, Report, RouteKey},
};

use super::*;
use crate::routes::{Known, overview};

fn pool(name: &str) -> PoolGauges {
    PoolGauges {
        pool: name.to_owned(),
        capacity: 64,
        depth: 3,
        waiting: 9_000,
        oldest_seconds: 1.5,
        in_flight: vec![("running".to_owned(), 7)],
    }
}

fn at_most(name: &str, most: usize) -> Pools {
    let key = format!("TIKTOMATO__WORKERS__MAX_IN_FLIGHT__{}", name.to_uppercase());
    let env = BTreeMap::from([(key, most.to_string())]);
    let sources =
        crate::settings::Sources { file: None, env, mode: crate::settings::Mode::Embedded };
    crate::settings::Settings::load(sources).unwrap().workers.max_in_flight
}

fn provider() -> ProviderState {
    let mut breaker = Breaker::default();
    breaker.record(Report::Account, Timestamp(1_000_000), 0.5);
    let key = RouteKey::new("demo", "m");
    let board = Board {
        now: Timestamp(1_000_000),
        breakers: [(key.clone(), breaker)].into(),
        switches: Vec::new(),
    };
    let env = BTreeMap::new();
    let sources =
        crate::settings::Sources { file: None, env, mode: crate::settings::Mode::Embedded };
    let settings = crate::settings::Settings::load(sources).unwrap().providers;
    let lost = GivenUp { calls: 2, possible_cost_usd_micros: 40_000 };
    let (given_up, routes) = ([(key.clone(), lost)].into(), [key].into());
    let known = Known { board: &board, given_up: &given_up, routes: &routes, settings: &settings };
    overview(known).into_iter().find(|state| state.provider == "demo").unwrap()
}

fn filled() -> Metrics {
    let metrics = Metrics::new().unwrap();
    metrics.job_submitted("demo/sketch");
    metrics.job_finished("demo/sketch", "succeeded");
    metrics.job_not_covered("demo/sketch");
    metrics.job_wait("demo", 0.02);
    metrics.job_run("demo", "demo", 1.2);
    metrics.provider_request("demo", "submit", "accepted", Duration::from_millis(20));
    metrics.credits("capture", 40);
    metrics.credits("capture", 2);
    metrics.retention_deleted("file", 3);
    let took = Duration::from_millis(3);
    metrics.http_request("/v1/jobs/{id}", "GET", "200", took);
    metrics.pools(&[pool("demo")], &at_most("demo", 9));
    metrics.provider_throttle("fal", "m");
    metrics.provider_cost("fal", "m", 3_000);
    metrics.provider_captured("fal", "m", 8);
    metrics.provider_retry("fal", "poll", true);
    metrics.provider_retry("fal", "poll", false);
    metrics.routes(&[provider()]);
    metrics.ledger_violations(0);
    metrics
}

/// The labels of each metric, by name.
fn families(text: &str) -> BTreeMap<String, String> {
    let mut families = BTreeMap::new();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let names: Vec<&str> = labels
            .trim_end_matches('}')
            .split("\",")
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, _)| name)
            .filter(|name| *name != "le")
            .collect();
        let base = name.strip_suffix("_bucket").unwrap_or(name);
        families.insert(base.to_owned(), names.join(","));
    }
    families
}

#[test]
fn every_metric_has_the_agreed_name_and_labels() {
    let families = families(&filled().text().unwrap());
    for (name, labels) in [
        ("jobs_submitted_total", "model"),
        ("jobs_finished_total", "model,status"),
        ("jobs_not_covered_total", "model"),
        ("retention_deleted_total", "what"),
        ("queue_depth", "pool"),
        ("jobs_waiting", "pool"),
        ("queue_oldest_seconds", "pool"),
        ("jobs_in_flight", "pool,state"),
        ("job_wait_seconds", "pool"),
        ("job_run_seconds", "pool,provider"),
        ("provider_requests_total", "operation,outcome,provider"),
        ("provider_request_seconds", "operation,provider"),
        ("provider_throttles_total", "model,provider"),
        ("provider_cost_usd_micros_total", "model,provider"),
        ("provider_captured_credits_total", "model,provider"),
        ("provider_retries_total", "operation,provider"),
        ("provider_retry_budget_exhausted_total", "operation,provider"),
        ("provider_in_flight", "provider"),
        ("pool_max_in_flight", "pool"),
        ("provider_breaker", "model,provider"),
        ("provider_switched_off", "model,provider"),
        ("provider_account_problem", "provider"),
        ("provider_given_up_calls", "provider"),
        ("provider_possible_cost_usd_micros", "provider"),
        ("pool_capacity", "pool"),
        ("credits_total", "verb"),
        ("ledger_violations", ""),
        ("http_requests_total", "method,route,status"),
        ("http_request_seconds", "route"),
    ] {
        let found = families.get(&format!("tiktomato_{name}"));
        assert_eq!(found.map(String::as_str), Some(labels), "{name} in {families:#?}");
    }
    assert!(families.keys().all(|name| name.starts_with("tiktomato_")), "{families:#?}");
    #[cfg(target_os = "linux")]
    assert!(families.contains_key("tiktomato_process_resident_memory_bytes"), "{families:#?}");
}

#[test]
fn labels_are_in_the_right_order_and_values_add_up() {
    let text = filled().text().unwrap();
    for line in [
        "tiktomato_jobs_finished_total{model=\"demo/sketch\",status=\"succeeded\"} 1",
        "tiktomato_provider_requests_total{operation=\"submit\",outcome=\"accepted\",provider=\"demo\"} 1",
        "tiktomato_credits_total{verb=\"capture\"} 42",
        "tiktomato_http_requests_total{method=\"GET\",route=\"/v1/jobs/{id}\",status=\"200\"} 1",
        "tiktomato_http_request_seconds_bucket{route=\"/v1/jobs/{id}\",le=\"0.0025\"} 0",
        "tiktomato_http_request_seconds_bucket{route=\"/v1/jobs/{id}\",le=\"0.005\"} 1",
        "tiktomato_jobs_in_flight{pool=\"demo\",state=\"running\"} 7",
        "tiktomato_jobs_in_flight{pool=\"demo\",state=\"storing\"} 0",
        "tiktomato_queue_oldest_seconds{pool=\"demo\"} 1.5",
        "tiktomato_ledger_violations 0",
        "tiktomato_provider_in_flight{provider=\"demo\"} 7",
        "tiktomato_pool_max_in_flight{pool=\"demo\"} 9",
        "tiktomato_provider_breaker{model=\"m\",provider=\"demo\"} 2",
        "tiktomato_provider_switched_off{model=\"m\",provider=\"demo\"} 0",
        "tiktomato_provider_account_problem{provider=\"demo\"} 1",
        "tiktomato_provider_given_up_calls{provider=\"demo\"} 2",
        "tiktomato_provider_possible_cost_usd_micros{provider=\"demo\"} 40000",
        "tiktomato_provider_cost_usd_micros_total{model=\"m\",provider=\"fal\"} 3000",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
    }
    assert!(!text.contains("state=\"queued\"") && !text.contains("state=\"failed\""), "{text}");
}

#[test]
fn a_pool_that_is_gone_is_shown_no_more() {
    let metrics = filled();
    metrics.pools(&[pool("fal")], &at_most("fal", 3));
    let text = metrics.text().unwrap();
    assert!(text.contains("tiktomato_queue_depth{pool=\"fal\"} 3"), "{text}");
    assert!(!text.contains("tiktomato_queue_depth{pool=\"demo\"}"), "{text}");
}

#[test]
fn only_the_leader_tells_about_the_cluster() {
    let metrics = filled();
    metrics.clone().clear_cluster_gauges();
    let families = families(&metrics.text().unwrap());
    for name in [
        "queue_depth",
        "jobs_waiting",
        "queue_oldest_seconds",
        "jobs_in_flight",
        "pool_capacity",
        "provider_in_flight",
        "pool_max_in_flight",
        "provider_breaker",
        "provider_switched_off",
        "provider_account_problem",
        "provider_given_up_calls",
        "provider_possible_cost_usd_micros",
        "ledger_violations",
    ] {
        assert!(!families.contains_key(&format!("tiktomato_{name}")), "{name}");
    }
    assert!(families.contains_key("tiktomato_jobs_submitted_total"));
}
