//! The phases one by one, and real signals to a child process.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use super::*;

const SHORT: Duration = Duration::from_millis(40);
const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn phases_follow_each_other() {
    let shutdown = Shutdown::new();
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let task = shutdown.spawn(finished);
    assert!(!shutdown.is_draining());
    let begun = std::time::Instant::now();
    shutdown.begin();
    let run = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { shutdown.run(SHORT, HOUR).await }
    });
    shutdown.draining().await;
    assert!(shutdown.is_draining() && !shutdown.is_closing());
    shutdown.wait().await;
    assert!(begun.elapsed() >= SHORT);
    assert!(shutdown.token().is_cancelled() && !run.is_finished());
    finish.send(()).unwrap();
    shutdown.over().await;
    assert_eq!(run.await.unwrap(), Ended::Cleanly);
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_outlasts_the_grace_is_counted() {
    let shutdown = Shutdown::new();
    for _ in 0..2 {
        shutdown.spawn(std::future::pending::<()>());
    }
    shutdown.begin();
    let begun = std::time::Instant::now();
    assert_eq!(shutdown.run(Duration::ZERO, SHORT).await, Ended::CutOff(2));
    assert!(begun.elapsed() >= SHORT);
}

/// A process of its own for the tests below: it says when it listens and when it drains, and then
/// ends only by force.
#[tokio::test]
#[ignore = "run as a child process by the other tests"]
async fn child() {
    let shutdown = Shutdown::new();
    shutdown.on_signals().unwrap();
    println!("listening");
    shutdown.draining().await;
    println!("draining");
    std::future::pending::<()>().await;
}

struct Running {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "shutdown::tests::child", "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut running = Self { process, output };
        running.wait_for("listening");
        running
    }

    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        while !line.ends_with(&format!("{word}\n")) {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "it ended before {word}");
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_second_ctrl_c_exits_at_once() {
    let mut child = Running::start();
    child.signal("INT");
    child.wait_for("draining");
    child.signal("INT");
    assert_eq!(child.process.wait().unwrap().code(), Some(130));
}

#[test]
fn sigterm_drains_too() {
    let mut child = Running::start();
    child.signal("TERM");
    child.wait_for("draining");
    // Signals that come too fast are one to the system, so that two may not be enough.
    let code = loop {
        child.signal("INT");
        if let Some(status) = child.process.try_wait().unwrap() {
            break status.code();
        }
    };
    assert_eq!(code, Some(130));
}
