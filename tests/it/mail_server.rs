//! A mail server that refuses, and repeats the address while it does: neither the address nor its words
//! get into a log or a metric, and the operator learns that mails are refused.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::harness::{Answer, Backend, Cluster, Options, eventually, sign_up};

on_both!(what_a_mail_server_says_is_in_no_log);

const EMAIL: &str = "quagga.recipient@example.com";

/// How often it has refused somebody.
static REFUSED: AtomicUsize = AtomicUsize::new(0);

async fn speak(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 here\r\n").await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let answer = match line.get(..4).unwrap_or_default() {
            "RCPT" => {
                REFUSED.fetch_add(1, Ordering::SeqCst);
                format!("451 4.3.0 <{EMAIL}>: okapi has no room for this recipient")
            }
            "QUIT" => break,
            _ => "250 fine".to_owned(),
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

async fn what_a_mail_server_says_is_in_no_log(backend: Backend) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(speak(stream));
        }
    });
    let env = vec![
        ("TIKTOMATO__MAIL__SMTP_URL", url),
        // As much as an operator who looks for a fault lets it say.
        ("RUST_LOG", "debug".to_owned()),
    ];
    let cluster = Cluster::start(backend, Options { env, ..Options::default() }).await;
    let before = REFUSED.load(Ordering::SeqCst);
    let body = sign_up(EMAIL, "a long password indeed");
    cluster.browser().post("/v1/auth/sign-up", &body).await.expect(202);
    cluster.browser().post("/v1/auth/forgot", &json!({"email": EMAIL})).await.expect(202);
    eventually("it refuses again and again", async || {
        (REFUSED.load(Ordering::SeqCst) >= before + 2).then_some(())
    })
    .await;
    let logs = eventually("the operator is told", async || {
        let logs = cluster.logs();
        logs.contains("a mail was not sent").then_some(logs)
    })
    .await;
    assert!(logs.contains("the mail server answered 451"), "{logs}");
    for word in ["quagga.recipient", "okapi"] {
        let line = logs.lines().find(|line| line.contains(word));
        assert_eq!(line, None, "{word}");
    }
    for ops in cluster.ops() {
        let metrics = Answer::to(cluster.http.get(format!("{ops}/metrics"))).await.unwrap();
        let text = String::from_utf8(metrics.bytes).unwrap();
        assert!(!text.contains("quagga") && !text.contains("okapi"), "{text}");
    }
    cluster.finish().await;
}
