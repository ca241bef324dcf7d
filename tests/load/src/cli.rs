//! The command line of the benchmark program.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures TikTomato on this machine.
///
/// `TIKTOMATO__SECTION__KEY` variables are passed on to the servers that it starts.
#[derive(Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Cli {
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) trial: Trial,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Trial {
    /// Submits accepted per second; on Postgres also pgbench's rate for the same writes.
    Submit(SubmitArgs),
    /// Jobs per second from the first submit until the last one is settled.
    Jobs(JobsArgs),
    /// `GET /v1/jobs/{id}` answers per second.
    Get(GetArgs),
    /// Hints per second through the queue alone: pushed, and handled by workers that do nothing.
    Queue(QueueArgs),
    /// Time from submit to the provider, one job at a time.
    Latency(LatencyArgs),
    /// Whether the time of an answer tells who has an account.
    Timing(TimingArgs),
    /// What authentication, rate limits and the usage log cost a submit.
    AuthCost(AuthCostArgs),
    /// What submits notice of retention at work.
    Retention(RetentionArgs),
    /// Memory, work and delays with many videos in flight at a slow provider.
    Flight(FlightArgs),
}

/// Which servers are measured, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// Start servers of our own on this database: one process, or gateway, workers and scheduler.
    #[arg(long, value_enum, default_value_t = Backend::Sqlite)]
    pub(crate) backend: Backend,
    /// Drive a gateway that runs already; needs --key. Loopback only.
    #[arg(long, value_parser = loopback, requires = "keys", conflicts_with = "backend")]
    pub(crate) address: Option<SocketAddr>,
    /// An API key for --address; give several for several tenants.
    #[arg(long = "key", id = "keys", requires = "address")]
    pub(crate) keys: Vec<String>,
    /// Users to make, each with a wallet of its own, when servers are started here. With few, the
    /// rows of their wallets are what is measured.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) tenants: u16,
    /// The program to start; the one beside this program unless given.
    #[arg(long)]
    pub(crate) binary: Option<PathBuf>,
    /// Calls that the demo pool makes at the same time; 256 for `jobs`, else 64, unless given.
    #[arg(long)]
    pub(crate) pool: Option<u32>,
    /// The folder of PostgreSQL's server programs; the newest of Debian's unless given.
    #[arg(long, env = "TIKTOMATO_TEST_POSTGRES_BIN")]
    pub(crate) postgres_bin: Option<PathBuf>,
    /// Have PostgreSQL make its log files while it is measured, as it does in its first minutes.
    #[arg(long)]
    pub(crate) fresh_log: bool,
}

impl Target {
    /// Calls that the demo pool makes at the same time.
    pub(crate) fn pool(&self) -> u32 {
        self.pool.unwrap_or(64)
    }
}

/// The database behind the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// Everything in one process.
    Sqlite,
    /// Separate processes, with Redis.
    Postgres,
}

/// How long, and over how many connections at once.
#[derive(Debug, Clone, Args)]
pub(crate) struct Pace {
    /// Connections; several numbers, several runs.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 64, 256])]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) connections: Vec<u16>,
    /// How long each run measures.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=600))]
    pub(crate) seconds: u16,
    /// How long each run goes before it measures.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=60))]
    pub(crate) warm_up: u16,
}

/// `load submit`
#[derive(Debug, Clone, Args)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// The provider takes this long, so that workers claim what the dispatch limit lets through and
    /// then leave the machine to the submits.
    #[arg(long, default_value_t = 600)]
    pub(crate) delay_seconds: u32,
    /// Leave pgbench out.
    #[arg(long)]
    pub(crate) no_pgbench: bool,
}

/// `load jobs`
#[derive(Debug, Clone, Args)]
pub(crate) struct JobsArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// How many jobs.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: u32,
    /// The provider answers with an id and is polled, instead of with the picture.
    #[arg(long)]
    pub(crate) polled: bool,
    /// Connections that submit.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) connections: u16,
    /// Give up after this time.
    #[arg(long, default_value_t = 600)]
    pub(crate) timeout_seconds: u32,
}

/// `load get`
#[derive(Debug, Clone, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) pace: Pace,
}

/// `load queue`
#[derive(Debug, Clone, Args)]
pub(crate) struct QueueArgs {
    /// The queue inside one process, or the one on Redis.
    #[arg(long, value_enum, default_value_t = Backend::Postgres)]
    pub(crate) backend: Backend,
    /// How many hints each run sends through.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) count: u32,
    /// Hints in hand at the same time; several numbers, several runs.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100])]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) concurrency: Vec<u16>,
    /// How many hints are sent one by one to an idle worker, for the time until it has them.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) single: u32,
    /// Give up after this time.
    #[arg(long, default_value_t = 120)]
    pub(crate) timeout_seconds: u32,
}

/// `load latency`
#[derive(Debug, Clone, Args)]
pub(crate) struct LatencyArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// How many jobs, one after another.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) count: u32,
}

/// `load flight`
#[derive(Debug, Clone, Args)]
pub(crate) struct FlightArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Whose videos.
    #[arg(long, value_enum, default_value_t = At::Demo)]
    pub(crate) at: At,
    /// How many jobs are in flight at once.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: u32,
    /// How long a simulated provider takes for each; the demo provider takes ten minutes.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) latency_seconds: u32,
    /// Submits per second; as fast as they are answered unless given. So many times the latency is
    /// what can be in flight.
    #[arg(long, value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// The simulated provider cannot call us: every result is found by polling.
    #[arg(long)]
    pub(crate) no_callbacks: bool,
    /// How long work is watched while nothing happens, before the first job and with all in flight.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) window_seconds: u32,
    /// Give up after this time.
    #[arg(long, default_value_t = 600)]
    pub(crate) timeout_seconds: u32,
}

/// `load timing`
#[derive(Debug, Clone, Args)]
pub(crate) struct TimingArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Tries for known addresses, and as many for unknown ones.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub(crate) tries: u32,
    /// How many known addresses there are; after a few mails to one, the rest is not sent.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) known: u32,
    /// Repeats a mix of known and unknown.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// `load auth-cost`
#[derive(Debug, Clone, Args)]
pub(crate) struct AuthCostArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// How many pairs of gateways are started, one after the other. A process may be some percent
    /// faster than the next one of the same kind; over many that cancels out.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) pairs: u16,
    /// How often each of a pair is measured, for `--seconds` each time. Many short turns let a drift
    /// of the machine cancel out.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: u16,
    /// Measure two that are the same: what is found then is the trial's own error.
    #[arg(long)]
    pub(crate) control: bool,
    /// The provider takes this long, as in `load submit`.
    #[arg(long, default_value_t = 600)]
    pub(crate) delay_seconds: u32,
}

/// `load retention`
#[derive(Debug, Clone, Args)]
pub(crate) struct RetentionArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Rows of the usage log whose time is over.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) usage_rows: u32,
    /// Media objects whose time is over.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) media: u32,
    /// Connections that submit.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) connections: u16,
    /// How long submits are measured without retention.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=600))]
    pub(crate) idle_seconds: u16,
    /// Give up after this time.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u16).range(1..=7_200))]
    pub(crate) timeout_seconds: u16,
}

/// Where the jobs of `load flight` run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum At {
    /// The demo provider.
    Demo,
    /// fal.ai, simulated.
    Fal,
    /// kie.ai, simulated; it takes 20 new jobs within 10 seconds.
    Kie,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("write it as a number above zero".to_owned()),
    }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "write it as 127.0.0.1:8080".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("only servers on this machine are driven".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn other_machines_are_left_alone() {
        assert!(loopback("127.0.0.1:80").is_ok());
        assert!(loopback("192.0.2.1:80").is_err());
        let other = ["load", "get", "--address", "192.0.2.1:80", "--key", "k"];
        assert!(Cli::try_parse_from(other).is_err());
    }
}
