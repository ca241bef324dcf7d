//! Requests that change something and come from another site's page are refused: a browser would
//! send our cookies along, although its owner never asked for it.
//!
//! Browsers say where a request comes from (`Sec-Fetch-Site`, older ones `Origin`); programs that
//! are no browsers say nothing, and keep no cookies that others could use. A request with an API
//! key carries its own proof.

use axum::{
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, Method, header};
use url::{Host, Url};

use crate::{
    app::App,
    problem::{Code, Problem},
};

/// Lets a request pass unless it is another site's.
pub(crate) async fn guard<F, Fut>(app: &App, request: Request, next: F) -> Response
where
    F: FnOnce(Request) -> Fut,
    Fut: Future<Output = Response>,
{
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let headers = request.headers();
    if safe || headers.contains_key(header::AUTHORIZATION) {
        return next(request).await;
    }
    let own = app.context.settings.gateway.public_url.as_url();
    if comes_from_elsewhere(headers, own) {
        let detail = "This request was sent by another site's page. Do it on our own page.";
        return Problem::new(Code::CrossSite, detail).into_response();
    }
    next(request).await
}

/// Whether the page that sends this is not below our public URL. The whole origin counts, its scheme too:
/// who can change what comes by plain HTTP must not act for who is signed in by HTTPS. Where TLS ends in
/// front of us the requests themselves do not tell of it; the public URL does.
fn comes_from_elsewhere(headers: &HeaderMap, own: &Url) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text("origin") else { return false };
    let Ok(origin) = Url::parse(origin) else { return true };
    if origin.origin() == own.origin() {
        return false;
    }
    // Whoever tries it out on their own machine may call it by another name than the settings do; what
    // a browser takes for the host of its page is the host that it asks.
    let asked =
        text("host").and_then(|host| Url::parse(&format!("{}://{host}", own.scheme())).ok());
    let is_trial = is_this_machine(own) && is_this_machine(&origin);
    !is_trial || asked.is_none_or(|asked| asked.origin() != origin.origin())
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elsewhere(own: &str, pairs: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        comes_from_elsewhere(&headers, &Url::parse(own).unwrap())
    }

    #[test]
    fn another_sites_pages_are_told_apart() {
        let own = "https://images.example.com";
        for fine in [
            &[][..],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://images.example.com")],
            &[("origin", "https://images.example.com:443")],
            // TLS ends in front of us, and the host that we are asked is another one.
            &[("origin", "https://images.example.com"), ("host", "10.0.0.7:8080")],
        ] {
            assert!(!elsewhere(own, fine), "{fine:?}");
        }
        for bad in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site"), ("origin", "https://images.example.com")],
            &[("sec-fetch-site", "")],
            &[("origin", "null")],
            &[("origin", "https://evil.example")],
            &[("origin", "https://images.example.com.evil.example")],
            &[("origin", "http://images.example.com")],
            &[("origin", "https://images.example.com:8443")],
            &[("origin", "https://evil.example"), ("host", "images.example.com")],
            // The same host, by another scheme or on another port.
            &[("origin", "http://images.example.com"), ("host", "images.example.com")],
            &[("origin", "https://images.example.com:8443"), ("host", "images.example.com:8443")],
            // A name that somebody has made lead here.
            &[("origin", "https://evil.example"), ("host", "evil.example")],
            &[("origin", "http://localhost:8080"), ("host", "localhost:8080")],
        ] {
            assert!(elsewhere(own, bad), "{bad:?}");
        }
    }

    #[test]
    fn whoever_tries_it_out_may_call_their_machine_by_any_of_its_names() {
        let own = "http://127.0.0.1:8080";
        for name in ["localhost:8080", "127.0.0.1:8080", "127.0.0.2:8080", "[::1]:8080"] {
            let origin = format!("http://{name}");
            assert!(!elsewhere(own, &[("origin", &origin), ("host", name)]), "{name}");
        }
        for (origin, host) in [
            ("http://localhost:8081", "localhost:8080"),
            ("https://localhost:8080", "localhost:8080"),
            ("http://evil.example:8080", "evil.example:8080"),
            ("http://localhost.evil.example:8080", "localhost.evil.example:8080"),
        ] {
            assert!(elsewhere(own, &[("origin", origin), ("host", host)]), "{origin}");
        }
        assert!(elsewhere(own, &[("origin", "http://localhost:8080")]));
    }
}
