//! Every metric by its name, and typed ways to count.
//!
//! Labels hold names from the catalogue, the settings or the code, never what a user sent, so that
//! their number stays small. What is true of the whole cluster is told by the leading scheduler
//! alone and taken back when it leads no more. Nothing is stored.

mod inventory;

use std::{sync::Arc, time::Duration};

use entities::{job::JobState, pools::PoolGauges};
use inventory::Inventory;
use prometheus::{Registry, TextEncoder};

use crate::{routes::ProviderState, settings::Pools};

/// A metric whose name or labels are not allowed, or that is there twice.
pub type MetricsError = prometheus::Error;

/// The metrics of this process. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    all: Arc<Inventory>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Metrics that have counted nothing.
    ///
    /// # Errors
    /// Only for a mistake in the inventory, which every start would show.
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let all = Inventory::register(&registry)?;
        Ok(Self { registry, all: Arc::new(all) })
    }

    /// A job was accepted.
    pub fn job_submitted(&self, model: &str) {
        self.all.jobs_submitted.with_label_values(&[model]).inc();
    }

    /// A job ended.
    pub fn job_finished(&self, model: &str, status: &str) {
        self.all.jobs_finished.with_label_values(&[model, status]).inc();
    }

    /// How long a job was ready before a worker took it.
    pub fn job_wait(&self, pool: &str, seconds: f64) {
        self.all.job_wait.with_label_values(&[pool]).observe(seconds);
    }

    /// How long a job took from its first claim to its end.
    pub fn job_run(&self, pool: &str, provider: &str, seconds: f64) {
        self.all.job_run.with_label_values(&[pool, provider]).observe(seconds);
    }

    /// A provider was asked.
    pub fn provider_request(&self, provider: &str, operation: &str, outcome: &str, took: Duration) {
        self.all.provider_requests.with_label_values(&[provider, operation, outcome]).inc();
        let seconds = self.all.provider_request.with_label_values(&[provider, operation]);
        seconds.observe(took.as_secs_f64());
    }

    /// A provider turned a submit away for now.
    pub fn provider_throttle(&self, provider: &str, model: &str) {
        self.all.provider_throttles.with_label_values(&[provider, model]).inc();
    }

    /// A call cost us this much, in millionths of a US dollar.
    pub fn provider_cost(&self, provider: &str, model: &str, usd_micros: i64) {
        let cost = self.all.provider_cost.with_label_values(&[provider, model]);
        cost.inc_by(u64::try_from(usd_micros).unwrap_or(0));
    }

    /// Users paid this much for what a provider made.
    pub fn provider_captured(&self, provider: &str, model: &str, credits: i64) {
        let captured = self.all.provider_captured.with_label_values(&[provider, model]);
        captured.inc_by(u64::try_from(credits).unwrap_or(0));
    }

    /// A call was repeated at once, or was not because the budget did not pay for it.
    pub fn provider_retry(&self, provider: &str, operation: &str, paid: bool) {
        let counter =
            if paid { &self.all.provider_retries } else { &self.all.provider_retries_unpaid };
        counter.with_label_values(&[provider, operation]).inc();
    }

    /// No route could make a job for the credits that its price is.
    pub fn job_not_covered(&self, model: &str) {
        self.all.jobs_not_covered.with_label_values(&[model]).inc();
    }

    /// Credits were held, captured or released. A negative amount is a fault elsewhere and is not counted.
    pub fn credits(&self, verb: &str, amount: i64) {
        self.all.credits.with_label_values(&[verb]).inc_by(u64::try_from(amount).unwrap_or(0));
    }

    /// A request was answered. `route` is the route's pattern, not the path that was asked for, and
    /// `method` one that routes have: anybody may send any word.
    pub fn http_request(&self, route: &str, method: &str, status: &str, took: Duration) {
        self.all.http_requests.with_label_values(&[route, method, status]).inc();
        self.all.http_request.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// Something was deleted because its time was over.
    pub fn retention_deleted(&self, what: &str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.all.retention_deleted.with_label_values(&[what]).inc_by(count);
    }

    /// A request was refused because there were too many; `limit` says which limit it was.
    pub fn request_limited(&self, limit: &str) {
        self.all.requests_limited.with_label_values(&[limit]).inc();
    }

    /// Rows of the usage log are lost: the database was away for too long.
    pub fn usage_rows_lost(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.all.usage_rows_lost.with_label_values::<&str>(&[]).inc_by(count);
    }

    /// Where every route to a provider stands.
    pub fn routes(&self, providers: &[ProviderState]) {
        let _no_half_picture = self.all.picture.write();
        self.all.clear_routes();
        for state in providers.iter().filter(|state| state.needs_key.is_none()) {
            let provider = state.provider.as_str();
            let lost = self.all.provider_possible_cost.with_label_values(&[provider]);
            lost.set(state.possible_cost_usd_micros);
            let lost = self.all.provider_given_up.with_label_values(&[provider]);
            lost.set(state.given_up_calls);
            let problem = self.all.provider_account_problem.with_label_values(&[provider]);
            problem.set(state.account_problem.into());
            for route in &state.routes {
                let labels = [provider, route.model.as_str()];
                let position = match route.breaker {
                    "closed" => 0,
                    "half_open" => 1,
                    _ => 2,
                };
                self.all.provider_breaker.with_label_values(&labels).set(position);
                let off = state.off_reason.is_some() || route.off_reason.is_some();
                self.all.provider_switched_off.with_label_values(&labels).set(off.into());
            }
        }
    }

    /// What all pools look like now; pools that are not among them are gone. `most`: how many jobs
    /// a pool may have at its provider, which is called like the pool.
    pub fn pools(&self, pools: &[PoolGauges], most: &Pools) {
        let _no_half_picture = self.all.picture.write();
        self.all.clear_pools();
        for gauges in pools {
            let pool = [gauges.pool.as_str()];
            self.all.queue_depth.with_label_values(&pool).set(gauges.depth);
            self.all.jobs_waiting.with_label_values(&pool).set(gauges.waiting);
            self.all.queue_oldest.with_label_values(&pool).set(gauges.oldest_seconds);
            self.all.pool_capacity.with_label_values(&pool).set(gauges.capacity);
            for state in JobState::ALL.iter().filter(|state| in_flight(**state)) {
                let found = gauges.in_flight.iter().find(|(name, _)| name == state.name());
                let count = found.map_or(0, |(_, count)| *count);
                self.all.jobs_in_flight.with_label_values(&[pool[0], state.name()]).set(count);
            }
            let at_provider =
                gauges.in_flight.iter().filter(|(name, _)| name != JobState::Storing.name());
            let sum = at_provider.map(|(_, count)| *count).sum();
            self.all.provider_in_flight.with_label_values(&pool).set(sum);
        }
        for (pool, most) in most.iter() {
            let most = i64::try_from(most.get()).unwrap_or(i64::MAX);
            self.all.pool_max_in_flight.with_label_values(&[pool]).set(most);
        }
    }

    /// How many violations the last check of the invariants found.
    pub fn ledger_violations(&self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.all.ledger_violations.with_label_values::<&str>(&[]).set(count);
    }

    /// Takes back what is true of the whole cluster: from now on another process tells it.
    pub fn clear_cluster_gauges(&self) {
        let _no_half_picture = self.all.picture.write();
        self.all.clear_pools();
        self.all.clear_routes();
        self.all.ledger_violations.reset();
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn text(&self) -> Result<String, MetricsError> {
        let _no_half_picture = self.all.picture.read();
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn in_flight(state: JobState) -> bool {
    !state.is_terminal() && state != JobState::Queued
}

#[cfg(test)]
mod tests;
