use std::time::Duration;

use futures::TryStreamExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use url::Url;

use super::*;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

/// A server that answers each connection with the next of these texts; an empty one is silence.
async fn server(answers: Vec<String>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = url(&format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            assert!(String::from_utf8_lossy(&request[..read]).contains("user-agent: tiktomato/"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    base
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn to(place: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
}

#[test]
fn places_are_matched_whole() {
    let origins = Origins::parse(&["fal.media", "*.fal.media", "http://127.0.0.1:9000"]).unwrap();
    for text in [
        "https://fal.media/x.png",
        "https://v3.fal.media/x.png?y",
        "https://a.b.fal.media:443/",
        "http://127.0.0.1:9000/x",
    ] {
        assert!(origins.allow(&url(text)), "{text}");
    }
    for text in [
        "http://fal.media/x",
        "https://fal.media:8443/x",
        "https://evilfal.media/x",
        "https://fal.media.evil.com/x",
        "https://fal.media@evil.com/x",
        "https://me:pw@fal.media/x",
        "https://.fal.media/x",
        "http://127.0.0.1:9001/x",
        "https://127.0.0.1:9000/x",
        "http://localhost:9000/x",
        "file:///etc/passwd",
        "data:image/png;base64,AA",
    ] {
        assert!(!Url::parse(text).is_ok_and(|url| origins.allow(&url)), "{text}");
    }
    assert!(!Origins::NONE.allow(&url("https://fal.media")));
    for bad in ["", "*", "*.", "localhost", "a b.com", "http://x/path", "ftp://x.y", "127.0.0.1"] {
        assert!(Origins::parse(&[bad]).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn what_was_surely_not_sent_is_told_from_what_may_have_been() {
    let client = client(Timeouts::call(Duration::from_secs(20))).unwrap();
    let asked = async |url: Url| match client.post(url).body("x").send().await {
        Ok(response) => read(response, 10).await.map(drop),
        Err(error) => Err(Unanswered::from(error)),
    };
    // Nobody listens; no such name; no TLS there.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let plain = server(vec!["HTTP/1.1 400 no\r\n\r\n".into()]).await;
    let mut tls = plain.clone();
    tls.set_scheme("https").unwrap_or_default();
    for place in [format!("http://{free}/?mac=secret"), "http://no.such.invalid/?mac=secret".into()]
    {
        match asked(url(&place)).await {
            Err(Unanswered::NotSent(text)) => assert!(!text.contains("secret"), "{text}"),
            other => panic!("{place}: {other:?}"),
        }
    }
    // The connection closes after the request.
    let closing = server(vec![String::new()]).await;
    let lost = asked(closing).await;
    assert!(matches!(lost, Err(Unanswered::Unknown(_))), "{lost:?}");
    // An answer that breaks off, and one that is too long.
    let torn = server(vec!["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab".into()]).await;
    assert!(matches!(asked(torn).await, Err(Unanswered::Unknown(_))));
    let long = server(vec![ok("12345678901")]).await;
    assert!(matches!(asked(long).await, Err(Unanswered::Unknown(_))));
    assert_eq!(asked(server(vec![ok("1234567890")]).await).await, Ok(()));
}

#[tokio::test]
async fn tls_that_fails_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = url(&format!("https://{}", listener.local_addr().unwrap()));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let client = client(Timeouts::call(Duration::from_secs(20))).unwrap();
    let error = Unanswered::from(client.post(place).body("x").send().await.unwrap_err());
    assert!(matches!(error, Unanswered::NotSent(_)), "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let client = client(Timeouts::call(Duration::from_secs(20))).unwrap();
    let base = server(vec![to("https://example.com/")]).await;
    assert_eq!(client.post(base).send().await.unwrap().status(), 302);
}

#[tokio::test]
async fn media_is_read_from_allowed_places_only() {
    let fetcher = Fetcher::new().unwrap();
    let fetch = async |base: &Url, allowed: &Origins| {
        let stream = fetcher.open(base, allowed, 10).await?;
        let parts: Vec<bytes::Bytes> =
            stream.try_collect().await.map_err(|error| FetchError::Failed(error.to_string()))?;
        Ok(parts.concat())
    };
    let base = server(vec![ok("picture")]).await;
    assert_eq!(fetch(&base, &Origins::only(&base)).await, Ok(b"picture".to_vec()));
    let forbidden = fetch(&base, &Origins::NONE).await;
    assert_eq!(forbidden, Err(FetchError::Forbidden(base.origin().ascii_serialization())));

    let long = server(vec![ok("more than ten")]).await;
    assert_eq!(fetch(&long, &Origins::only(&long)).await, Err(FetchError::TooLarge(13)));
    let gone = server(vec!["HTTP/1.1 404 no\r\ncontent-length: 0\r\n\r\n".into()]).await;
    assert!(matches!(fetch(&gone, &Origins::only(&gone)).await, Err(FetchError::Failed(_))));

    let here = server(vec![to("/there"), ok("moved")]).await;
    assert_eq!(fetch(&here, &Origins::only(&here)).await, Ok(b"moved".to_vec()));
    let target = server(vec![ok("elsewhere")]).await;
    let away = server(vec![to(target.as_str())]).await;
    let refused = fetch(&away, &Origins::only(&away)).await;
    assert_eq!(refused, Err(FetchError::Forbidden(target.origin().ascii_serialization())));
    let circle = server((0..9).map(|_| to("/again")).collect()).await;
    assert!(matches!(fetch(&circle, &Origins::only(&circle)).await, Err(FetchError::Failed(_))));
}
