//! The metrics one by one: name, labels, buckets. The names are a contract with dashboards and alerts.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use prometheus::{
    Error, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
    core::Collector,
};

/// From a submit of a few milliseconds to a video of an hour.
const JOB_SECONDS: [f64; 16] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0,
    3_600.0,
];

/// From an answer of a few milliseconds to a slow upload.
const PROVIDER_SECONDS: [f64; 13] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// From a cached answer to a request that waits a minute for its job.
const HTTP_SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 60.0];

/// Every metric of ours.
pub(super) struct Inventory {
    pub(super) jobs_submitted: IntCounterVec,
    pub(super) jobs_finished: IntCounterVec,
    pub(super) jobs_not_covered: IntCounterVec,
    pub(super) job_wait: HistogramVec,
    pub(super) job_run: HistogramVec,
    pub(super) provider_requests: IntCounterVec,
    pub(super) provider_request: HistogramVec,
    pub(super) provider_throttles: IntCounterVec,
    pub(super) provider_cost: IntCounterVec,
    pub(super) provider_captured: IntCounterVec,
    pub(super) provider_retries: IntCounterVec,
    pub(super) provider_retries_unpaid: IntCounterVec,
    pub(super) credits: IntCounterVec,
    pub(super) retention_deleted: IntCounterVec,
    pub(super) http_requests: IntCounterVec,
    pub(super) http_request: HistogramVec,
    pub(super) requests_limited: IntCounterVec,
    pub(super) usage_rows_lost: IntCounterVec,

    // The whole cluster's:
    pub(super) queue_depth: IntGaugeVec,
    pub(super) jobs_waiting: IntGaugeVec,
    pub(super) queue_oldest: GaugeVec,
    pub(super) jobs_in_flight: IntGaugeVec,
    pub(super) pool_capacity: IntGaugeVec,
    pub(super) provider_in_flight: IntGaugeVec,
    pub(super) pool_max_in_flight: IntGaugeVec,
    pub(super) provider_breaker: IntGaugeVec,
    pub(super) provider_switched_off: IntGaugeVec,
    pub(super) provider_account_problem: IntGaugeVec,
    pub(super) provider_given_up: IntGaugeVec,
    pub(super) provider_possible_cost: IntGaugeVec,
    /// Without labels, and yet a vector: only a vector can be empty.
    pub(super) ledger_violations: IntGaugeVec,

    /// Keeps a reader from seeing the pools while they are exchanged.
    pub(super) picture: Picture,
}

impl Inventory {
    #[rustfmt::skip]
    pub(super) fn register(registry: &Registry) -> Result<Self, Error> {
        let new = Maker(registry);
        let inventory = Self {
            jobs_submitted: new.counter("jobs_submitted_total", "Jobs that were accepted.", &["model"])?,
            jobs_finished: new.counter("jobs_finished_total", "Jobs that ended.", &["model", "status"])?,
            jobs_not_covered: new.counter("jobs_not_covered_total", "Jobs that were refused or ended because no route could make them for their price.", &["model"])?,
            job_wait: new.seconds("job_wait_seconds", "From ready to claimed.", &["pool"], &JOB_SECONDS)?,
            job_run: new.seconds("job_run_seconds", "From the first claim to the end.", &["pool", "provider"], &JOB_SECONDS)?,
            provider_requests: new.counter("provider_requests_total", "Calls to providers.", &["provider", "operation", "outcome"])?,
            provider_request: new.seconds("provider_request_seconds", "How long providers took to answer.", &["provider", "operation"], &PROVIDER_SECONDS)?,
            provider_throttles: new.counter("provider_throttles_total", "Submits that a provider turned away for now.", &["provider", "model"])?,
            provider_cost: new.counter("provider_cost_usd_micros_total", "What calls cost us, where the provider says so, in millionths of a US dollar.", &["provider", "model"])?,
            provider_captured: new.counter("provider_captured_credits_total", "Credits that users paid for what the provider made; 1,000 are 1 US dollar.", &["provider", "model"])?,
            provider_retries: new.counter("provider_retries_total", "Calls that were repeated at once.", &["provider", "operation"])?,
            provider_retries_unpaid: new.counter("provider_retry_budget_exhausted_total", "Calls that were not repeated at once because the budget was used up.", &["provider", "operation"])?,
            credits: new.counter("credits_total", "Credits that were held, captured or released.", &["verb"])?,
            retention_deleted: new.counter("retention_deleted_total", "What was deleted because its time was over.", &["what"])?,
            http_requests: new.counter("http_requests_total", "Requests that were answered.", &["route", "method", "status"])?,
            http_request: new.seconds("http_request_seconds", "How long answers took.", &["route"], &HTTP_SECONDS)?,
            requests_limited: new.counter("requests_limited_total", "Requests that were refused because there were too many.", &["limit"])?,
            usage_rows_lost: new.counter("usage_rows_lost_total", "Rows of the usage log that were not written.", &[])?,
            queue_depth: new.gauge("queue_depth", "Jobs that are dispatched, due and unclaimed.", &["pool"])?,
            jobs_waiting: new.gauge("jobs_waiting", "Jobs that are not yet dispatched.", &["pool"])?,
            queue_oldest: new.register(GaugeVec::new(opts("queue_oldest_seconds", "Age of the oldest queued job."), &["pool"])?)?,
            jobs_in_flight: new.gauge("jobs_in_flight", "Jobs that a worker or a provider has.", &["pool", "state"])?,
            pool_capacity: new.gauge("pool_capacity", "Calls that live workers can make at the same time.", &["pool"])?,
            provider_in_flight: new.gauge("provider_in_flight", "Jobs that a provider has, or may have.", &["provider"])?,
            pool_max_in_flight: new.gauge("pool_max_in_flight", "The most jobs that a pool may have at its provider, where there is a limit.", &["pool"])?,
            provider_breaker: new.gauge("provider_breaker", "A route's circuit breaker: 0 closed, 1 half open, 2 open.", &["provider", "model"])?,
            provider_switched_off: new.gauge("provider_switched_off", "1 where an operator switched a route off.", &["provider", "model"])?,
            provider_account_problem: new.gauge("provider_account_problem", "1 while a provider refuses our account.", &["provider"])?,
            provider_given_up: new.gauge("provider_given_up_calls", "Calls that were given up without a verdict: a lost answer that nothing brought back, or no end in time.", &["provider"])?,
            provider_possible_cost: new.gauge("provider_possible_cost_usd_micros", "The most that calls without a verdict may have cost us, in millionths of a US dollar.", &["provider"])?,
            ledger_violations: new.gauge("ledger_violations", "Broken invariants of the ledger; anything above 0 is an emergency.", &[])?,
            picture: Picture::default(),
        };
        new.process()?;
        Ok(inventory)
    }

    pub(super) fn clear_pools(&self) {
        for gauge in [
            &self.queue_depth,
            &self.jobs_waiting,
            &self.jobs_in_flight,
            &self.pool_capacity,
            &self.provider_in_flight,
            &self.pool_max_in_flight,
        ] {
            gauge.reset();
        }
        self.queue_oldest.reset();
    }

    pub(super) fn clear_routes(&self) {
        for gauge in [
            &self.provider_breaker,
            &self.provider_switched_off,
            &self.provider_account_problem,
            &self.provider_given_up,
            &self.provider_possible_cost,
        ] {
            gauge.reset();
        }
    }
}

struct Maker<'r>(&'r Registry);

impl Maker<'_> {
    fn register<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.register(IntCounterVec::new(opts(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        self.register(IntGaugeVec::new(opts(name, help), labels)?)
    }

    fn seconds(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, Error> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
        self.register(HistogramVec::new(opts, labels)?)
    }

    /// Memory, processor time, open files and threads of this process, where the system tells.
    #[cfg(target_os = "linux")]
    fn process(&self) -> Result<(), Error> {
        use prometheus::process_collector::ProcessCollector;
        let Ok(id) = i32::try_from(std::process::id()) else { return Ok(()) };
        self.0.register(Box::new(ProcessCollector::new(id, NAMESPACE)))
    }

    #[cfg(not(target_os = "linux"))]
    fn process(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// What every name begins with.
const NAMESPACE: &str = "tiktomato";

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

/// A lock without anything inside: whoever changes several gauges at once writes, whoever shows
/// them reads.
#[derive(Default)]
pub(super) struct Picture(RwLock<()>);

impl Picture {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, ()> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
