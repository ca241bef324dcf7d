//! Redis behind TLS, with an authority of its own.

use std::{path::Path, process::Command};

use config::queue::{Queue, QueueError, RedisQueueSettings, RedisServer};

use crate::{
    server::Server,
    support::{Memory, POOL, Workers, hints, until},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server and openssl; tests/run runs it"]
async fn a_queue_works_over_tls() {
    let mut server = Server::reserve();
    let folder = server.folder.path().to_owned();
    let (authority, certificate, key) = certificates(&folder);
    let tls_port = Server::reserve().port;
    server.launch(&[
        "--tls-port",
        &tls_port.to_string(),
        "--tls-auth-clients",
        "no",
        "--tls-ca-cert-file",
        &authority,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
    ]);
    server.answers().await;
    let url = format!("rediss://localhost:{tls_port}");
    let trusting =
        RedisServer::new(url.as_str()).with_ca_certificate(std::fs::read(&authority).unwrap());
    let queue = Queue::redis(RedisQueueSettings::new(trusting)).await.unwrap();
    let (memory, pushed) = (Memory::new(), hints(100));
    let workers = Workers::noting(&queue, 10, &memory);
    queue.push(POOL, &pushed).await.unwrap();
    memory.saw_all(&pushed).await;
    until("a clean stream", async || server.is_clean().await).await;
    workers.stop().await;
    memory.assert_once(&pushed);
    // Without that authority the server is not trusted.
    let stranger = Queue::redis(RedisQueueSettings::new(url.as_str())).await.unwrap();
    assert_eq!(stranger.push(POOL, &pushed).await, Err(QueueError::Away));
}

/// The files of an authority, and of a certificate for localhost with its key.
fn certificates(folder: &Path) -> (String, String, String) {
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (authority, authority_key) = (file("ca.pem"), file("ca.key"));
    let (certificate, key) = (file("server.pem"), file("server.key"));
    let new_key = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    let days = ["-nodes", "-days", "2"];
    let usage = ["-addext", "keyUsage=keyCertSign"];
    openssl(&[
        &new_key[..],
        &days,
        &["-subj", "/CN=Test authority", "-keyout", &authority_key, "-out", &authority],
        &usage,
    ]);
    let signed = ["-CA", &authority, "-CAkey", &authority_key];
    openssl(&[
        &new_key[..],
        &days,
        &["-subj", "/CN=localhost", "-keyout", &key, "-out", &certificate],
        &["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE"],
        &signed,
    ]);
    (authority, certificate, key)
}

fn openssl(arguments: &[&[&str]]) {
    let output = Command::new("openssl").args(arguments.concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
