//! People with browsers and mailboxes.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Mutex};

use reqwest::{Client, Method, RequestBuilder, redirect};
use serde_json::{Value, json};

use super::{Answer, Cluster, eventually, http};

/// A browser: it keeps cookies, follows no redirect by itself, and says where a request comes from.
pub(crate) struct Browser {
    http: Client,
    base: String,
    cookies: Mutex<BTreeMap<String, String>>,
}

/// A mail that was put in the folder.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) text: String,
}

impl Mail {
    /// The token of the link in it.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        let rest = self.text.split("?token=").nth(1).unwrap_or_else(|| panic!("{self:?}"));
        rest.split_whitespace().next().unwrap().to_owned()
    }
}

impl Cluster {
    /// A browser that was never here.
    pub(crate) fn browser(&self) -> Browser {
        drop(http());
        let policy = redirect::Policy::none();
        let http = Client::builder().no_proxy().redirect(policy).build().unwrap();
        Browser { http, base: self.base.clone(), cookies: Mutex::default() }
    }

    /// Every mail to an address, oldest first.
    pub(crate) fn mails(&self, to: &str) -> Vec<Mail> {
        let Ok(folder) = fs::read_dir(self.data().join("mail")) else { return Vec::new() };
        let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|kind| kind == "eml"));
        // What is removed meanwhile is left out.
        let time = |path: &PathBuf| fs::metadata(path).and_then(|about| about.modified()).ok();
        files.sort_by_cached_key(time);
        let mails = files.iter().filter_map(|path| mail(&fs::read_to_string(path).ok()?));
        mails.filter(|mail| mail.to == to).collect()
    }

    /// The `n`th mail to an address (from 1), once it is there.
    pub(crate) async fn mail(&self, to: &str, n: usize) -> Mail {
        let what = format!("mail {n} reaches {to}");
        eventually(&what, async || self.mails(to).into_iter().nth(n - 1)).await
    }

    /// Somebody who has signed up, and whose address is proven; their browser is signed in.
    pub(crate) async fn person(&self, email: &str, password: &str) -> Browser {
        let browser = self.browser();
        browser.post("/v1/auth/sign-up", &sign_up(email, password)).await.expect(202);
        let token = self.mail(email, 1).await.token();
        browser.post("/v1/auth/verify", &json!({"token": token})).await.expect(200);
        browser.sign_in(email, password).await.expect(200);
        browser
    }
}

/// What a sign-up says.
pub(crate) fn sign_up(email: &str, password: &str) -> Value {
    json!({"email": email, "password": password, "name": "Test", "birth_date": "1990-12-31"})
}

fn mail(text: &str) -> Option<Mail> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let header = |name: &str| {
        let line = head.lines().find(|line| line.starts_with(&format!("{name}: ")))?;
        Some(line[name.len() + 2..].trim().to_owned())
    };
    let quoted = header("Content-Transfer-Encoding")? == "quoted-printable";
    let text = if quoted { body.replace("=\r\n", "").replace("=3D", "=") } else { body.to_owned() };
    Some(Mail { to: header("To")?, subject: header("Subject")?, text })
}

impl Browser {
    /// A request with the cookies, as a page of ours makes it.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url =
            if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let request = self.http.request(method, url).header("sec-fetch-site", "same-origin");
        match self.cookie_header() {
            Some(cookies) => request.header("cookie", cookies),
            None => request,
        }
    }

    /// All cookies, as one header.
    pub(crate) fn cookie_header(&self) -> Option<String> {
        let cookies = self.cookies.lock().unwrap();
        let pairs: Vec<String> =
            cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// One cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().unwrap().get(name).cloned()
    }

    /// Puts a cookie in.
    pub(crate) fn plant(&self, name: &str, value: &str) {
        self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    /// Sends it, and keeps the cookies of the answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let answer = Answer::to(request).await.unwrap();
        for value in answer.headers.get_all("set-cookie") {
            let text = value.to_str().unwrap();
            let (name, rest) = text.split_once('=').unwrap();
            for part in ["; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"] {
                assert!(text.contains(part), "{text}");
            }
            assert!(name.starts_with("__Host-") && !text.contains("Domain"), "{text}");
            let mut cookies = self.cookies.lock().unwrap();
            if text.ends_with("Max-Age=0") {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
            }
        }
        answer
    }

    /// GET.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// GET, as a link on a page of another site does.
    pub(crate) async fn follow(&self, answer: &Answer) -> Answer {
        self.get(answer.header("location").unwrap_or_else(|| panic!("{answer:?}"))).await
    }

    /// POST of JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// POST of a form.
    pub(crate) async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let form =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let kind = "application/x-www-form-urlencoded";
        self.send(self.request(Method::POST, path).header("content-type", kind).body(form)).await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Signs in.
    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Answer {
        self.post("/v1/auth/sign-in", &json!({"email": email, "password": password})).await
    }

    /// Whether it is signed in.
    pub(crate) async fn is_in(&self) -> bool {
        let answer = self.get("/v1/sessions").await;
        assert!(matches!(answer.status.as_u16(), 200 | 401), "{answer:?}");
        answer.status == 200
    }
}
