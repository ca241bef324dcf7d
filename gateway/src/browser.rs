//! What kind of program a client is, in one word: all that is kept of its `User-Agent`.

use http::{HeaderMap, header};

/// A program's name out of a fixed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Browser(&'static str);

/// A word of a `User-Agent`, in lower case, and what it stands for. The first that is found
/// decides: Edge and Opera also call themselves Chrome, Chrome calls itself Safari.
const KNOWN: [(&str, &str); 25] = [
    ("edg/", "Edge"),
    ("edga/", "Edge"),
    ("edgios/", "Edge"),
    ("opr/", "Opera"),
    ("samsungbrowser/", "Samsung Internet"),
    ("fxios/", "Firefox"),
    ("firefox/", "Firefox"),
    ("crios/", "Chrome"),
    ("chrome/", "Chrome"),
    ("chromium/", "Chrome"),
    ("safari/", "Safari"),
    ("curl/", "curl"),
    ("wget/", "Wget"),
    ("httpie/", "HTTPie"),
    ("postmanruntime/", "Postman"),
    ("insomnia/", "Insomnia"),
    ("python", "Python"),
    ("aiohttp/", "Python"),
    ("node", "Node"),
    ("axios/", "Node"),
    ("undici", "Node"),
    ("go-http-client/", "Go"),
    ("okhttp/", "Java"),
    ("java/", "Java"),
    ("reqwest/", "Rust"),
];

/// The longest part of a `User-Agent` that is looked at.
const LOOKED_AT: usize = 512;

impl Browser {
    /// What the headers say.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let Some(agent) = headers.get(header::USER_AGENT) else { return Self("none") };
        let bytes = agent.as_bytes();
        let text = bytes[..bytes.len().min(LOOKED_AT)].to_ascii_lowercase();
        let holds = |word: &str| text.windows(word.len()).any(|part| part == word.as_bytes());
        let known = KNOWN.iter().find(|(word, _)| holds(word));
        Self(known.map_or("other", |(_, name)| name))
    }

    /// Its name, such as `Firefox`; `other` for an unknown one, `none` without a `User-Agent`.
    pub(crate) fn name(self) -> &'static str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(agent: &str) -> &'static str {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, agent.parse().unwrap());
        Browser::of(&headers).name()
    }

    #[test]
    fn programs_are_told_apart() {
        let webkit = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)";
        for (agent, name) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox"),
            (&format!("{webkit} Chrome/142.0.0.0 Safari/537.36"), "Chrome"),
            (&format!("{webkit} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0"), "Edge"),
            (&format!("{webkit} Version/18.0 Safari/605.1.15"), "Safari"),
            ("curl/8.5.0", "curl"),
            ("python-requests/2.32.0", "Python"),
            ("secret-agent-tt_live_0", "other"),
            ("", "other"),
        ] {
            assert_eq!(of(agent), name, "{agent}");
        }
        assert_eq!(Browser::of(&HeaderMap::new()).name(), "none");
    }
}
