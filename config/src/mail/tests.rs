//! Mails by a server that speaks SMTP, refuses, and is away.

use std::{collections::BTreeMap, sync::Arc};

use entities::{
    Db, Timestamp,
    ids::SignUpId,
    mail::{self, Template},
};
use secrecy::SecretString;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use super::*;
use crate::settings::{Mode, Settings, Sources};

/// What a server was told, and how many mails it refuses first.
#[derive(Default)]
struct Told {
    refuse: usize,
    mails: Vec<String>,
}

async fn speak(stream: TcpStream, told: Arc<Mutex<Told>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 here\r\n").await?;
    let (mut line, mut envelope) = (String::new(), String::new());
    while stream.read_line(&mut line).await? > 0 {
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => "250 here",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") && stream.read_line(&mut text).await? > 0 {}
                let mut told = told.lock().await;
                if told.refuse > 0 {
                    told.refuse -= 1;
                    "451 later"
                } else {
                    told.mails.push(format!("{envelope}{text}"));
                    "250 taken"
                }
            }
            "QUIT" => break,
            _ => {
                envelope.push_str(&line);
                "250 fine"
            }
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

async fn database(folder: &std::path::Path) -> Db {
    let db = Db::connect(&format!("sqlite://{}/test.db", folder.display()), 2).await.unwrap();
    migration::up(db.write()).await.unwrap();
    db
}

fn mailer(folder: &std::path::Path, port: u16) -> Mailer {
    drop(rustls::crypto::ring::default_provider().install_default());
    let env = BTreeMap::from([
        ("TIKTOMATO_DATA".to_owned(), folder.display().to_string()),
        ("TIKTOMATO__MAIL__SMTP_URL".to_owned(), format!("smtp://127.0.0.1:{port}")),
        ("TIKTOMATO__MAIL__FROM".to_owned(), "Shop <shop@example.com>".to_owned()),
        ("TIKTOMATO__GATEWAY__PUBLIC_URL".to_owned(), "https://images.example.com".to_owned()),
    ]);
    let settings = Settings::load(Sources { file: None, env, mode: Mode::Embedded }).unwrap();
    let secrets = MasterSecrets::new(&[SecretString::from("s".repeat(32))]).unwrap();
    Mailer::new(&settings.mail, secrets, settings.gateway.public_url).unwrap()
}

#[tokio::test]
async fn a_refused_mail_comes_again_and_goes_out_once() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mailer = mailer(folder.path(), listener.local_addr().unwrap().port());
    let told = Arc::new(Mutex::new(Told { refuse: 1, ..Told::default() }));
    let server = Arc::clone(&told);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(speak(stream, Arc::clone(&server)));
        }
    });
    let clock = Clock::manual(Timestamp(1_760_000_000_000_000));
    let to = "somebody@example.com";
    mail::enqueue(db.write(), None, Template::EmailChanged, to, None, clock.now()).await.unwrap();
    assert_eq!(mailer.send_due(&db, &clock).await.unwrap(), 1);
    assert_eq!(mailer.send_due(&db, &clock).await.unwrap(), 0, "it waits");
    assert!(told.lock().await.mails.is_empty());
    clock.advance(Duration::from_secs(6));
    assert_eq!(mailer.send_due(&db, &clock).await.unwrap(), 1);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(mailer.send_due(&db, &clock).await.unwrap(), 0, "it went out once");
    let mails = told.lock().await.mails.clone();
    assert_eq!(mails.len(), 1);
    for part in [
        "MAIL FROM:<shop@example.com>",
        "RCPT TO:<somebody@example.com>",
        "Subject: Your account has a new address",
        "Thu, 09 Oct 2025 08:53:26",
    ] {
        assert!(mails[0].contains(part), "{part}: {}", mails[0]);
    }
}

#[tokio::test]
async fn what_is_of_no_use_any_more_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path()).await;
    // Nobody listens there.
    let mailer = mailer(folder.path(), 1);
    let clock = Clock::manual(Timestamp(1_760_000_000_000_000));
    let (to, now) = ("somebody@example.com", clock.now());
    let gone = Some(SignUpId::generate().0);
    mail::enqueue(db.write(), None, Template::SignUp, to, gone, now).await.unwrap();
    mail::enqueue(db.write(), None, Template::Reset, to, None, now).await.unwrap();
    mail::enqueue(db.write(), None, Template::PasswordChanged, to, None, now).await.unwrap();
    assert_eq!(mailer.send_due(&db, &clock).await.unwrap(), 3);
    // The first two have nobody to go to; the third is tried for a day.
    let mut tries = 0;
    for _ in 0..26 {
        clock.advance(Duration::from_secs(3_600));
        tries += mailer.send_due(&db, &clock).await.unwrap();
    }
    assert_eq!(tries, 25);
}
