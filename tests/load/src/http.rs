//! One keep-alive connection that speaks just enough HTTP/1.1 for JSON answers.
//!
//! It knows `Content-Length` bodies only and refuses anything else rather than guess. A request is
//! a ready byte string, so that a loop over one request formats nothing.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// No answer takes longer: the longest wait that the API offers is 60 s.
const PATIENCE: Duration = Duration::from_secs(75);
/// Answers are small; what is longer is not for us.
const LONGEST_ANSWER: usize = 4 << 20;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The body, if the status is the expected one.
    pub(crate) fn expect<T: DeserializeOwned>(&self, status: u16) -> anyhow::Result<T> {
        if self.status != status {
            anyhow::bail!("{}: {}", self.status, String::from_utf8_lossy(&self.body));
        }
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// The bytes of a request; `key` is the API key.
pub(crate) fn request(method: &str, path: &str, key: &str, body: Option<(&str, &str)>) -> Vec<u8> {
    let mut text =
        format!("{method} {path} HTTP/1.1\r\nhost: load\r\nauthorization: Bearer {key}\r\n");
    match body {
        Some((idempotency_key, json)) => {
            let length = json.len();
            text += &format!(
                "idempotency-key: {idempotency_key}\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\n\r\n{json}"
            );
        }
        None => text += "\r\n",
    }
    text.into_bytes()
}

/// The bytes of a request of nobody's, sent on by a proxy for a client at this address.
pub(crate) fn anonymous(path: &str, client: Ipv4Addr, json: &str) -> Vec<u8> {
    let length = json.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: load\r\ncf-connecting-ip: {client}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{json}"
    )
    .into_bytes()
}

/// A connection. After an error it is not used again: where the next answer begins is unknown.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    closed: bool,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8192), closed: false })
    }

    /// Whether the server said that this was the connection's last answer.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> io::Result<Reply> {
        let exchange = async {
            self.stream.write_all(request).await?;
            loop {
                if let Some((head, end)) = parse(&self.buffer)? {
                    let body = self.buffer[head.length..end].to_vec();
                    self.buffer.drain(..end);
                    self.closed = head.closes;
                    return Ok(Reply { status: head.status, body });
                }
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        };
        timeout(PATIENCE, exchange).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}

#[derive(Debug, PartialEq)]
struct Head {
    status: u16,
    length: usize,
    closes: bool,
}

/// The head and the end of the first whole answer in `buffer`.
fn parse(buffer: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if buffer.len() > 65_536 { Err(invalid("endless header")) } else { Ok(None) };
    };
    let text = std::str::from_utf8(&buffer[..end]).map_err(|_| invalid("header is not text"))?;
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| invalid("not HTTP/1.1"))?;
    let mut body = None;
    let mut closes = false;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            body = value.trim().parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.trim().eq_ignore_ascii_case("close");
        }
    }
    let body = if status == 204 { 0 } else { body.ok_or_else(|| invalid("no content-length"))? };
    if body > LONGEST_ANSWER {
        return Err(invalid("answer too long"));
    }
    let length = end + 4;
    let whole = buffer.len() >= length + body;
    Ok(whole.then_some((Head { status, length, closes }, length + body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";

    #[test]
    fn an_answer_is_whole_or_waited_for() {
        for short in 0..ANSWER.len() {
            assert_eq!(parse(&ANSWER[..short]).unwrap(), None, "{short}");
        }
        let next = [ANSWER, b"HTTP"].concat();
        let (head, end) = parse(&next).unwrap().unwrap();
        assert_eq!((head.status, head.closes, end), (202, false, ANSWER.len()));
    }

    #[test]
    fn what_it_does_not_know_is_an_error() {
        for odd in
            ["HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
        {
            assert!(parse(odd.as_bytes()).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_request_says_how_long_it_is() {
        let bytes = request("POST", "/v1/jobs", "k", Some(("i", "{}")));
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("POST /v1/jobs HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("content-length: 2\r\n") && text.ends_with("\r\n\r\n{}"), "{text}");
    }
}
