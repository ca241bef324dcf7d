//! What the numbers were measured on: without it they mean nothing.

use std::{fs, process::Command};

use anyhow::Context;

use crate::report::Row;

/// Cores, processor, memory, kernel, and the file system under temporary files.
pub(crate) fn describe() -> Row {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let temporary = std::env::temp_dir();
    let file_system = Command::new("stat").args(["-f", "-c", "%T"]).arg(&temporary).output();
    let file_system = file_system.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    vec![
        ("cores", cores.into()),
        ("cpu", field("/proc/cpuinfo", "model name").into()),
        ("memory", field("/proc/meminfo", "MemTotal").into()),
        ("kernel", line("/proc/sys/kernel/osrelease").into()),
        ("load before", line("/proc/loadavg").into()),
        ("database files on", file_system.unwrap_or_else(|_| "?".into()).into()),
    ]
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "?".into(), |text| text.trim().to_owned())
}

/// The first `name: value` of a file under /proc.
pub(crate) fn field(path: &str, name: &str) -> String {
    fs::read_to_string(path)
        .ok()
        .and_then(|text| {
            let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
            pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
        })
        .unwrap_or_else(|| "?".into())
}

/// Of the clock that /proc counts processor time with; the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time that a process has used, its own and the system's for it.
pub(crate) fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name in brackets may hold anything; the 14th and 15th fields come after it.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: Vec<f64> = fields.skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    anyhow::ensure!(ticks.len() == 2, "{path} has no times: {stat}");
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    #[test]
    fn processor_time_is_counted() {
        let before = super::cpu_seconds(std::process::id()).unwrap();
        let mut number = 0_u64;
        while super::cpu_seconds(std::process::id()).unwrap() <= before {
            number = std::hint::black_box(number.wrapping_mul(3) + 1);
        }
        assert!(super::cpu_seconds(u32::MAX).is_err());
    }
}
