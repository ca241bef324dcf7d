//! Hostile URLs against a canary: a listener on loopback that must never see a connection.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicUsize, Ordering},
};

use super::*;

const LIMITS: FetchLimits =
    FetchLimits { time: Duration::from_secs(5), bytes: 1_000, types: &["image/"] };

/// Listens and notices who comes.
struct Canary(TcpListener);

impl Canary {
    fn new() -> Self {
        // On every address of this machine, so that each way of reaching it would be seen.
        let listener = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0"));
        let listener = listener.unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    fn was_touched(&self) -> bool {
        // The system takes connections before they are accepted: none is waiting, none came.
        self.0.accept().is_ok()
    }
}

/// Every name leads to loopback, unless it is one of the tricks below.
fn trap() -> Lookup {
    let calls = AtomicUsize::new(0);
    Arc::new(move |name: String| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        let found: &[&str] = match name.trim_end_matches('.') {
            "mixed.example.com" => &["93.184.215.14", "127.0.0.1", "::1"],
            "disguised.example.com" => &["::ffff:127.0.0.1", "64:ff9b::7f00:1"],
            "metadata.example.com" => &["169.254.169.254"],
            "nothing.example.com" => &[],
            _ if call.is_multiple_of(2) => &["127.0.0.1"],
            _ => &["::1"],
        };
        let found = found.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect();
        Box::pin(async move { Ok(found) })
    })
}

/// With the canary's port among the usual ones, so that it is the address that is refused.
fn guarded(allowed: Allowed, canary: &Canary) -> Guarded {
    drop(rustls::crypto::ring::default_provider().install_default());
    Guarded::with(allowed, trap(), &[80, 443, canary.port()]).unwrap()
}

/// Hosts that mean this machine, a neighbour or a metadata service.
const HOSTS: &[&str] = &[
    "localhost",
    "LOCALHOST",
    "localhost.",
    "LocalHost..",
    "foo.localhost",
    "a.b.localhost.",
    "localhost.localdomain",
    "ip6-localhost",
    "loopback",
    "router.lan",
    "db.internal",
    "metadata.google.internal",
    "metadata.google.internal.",
    "metadata",
    "printer.local",
    "1.0.0.127.in-addr.arpa",
    "redis",
    "postgres",
    "nas.home",
    "git.corp",
    "wiki.intranet",
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.000.000.001",
    "0177.0.0.1",
    "0177.0.0.01",
    "0x7f.0.0.1",
    "0x7f.1",
    "0x7f000001",
    "0X7F000001",
    "0x7f.0x0.0x0.0x1",
    "2130706433",
    "017700000001",
    "0x7f.0.1",
    "127.0x1",
    "127.255.255.254",
    "0",
    "0.0.0.0",
    "0x0",
    "00000000000",
    "0.1",
    "0.0.0.0.",
    "①②⑦.⓪.⓪.①",
    "１２７.０.０.１",
    "127。0。0。1",
    "127．0．0．1",
    "127｡0｡0｡1",
    "ⓛocalhost",
    "ｌｏｃａｌｈｏｓｔ",
    "lo\u{ad}calhost",
    "%6c%6f%63alhost",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "ⅼocalhost",
    "localhost%2e",
    "10.0.0.1",
    "10.255.255.255",
    "0xa.0.0.1",
    "012.0.0.1",
    "167772161",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "169.254.170.2",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "0xa9.0xfe.0xa9.0xfe",
    "169.254.43518",
    "169.16689662",
    "169.254.169.254.",
    "172.16.0.1",
    "172.31.255.255",
    "2886729729",
    "192.168.0.1",
    "192.168.1.254",
    "3232235521",
    "0xc0.0xa8.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "4294967295",
    "168.63.129.16",
    "192.88.99.1",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::0001]",
    "[::0001]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:7F00:0001]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:8.8.8.8]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2002:c0a8:1::1]",
    "[2001:0:7f00:1::1]",
    "[2001::80ff:fffe]",
    "[fc00::1]",
    "[fd00::1]",
    "[fd00:ec2::254]",
    "[fdff:ffff::1]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[ff01::1]",
    "[ff02::1]",
    "[ff0e::1]",
    "[2001:db8::1]",
    "[2001:2::1]",
    "[2001:10::1]",
    "[3fff::1]",
    "[100::1]",
    "[5f00::1]",
    "rebind.example.com",
    "mixed.example.com",
    "disguised.example.com",
    "metadata.example.com",
    "nothing.example.com",
    "rebind.example.com.",
    "127.0.0.1.nip.io",
    "7f000001.example.net",
    "xn--localhost-.com",
    "bücher.example",
    "a.example%00.com",
    "LOCALTEST.me",
    "rebind..com",
    ".example.com",
    "-.example.com",
    "example.com%23@127.0.0.1",
    "example.com%2f@localhost",
];

/// URLs that are odd in another place than their host.
fn odd(port: u16) -> Vec<String> {
    let here = format!("127.0.0.1:{port}");
    let mut odd: Vec<String> = [
        "ftp://{}/",
        "file:///etc/passwd",
        "file://{}/etc/passwd",
        "gopher://{}/_x",
        "dict://{}/",
        "ldap://{}/",
        "jar:http://{}/!/",
        "data:image/png;base64,AA",
        "javascript:alert(1)",
        "unix:/var/run/docker.sock",
        "ws://{}/",
        "wss://{}/",
        "blob:http://{}/x",
        "about:blank",
        "http:",
        "http:/",
        "http://",
        "https://",
        "//{}/",
        "/{}/",
        "{}",
        "http:{}/",
        "http:/{}/",
        "http:\\\\{}\\",
        "http:///{}/",
        "http://\t{}/",
        "\thttp://{}/",
        "ht\ntp://{}/",
        "http://user@{}/",
        "http://user:pw@{}/",
        "http://:pw@{}/",
        "http://@{}/",
        "http://:@{}/",
        "http://example.com@{}/",
        "http://example.com:80@{}/",
        "http://example.com%40{}/",
        "http://{}@example.com/",
        "http://{}#@example.com/",
        "http://{}?@example.com/",
        "http://{}\\@example.com/",
        "http://example.com\\@{}/",
        "http://[{}]/",
        "http://{}:0/",
        "http://{}%20/",
        "http://{}%00.example.com/",
        "http:// {}/",
        "HTTP://{}/",
        "hTTps://{}/",
        "https://{}/",
        "http://{}/#x",
        "http://{}/?x=https://example.com",
        "http://{}/../../",
    ]
    .iter()
    .map(|text| text.replace("{}", &here))
    .collect();
    odd.push(format!("http://{here}/{}", "a".repeat(LONGEST)));
    for other in [0, 21, 22, 25, 3306, 5432, 6379, 8080, 9100, 11211, 65535] {
        odd.push(format!("http://rebind.example.com:{other}/"));
        odd.push(format!("https://93.184.215.14:{other}/"));
    }
    odd
}

fn hostile(port: u16) -> BTreeSet<String> {
    let mut urls = BTreeSet::new();
    for host in HOSTS {
        urls.insert(format!("http://{host}:{port}/"));
        urls.insert(format!("https://{host}:{port}/latest/meta-data/"));
        urls.insert(format!("http://{host}/"));
    }
    urls.extend(odd(port));
    urls
}

#[tokio::test]
async fn no_hostile_url_makes_a_connection() {
    let canary = Canary::new();
    let guarded = guarded(Allowed::default(), &canary);
    let urls = hostile(canary.port());
    assert!(urls.len() >= 250, "{}", urls.len());
    for url in &urls {
        for https_only in [false, true] {
            let error = guarded.fetch(url, https_only, LIMITS).await.unwrap_err();
            // Not a word of our side: it was refused, or its server "cannot be reached".
            let told = matches!(&error, GuardedError::Refused(_) | GuardedError::Failed(_));
            assert!(told && !error.to_string().contains("127."), "{url}: {error:?}");
            assert!(!canary.was_touched(), "{url}");
        }
    }
}

/// A small server on loopback that the guard is told to allow; it answers what `answer` says for a
/// request's first line.
struct Server(SocketAddr);

impl Server {
    fn start(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let (mut request, mut part) = (Vec::new(), [0; 1_024]);
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    match connection.read(&mut part) {
                        Ok(1..) => {}
                        Ok(0) | Err(_) => break,
                    }
                    request.extend_from_slice(&part);
                }
                let text = String::from_utf8_lossy(&request).into_owned();
                // The client may have gone.
                drop(connection.write_all(&answer(text.lines().next().unwrap_or_default())));
            }
        });
        Self(address)
    }

    fn allowed(&self) -> Allowed {
        [self.0].into_iter().collect()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0)
    }
}

fn redirect_to(location: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn no_redirect_leads_to_the_canary() {
    let canary = Canary::new();
    let urls: Vec<String> = hostile(canary.port())
        .into_iter()
        // What is no header, or leads back to the server itself, is no redirect to elsewhere.
        .filter(|url| url.is_ascii() && !url.contains(char::is_control) && url.contains("://"))
        .collect();
    assert!(urls.len() > 250, "{}", urls.len());
    let targets = urls.clone();
    let server = Server::start(move |line| {
        let number = line.split(['/', ' ']).nth(2).and_then(|text| text.parse::<usize>().ok());
        redirect_to(&targets[number.unwrap()])
    });
    let guarded = guarded(server.allowed(), &canary);
    for (number, target) in urls.iter().enumerate() {
        let error = guarded.fetch(&server.url(&format!("/{number}")), false, LIMITS).await;
        assert!(error.is_err(), "{target}");
        assert!(!canary.was_touched(), "{target}");
    }
}

#[tokio::test]
async fn redirects_are_followed_three_times() {
    let canary = Canary::new();
    let server = Server::start(|line| match line.split(' ').nth(1) {
        Some("/0") => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
        Some(path) => {
            let left: usize = path[1..].parse().unwrap();
            redirect_to(&format!("/{}", left - 1))
        }
        None => Vec::new(),
    });
    let guarded = guarded(server.allowed(), &canary);
    assert_eq!(guarded.fetch(&server.url("/3"), true, LIMITS).await.unwrap(), "ok");
    let error = guarded.fetch(&server.url("/4"), true, LIMITS).await.unwrap_err();
    assert!(matches!(error, GuardedError::Refused(_)), "{error:?}");
}

/// The canary does notice: with its address allowed it is reached, and by no other spelling.
#[tokio::test]
async fn an_allowed_address_is_reached_as_an_address_only() {
    let canary = Canary::new();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, canary.port()));
    let guarded = guarded([address].into_iter().collect(), &canary);
    for name in ["localhost", "rebind.example.com", "[::1]", "127.0.0.2"] {
        let url = format!("http://{name}:{}/", canary.port());
        guarded.fetch(&url, false, LIMITS).await.unwrap_err();
        assert!(!canary.was_touched(), "{url}");
    }
    let limits = FetchLimits { time: Duration::from_millis(200), ..LIMITS };
    let error = guarded.fetch(&format!("http://{address}/"), true, limits).await.unwrap_err();
    assert_eq!(error, GuardedError::TooSlow);
    assert!(canary.was_touched());
}

#[tokio::test]
async fn sizes_types_and_statuses_are_kept_to() {
    let canary = Canary::new();
    let server = Server::start(|line| {
        let (head, body) = match line.split(' ').nth(1).unwrap_or_default() {
            "/ok" => ("Content-Type: Image/PNG\r\nContent-Length: 1000", 1_000),
            "/announced" => ("Content-Length: 1001", 1_001),
            "/endless" => ("Content-Type: image/png", 100_000),
            "/html" => ("Content-Type: text/html\r\nContent-Length: 3", 3),
            "/short" => ("Content-Length: 500", 100),
            _ => return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        };
        let head = format!("HTTP/1.1 200 OK\r\n{head}\r\nConnection: close\r\n\r\n");
        [head.as_bytes(), &vec![7; body]].concat()
    });
    let guarded = guarded(server.allowed(), &canary);
    let fetch = async |path: &str| guarded.fetch(&server.url(path), true, LIMITS).await;
    assert_eq!(fetch("/ok").await.unwrap().len(), 1_000);
    assert_eq!(fetch("/announced").await, Err(GuardedError::TooLarge(1_000)));
    assert_eq!(fetch("/endless").await, Err(GuardedError::TooLarge(1_000)));
    assert!(matches!(fetch("/html").await, Err(GuardedError::Refused(_))));
    assert!(matches!(fetch("/short").await, Err(GuardedError::Failed(_))));
    assert!(matches!(fetch("/none").await, Err(GuardedError::Failed(_))));
}

/// A name that answered well once is checked again the next time.
#[tokio::test]
async fn a_name_that_changes_its_mind_is_refused() {
    let turn = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&turn);
    let lookup: Lookup = Arc::new(move |_| {
        let ip = ["93.184.215.14", "127.0.0.1"][calls.fetch_add(1, Ordering::Relaxed) % 2];
        Box::pin(async move { Ok(vec![SocketAddr::new(ip.parse().unwrap(), 0)]) })
    });
    let resolver = PublicOnly(lookup);
    let ask = || resolver.resolve("rebind.example.com".parse().unwrap());
    assert_eq!(ask().await.ok().map(Iterator::count), Some(1));
    assert!(ask().await.is_err());
    assert!(ask().await.is_ok());
    assert!(ask().await.is_err());
    assert_eq!(turn.load(Ordering::Relaxed), 4);
}
