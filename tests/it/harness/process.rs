//! One process of the binary under test: its output in a file, killed when it is dropped.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use super::within;

/// Settings for a process; its environment is otherwise empty.
pub(crate) type Env = Vec<(String, String)>;

fn command(args: &[&str], env: &Env) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiktomato"));
    command.args(args).env_clear().envs(env.iter().cloned()).stdin(Stdio::null());
    // Defaults that are relative paths must not reach the source tree.
    command.current_dir(std::env::temp_dir());
    command
}

/// Runs the binary to its end.
pub(crate) fn run(args: &[&str], env: &Env) -> Output {
    command(args, env).output().unwrap()
}

/// A running process.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the binary; its output is appended to `<folder>/<name>.log`.
    pub(crate) fn start(name: &str, args: &[&str], env: &Env, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child =
            command(args, env).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { name: name.to_owned(), child, log }
    }

    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap();
        assert!(sent.success(), "{} is gone: {}", self.name, self.log_text());
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended, if it did.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// How it ends, soon.
    pub(crate) async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        within(limit, &what, || std::future::ready(self.child.try_wait().unwrap())).await
    }

    /// Stops it as an operator does; it must end well within 10 s.
    pub(crate) async fn stop(mut self, signal: &str) {
        self.signal(signal);
        let status = self.ended(Duration::from_secs(10)).await;
        assert!(status.success(), "{} ended with {status} on SIG{signal}", self.name);
    }

    /// Everything that it has written, from earlier starts under the same name too.
    pub(crate) fn log_text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let text = self.log_text();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(60)..].join("\n");
            eprintln!("---- the end of what {} wrote\n{tail}\n----", self.name);
        }
    }
}
