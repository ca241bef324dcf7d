//! What happens when, made from the seed alone: the faults, and what clients ask for.

use std::{collections::HashMap, fmt, ops::Range, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{LEADER_LEASE, mishaps::Weather};

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
    /// So many of a hundred jobs that are not meant to fail must succeed.
    pub(crate) succeeded_percent: usize,
    /// No freeze for longer than a lease begins after this time.
    pub(crate) long_freezes_until: Duration,
    /// Whether Hugging Face takes part, whose calls need long leases.
    pub(crate) hugging_face: bool,
}

impl Form {
    /// How long a worker keeps a job: little more than its slowest provider needs.
    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(if self.hugging_face { 50 } else { 36 })
    }
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
        let long = if at <= form.long_freezes_until { Some(form.lease()) } else { None };
        let kind = kind(target, long, &mut dice);
        let away = match kind {
            Kind::Kill { away } | Kind::Freeze { away } => away,
            Kind::Empty => Duration::ZERO,
        };
        busy.insert(target, at + away + START);
        faults.push(Fault { at, target, kind });
    }
    faults
}

/// `lease`: a freeze may be longer than that.
fn kind(target: Target, lease: Option<Duration>, dice: &mut StdRng) -> Kind {
    let seconds =
        |dice: &mut StdRng, range: Range<f64>| Duration::from_secs_f64(dice.random_range(range));
    let kill = Kind::Kill { away: seconds(dice, 0.0..2.5) };
    let one_in = |n: u32, dice: &mut StdRng| lease.filter(|_| dice.random_ratio(1, n));
    let beyond = match target {
        Target::Process(name) if name.starts_with("workers") => one_in(2, dice),
        Target::Process(name) if name.starts_with("scheduler") => Some(LEADER_LEASE),
        // Seldom: nothing at all moves meanwhile.
        Target::Postgres => one_in(6, dice),
        Target::Process(_) | Target::Redis => None,
    };
    let away = match beyond {
        Some(lease) => lease + seconds(dice, 1.0..3.0),
        None => seconds(dice, 2.0..7.0),
    };
    let freeze = Kind::Freeze { away };
    match (target, dice.random_range(0..6)) {
        (Target::Redis, 0..=2) => Kind::Empty,
        (Target::Process(name), 0..=4) if name.starts_with("workers") => kill,
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
    /// What goes wrong at its provider.
    pub(super) weather: Weather,
    /// It changes its mind, so long after the answer.
    pub(super) cancel: Option<Duration>,
    /// It sends the same again after the answer.
    pub(super) again: bool,
    /// For its choices of gateways.
    pub(super) seed: u64,
}

/// When fal.ai begins to sign with a new key.
pub(super) fn rotations(seed: u64, faults: &[Fault]) -> Vec<Duration> {
    let mut dice = StdRng::seed_from_u64(seed ^ 0x0ca5_cade);
    let span = faults.last().map_or(Duration::ZERO, |last| last.at);
    let mut at: Vec<Duration> = (0..3).map(|_| span.mul_f64(dice.random_range(0.0..1.0))).collect();
    at.sort_unstable();
    at
}

/// What clients ask for, spread over the time of the faults.
pub(super) fn orders(seed: u64, form: &Form, faults: &[Fault]) -> Vec<Order> {
    let mut dice = StdRng::seed_from_u64(seed ^ 0x0bad_cafe);
    let span = faults.last().map_or(Duration::from_secs(5), |last| last.at);
    (0..form.jobs)
        .map(|n| {
            // Half of them just before a fault, so that it finds many calls under way.
            let at = match faults.get(dice.random_range(0..2 * faults.len())) {
                Some(fault) => {
                    let before = Duration::from_secs_f64(dice.random_range(0.0..0.3));
                    fault.at.saturating_sub(before)
                }
                None => span.mul_f64(dice.random_range(0.0..1.0)),
            };
            let cancel = dice.random_ratio(1, 12);
            let (body, weather) = body(n, form, &mut dice);
            Order {
                n,
                user: n % form.users,
                at,
                body,
                weather,
                cancel: cancel.then(|| Duration::from_secs_f64(dice.random_range(0.0..3.0))),
                again: dice.random_ratio(1, 10),
                seed: dice.random(),
            }
        })
        .collect()
}

/// The words of an order; no order's words are part of another's.
pub(super) fn prompt(n: usize) -> String {
    format!("tomato {n}.")
}

/// What is asked for, of which provider, and what goes wrong there.
fn body(n: usize, form: &Form, dice: &mut StdRng) -> (Value, Weather) {
    let of = |model: &str, mut input: Value| {
        input["prompt"] = json!(prompt(n));
        json!({"model": model, "input": input})
    };
    let kind = dice.random_range(0..100);
    match kind {
        0..32 => of_fal(&of, dice),
        32..42 => {
            let body = of("kling/kling-3.0", json!({"duration_seconds": 3}));
            (body, Weather::at_kie(dice))
        }
        42..50 => {
            let body = of("qwen/qwen-image", json!({"image_size": "square", "format": "jpeg"}));
            (body, Weather::at_either(dice))
        }
        50..60 if form.hugging_face => {
            let size = json!({"width": 256, "height": 256});
            (of("black-forest-labs/flux.1-schnell", size), Weather::at_hugging_face(dice))
        }
        50..60 => of_fal(&of, dice),
        _ => of_demo(&of, n, dice),
    }
}

fn of_fal(of: &impl Fn(&str, Value) -> Value, dice: &mut StdRng) -> (Value, Weather) {
    let body = match dice.random_range(0..4) {
        0 => of("fal/kling-video", json!({"duration_seconds": 5})),
        1 => of("fal/flux-schnell", json!({"image_size": "square", "count": 2})),
        _ => of("fal/flux-schnell", json!({"image_size": "square"})),
    };
    (body, Weather::at_fal(dice))
}

fn of_demo(of: &impl Fn(&str, Value) -> Value, n: usize, dice: &mut StdRng) -> (Value, Weather) {
    let mut input = json!({"width": 64, "height": 64, "seed": n});
    let mut weather = Weather::default();
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
        1 => {
            input["fail"] = json!("unknown");
            weather.lost = true;
        }
        2..=9 => input["delay_seconds"] = json!(dice.random_range(1.0..5.0)),
        _ => {}
    }
    (of(model, input), weather)
}
