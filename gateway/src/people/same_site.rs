//! Requests that change something and come from another site's page are refused: a browser would
//! send our cookies along, although its owner never asked for it.
//!
//! Browsers say where a request comes from (`Sec-Fetch-Site`, older ones `Origin`); programs that
//! are no browsers say nothing, and keep no cookies that others could use. A request with an API
//! key carries its own proof.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, Method, header};
use url::{Origin, Url};

use crate::{
    app::App,
    problem::{Code, Problem},
};

/// The layer.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let headers = request.headers();
    if safe || headers.contains_key(header::AUTHORIZATION) {
        return next.run(request).await;
    }
    let own = app.context.settings.gateway.public_url.as_url().origin();
    if comes_from_elsewhere(headers, &own) {
        let detail = "This request was sent by another site's page. Do it on our own page.";
        return Problem::new(Code::CrossSite, detail).into_response();
    }
    next.run(request).await
}

fn comes_from_elsewhere(headers: &HeaderMap, own: &Origin) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text("origin") else { return false };
    let Ok(origin) = Url::parse(origin) else { return true };
    // Whoever tries it out may call this machine by another name than the settings do; what a
    // browser takes for the host of its page is the host that it asks.
    let host =
        text("host").and_then(|host| Url::parse(&format!("{}://{host}", origin.scheme())).ok());
    origin.origin() != *own && host.is_none_or(|host| host.origin() != origin.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_sites_pages_are_told_apart() {
        let own = Url::parse("https://images.example.com").unwrap().origin();
        let elsewhere = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            comes_from_elsewhere(&headers, &own)
        };
        for fine in [
            &[][..],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://images.example.com")],
            &[("origin", "http://localhost:8080"), ("host", "localhost:8080")],
        ] {
            assert!(!elsewhere(fine), "{fine:?}");
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
        ] {
            assert!(elsewhere(bad), "{bad:?}");
        }
    }
}
