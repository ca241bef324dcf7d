//! The operations port over a real connection.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

struct Port {
    address: SocketAddr,
    serving: JoinHandle<io::Result<()>>,
}

async fn open(readiness: Readiness, shutdown: &Shutdown) -> Port {
    let listener = listen("127.0.0.1:0".parse().unwrap(), "ops.listen").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Metrics::new().unwrap();
    metrics.job_submitted("demo/sketch");
    let serving = tokio::spawn(serve(listener, metrics, readiness, shutdown.clone()));
    Port { address, serving }
}

impl Port {
    async fn get(&self, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    async fn ready(&self) -> (u16, Value) {
        let (status, _, body) = self.get("/readyz").await;
        (status, serde_json::from_str(&body).unwrap())
    }
}

#[tokio::test]
async fn it_shows_life_and_metrics() {
    let shutdown = Shutdown::new();
    let port = open(Readiness::new(shutdown.clone()), &shutdown).await;
    let (status, _, body) = port.get("/livez").await;
    assert_eq!((status, body.as_str()), (200, "ok"));
    let (status, head, body) = port.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("tiktomato_jobs_submitted_total{model=\"demo/sketch\"} 1\n"), "{body}");
    assert_eq!(port.get("/nothing").await.0, 404);
}

#[tokio::test]
async fn readiness_follows_its_checks() {
    let shutdown = Shutdown::new();
    let up = Arc::new(AtomicBool::new(true));
    let database = Arc::clone(&up);
    let readiness = Readiness::new(shutdown.clone())
        .check("database", move || {
            let up = database.load(Ordering::Relaxed);
            async move { if up { Ok(()) } else { Err("it is away".to_owned()) } }
        })
        .check("redis", || async { Ok(()) });
    let port = open(readiness, &shutdown).await;
    let fine = json!({
        "ready": true, "draining": false, "checks": {"database": "ok", "redis": "ok"},
    });
    assert_eq!(port.ready().await, (200, fine.clone()));
    up.store(false, Ordering::Relaxed);
    let away = json!({
        "ready": false, "draining": false, "checks": {"database": "it is away", "redis": "ok"},
    });
    assert_eq!(port.ready().await, (503, away));
    up.store(true, Ordering::Relaxed);
    assert_eq!(port.ready().await, (200, fine));
}

#[tokio::test]
async fn a_check_that_hangs_has_failed() {
    let shutdown = Shutdown::new();
    let mut readiness = Readiness::new(shutdown.clone()).check("database", std::future::pending);
    readiness.patience = Duration::from_millis(20);
    let port = open(readiness, &shutdown).await;
    let (status, report) = port.ready().await;
    assert_eq!((status, &report["checks"]["database"]), (503, &json!("no answer within 20ms")));
}

#[tokio::test]
async fn readiness_ends_with_draining_and_the_port_only_at_the_end() {
    let shutdown = Shutdown::new();
    let phases = shutdown.clone();
    tokio::spawn(async move { phases.run(Duration::ZERO, HOUR).await });
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let part = tokio::spawn(shutdown.track(finished));
    let port = open(Readiness::new(shutdown.clone()), &shutdown).await;
    assert_eq!(port.ready().await.0, 200);
    shutdown.begin();
    let (status, report) = port.ready().await;
    assert_eq!((status, &report["draining"]), (503, &json!(true)));
    shutdown.wait().await;
    assert_eq!(port.get("/livez").await.0, 200);
    // A connection that nobody closes does not keep the process.
    let _idle = TcpStream::connect(port.address).await.unwrap();
    finish.send(()).unwrap();
    part.await.unwrap().unwrap();
    port.serving.await.unwrap().unwrap();
}
