//! Makes the faults happen, brings back what they took, and starts again what could not start
//! because its database was away, as a service manager does.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    plan::{Fault, Kind, Target},
    watch::Watch,
};
use crate::harness::Cluster;

/// How often processes are looked after.
const LOOK: Duration = Duration::from_millis(100);
/// How long before a process that could not start is started again.
const RESTART: Duration = Duration::from_millis(500);

/// A cluster in bad weather.
pub(super) struct Storm {
    pub(super) cluster: Cluster,
    pub(super) faults: Vec<Fault>,
    /// What ended although nobody killed it and it was ready before.
    pub(super) deaths: Vec<String>,
    pub(super) watch: Watch,
    /// Killed, until they are started again.
    down: Vec<String>,
    frozen: Vec<String>,
    /// Started, and not seen ready since.
    starting: Vec<String>,
    restarts: Vec<(Instant, String)>,
}

fn is_worker(name: &str) -> bool {
    name.starts_with("workers")
}

/// A step of a fault.
#[derive(Clone, Copy)]
enum Step {
    Begin,
    End,
}

impl Storm {
    pub(super) fn new(cluster: Cluster, faults: Vec<Fault>, watch: Watch) -> Self {
        Self {
            cluster,
            faults,
            deaths: Vec::new(),
            watch,
            down: Vec::new(),
            frozen: Vec::new(),
            starting: Vec::new(),
            restarts: Vec::new(),
        }
    }

    /// All faults; everything is up when this returns, and ready soon.
    pub(super) async fn run(mut self) -> Self {
        let began = Instant::now();
        let mut steps: Vec<(Duration, Step, Fault)> = Vec::new();
        for fault in &self.faults {
            steps.push((fault.at, Step::Begin, *fault));
            if let Kind::Kill { away } | Kind::Freeze { away } = fault.kind {
                steps.push((fault.at + away, Step::End, *fault));
            }
        }
        steps.sort_by_key(|(at, ..)| *at);
        for (at, step, fault) in steps {
            self.look_after_until(began + at).await;
            match step {
                Step::Begin => self.begin(&fault).await,
                Step::End => self.end(&fault),
            }
        }
        self.all_up().await;
        self
    }

    async fn begin(&mut self, fault: &Fault) {
        eprintln!("{fault}");
        match (fault.target, fault.kind) {
            (Target::Process(name), Kind::Kill { .. }) => {
                // It may just have given up because its database is away.
                if self.cluster.reap(name).is_none() && !self.waits_for_restart(name) {
                    if is_worker(name) {
                        // What it is doing is counted while it can do nothing more.
                        self.cluster.signal(name, "STOP");
                        self.watch.hit().await;
                    }
                    self.cluster.kill(name);
                }
                self.restarts.retain(|(_, waiting)| waiting != name);
                self.starting.retain(|starting| starting != name);
                self.down.push(name.to_owned());
            }
            (Target::Process(name), Kind::Freeze { .. }) => {
                if self.cluster.reap(name).is_some() {
                    self.restarts.push((Instant::now() + RESTART, name.to_owned()));
                } else if !self.waits_for_restart(name) {
                    self.cluster.signal(name, "STOP");
                    self.frozen.push(name.to_owned());
                    if is_worker(name) {
                        self.watch.hit().await;
                    }
                }
            }
            (Target::Redis, Kind::Kill { .. }) => self.cluster.redis.as_mut().unwrap().down(),
            (Target::Redis, Kind::Freeze { .. }) => self.redis("STOP"),
            (Target::Redis, Kind::Empty) => self.cluster.redis.as_ref().unwrap().empty().await,
            (Target::Postgres, kind) if kind != Kind::Empty => {
                // Both worker processes wait for it.
                self.watch.hit().await;
                self.watch.away(true);
                self.postgres(if matches!(kind, Kind::Kill { .. }) { "KILL" } else { "STOP" });
            }
            (_, _) => panic!("{fault} makes no sense"),
        }
    }

    fn end(&mut self, fault: &Fault) {
        match (fault.target, fault.kind) {
            (Target::Process(name), Kind::Kill { .. }) => {
                self.down.retain(|down| down != name);
                self.start(name);
            }
            (Target::Process(name), _) => {
                if self.frozen.iter().any(|frozen| frozen == name) {
                    self.frozen.retain(|frozen| frozen != name);
                    self.cluster.signal(name, "CONT");
                }
            }
            (Target::Redis, Kind::Kill { .. }) => self.cluster.redis.as_mut().unwrap().up(),
            (Target::Redis, _) => self.redis("CONT"),
            (Target::Postgres, kind) => {
                match kind {
                    Kind::Kill { .. } => self.cluster.postgres.as_ref().unwrap().up(),
                    _ => self.postgres("CONT"),
                }
                self.watch.away(false);
            }
        }
    }

    fn redis(&self, signal: &str) {
        self.cluster.redis.as_ref().unwrap().signal(signal);
    }

    fn postgres(&self, signal: &str) {
        self.cluster.postgres.as_ref().unwrap().signal(signal);
    }

    fn waits_for_restart(&self, name: &str) -> bool {
        self.restarts.iter().any(|(_, waiting)| waiting == name)
    }

    fn start(&mut self, name: &str) {
        self.cluster.spawn_one(name);
        self.starting.push(name.to_owned());
    }

    async fn look_after_until(&mut self, deadline: Instant) {
        while Instant::now() < deadline {
            self.look_after().await;
            sleep_until(deadline.min(Instant::now() + LOOK)).await;
        }
    }

    async fn look_after(&mut self) {
        let now = Instant::now();
        for name in self.cluster.names() {
            if self.down.contains(&name) || self.frozen.contains(&name) {
                continue;
            }
            if let Some(status) = self.cluster.reap(&name) {
                if self.starting.contains(&name) {
                    eprintln!("           {name} could not start ({status})");
                } else {
                    self.deaths.push(format!("{name} ended by itself: {status}"));
                }
                self.starting.retain(|starting| *starting != name);
                self.restarts.push((now + RESTART, name));
            } else if self.starting.contains(&name) && self.cluster.is_ready(&name).await {
                self.starting.retain(|starting| *starting != name);
            }
        }
        let (due, later) = self.restarts.drain(..).partition(|(at, _)| *at <= now);
        self.restarts = later;
        let due: Vec<(Instant, String)> = due;
        for (_, name) in due {
            self.start(&name);
        }
    }

    /// Waits until every process is ready.
    pub(super) async fn all_up(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            self.look_after().await;
            let mut ready = self.restarts.is_empty();
            for name in self.cluster.names() {
                ready = ready && self.cluster.is_ready(&name).await;
            }
            if ready {
                return;
            }
            assert!(Instant::now() < deadline, "not everything is up again");
            sleep(LOOK).await;
        }
    }
}
