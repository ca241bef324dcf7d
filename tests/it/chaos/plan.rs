//! What happens when, made from the seed alone: the faults, and what clients ask for.

use std::{collections::HashMap, fmt, ops::Range, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{LEADER_LEASE, LEASE};

/// How much of everything.
pub(crate) struct Form {
    /// Jobs in all.
    pub(crate) jobs: usize,
    /// Who submits them, in turn.
    pub(crate) users: usize,
    /// Faults in all.
    pub(crate) faults: usize,
    /// Between two faults, in seconds.
    pub(crate) gap: Range<f64>,
    /// How long after the last fault all that can end has ended.
    pub(crate) settled_within: Duration,
}

/// What a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Process(&'static str),
    Redis,
    Postgres,
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// `kill -9`, and a start some time later.
    Kill { away: Duration },
    /// SIGSTOP, and SIGCONT some time later.
    Freeze { away: Duration },
    /// Everything in it is deleted.
    Empty,
}

/// One fault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) at: Duration,
    pub(super) target: Target,
    pub(super) kind: Kind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.target {
            Target::Process(name) => name,
            Target::Redis => "redis",
            Target::Postgres => "postgres",
        };
        let at = self.at.as_secs_f64();
        match self.kind {
            Kind::Kill { away } => {
                write!(f, "{at:7.2} s  kill -9 {name}, back after {away:.2?}")
            }
            Kind::Freeze { away } => write!(f, "{at:7.2} s  freeze {name} for {away:.2?}"),
            Kind::Empty => write!(f, "{at:7.2} s  empty {name}"),
        }
    }
}

/// What may be hit, and how often compared to the others.
const TARGETS: [(Target, u32); 8] = [
    (Target::Process("gateway"), 2),
    (Target::Process("gateway-1"), 2),
    (Target::Process("workers"), 4),
    (Target::Process("workers-1"), 4),
    (Target::Process("scheduler-0"), 2),
    (Target::Process("scheduler-1"), 2),
    (Target::Redis, 3),
    (Target::Postgres, 2),
];

/// How long a process may take to be up again; nothing hits it meanwhile.
const START: Duration = Duration::from_secs(1);

/// The faults, in order.
pub(super) fn faults(seed: u64, form: &Form) -> Vec<Fault> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut busy: HashMap<Target, Duration> = HashMap::new();
    let mut at = Duration::from_secs(1);
    let mut faults = Vec::new();
    while faults.len() < form.faults {
        at += Duration::from_secs_f64(dice.random_range(form.gap.clone()));
        let free: Vec<Target> = TARGETS
            .iter()
            .filter(|(target, _)| busy.get(target).is_none_or(|until| *until <= at))
            .flat_map(|(target, weight)| std::iter::repeat_n(*target, *weight as usize))
            .collect();
        if free.is_empty() {
            continue;
        }
        let target = free[dice.random_range(0..free.len())];
        let kind = kind(target, &mut dice);
        let away = match kind {
            Kind::Kill { away } | Kind::Freeze { away } => away,
            Kind::Empty => Duration::ZERO,
        };
        busy.insert(target, at + away + START);
        faults.push(Fault { at, target, kind });
    }
    faults
}

fn kind(target: Target, dice: &mut StdRng) -> Kind {
    let seconds =
        |dice: &mut StdRng, range: Range<f64>| Duration::from_secs_f64(dice.random_range(range));
    let kill = Kind::Kill { away: seconds(dice, 0.0..2.5) };
    let freeze = match target {
        Target::Process(name) if name.starts_with("workers") => {
            Kind::Freeze { away: LEASE + seconds(dice, 1.0..3.0) }
        }
        Target::Process(name) if name.starts_with("scheduler") => {
            Kind::Freeze { away: LEADER_LEASE + seconds(dice, 1.0..4.0) }
        }
        // Seldom for so long: nothing at all moves meanwhile.
        Target::Postgres if dice.random_ratio(1, 4) => {
            Kind::Freeze { away: LEASE + seconds(dice, 1.0..3.0) }
        }
        Target::Process(_) | Target::Redis | Target::Postgres => {
            Kind::Freeze { away: seconds(dice, 2.0..7.0) }
        }
    };
    match (target, dice.random_range(0..6)) {
        (Target::Redis, 0..=2) => Kind::Empty,
        (_, 0..=3) => kill,
        _ => freeze,
    }
}

/// What a client asks for.
pub(super) struct Order {
    pub(super) n: usize,
    pub(super) user: usize,
    pub(super) at: Duration,
    pub(super) body: Value,
    /// It changes its mind, so long after the answer.
    pub(super) cancel: Option<Duration>,
    /// It sends the same again after the answer.
    pub(super) again: bool,
    /// For its choices of gateways.
    pub(super) seed: u64,
}

/// What clients ask for, spread over the time of the faults.
pub(super) fn orders(seed: u64, form: &Form, faults: &[Fault]) -> Vec<Order> {
    let mut dice = StdRng::seed_from_u64(seed ^ 0x0bad_cafe);
    let span = faults.last().map_or(Duration::from_secs(5), |last| last.at);
    (0..form.jobs)
        .map(|n| {
            let at = span.mul_f64(dice.random_range(0.0..1.0));
            let cancel = dice.random_ratio(1, 12);
            Order {
                n,
                user: n % form.users,
                at,
                body: body(n, &mut dice),
                cancel: cancel.then(|| Duration::from_secs_f64(dice.random_range(0.0..3.0))),
                again: dice.random_ratio(1, 10),
                seed: dice.random(),
            }
        })
        .collect()
}

fn body(n: usize, dice: &mut StdRng) -> Value {
    let mut input = json!({"prompt": format!("tomato {n}"), "width": 64, "height": 64, "seed": n});
    let model = match dice.random_range(0..10) {
        0 => {
            input["duration_seconds"] = json!(1);
            "demo/clip"
        }
        1 => {
            input["count"] = json!(2);
            "demo/sketch"
        }
        _ => "demo/sketch",
    };
    match dice.random_range(0..20) {
        0 => input["fail"] = json!("throttled"),
        1..=9 => input["delay_seconds"] = json!(dice.random_range(1.0..5.0)),
        _ => {}
    }
    json!({"model": model, "input": input})
}
