//! What the numbers were measured on: without it they mean nothing.

use std::{fs, process::Command};

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
