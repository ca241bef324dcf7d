//! A client of the API, as a developer would write one.

use std::sync::OnceLock;

use reqwest::{Client, Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use super::eventually;

/// An HTTP client. One per test: connections belong to the test's runtime.
pub(crate) fn http() -> Client {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        // Somebody else's provider would do as well.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
    Client::builder().no_proxy().timeout(std::time::Duration::from_secs(90)).build().unwrap()
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    /// Sends the request and reads the answer.
    pub(crate) async fn to(request: RequestBuilder) -> Result<Self, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Self { status, headers, bytes: response.bytes().await?.to_vec() })
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The JSON of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        let text = String::from_utf8_lossy(&self.bytes);
        assert_eq!(self.status.as_u16(), status, "{text}");
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks that it is a problem of this status in the shape of every problem; its `code`.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        assert_eq!(self.status.as_u16(), status, "{text}");
        let kind = self.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/problem+json"), "{kind}: {text}");
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{self:?}");
        let body = self.json();
        assert!(body["detail"].as_str().is_some_and(|detail| detail.len() > 3), "{text}");
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        assert!(!code.is_empty(), "{text}");
        code
    }
}

/// Somebody with an API key.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) http: Client,
    pub(crate) base: String,
    pub(crate) key: String,
    pub(crate) email: String,
}

/// A submit of a small picture, with these fields added to or replacing those of `input`.
pub(crate) fn sketch(extra: &Value) -> Value {
    let mut input = json!({"prompt": "a red tomato", "width": 64, "height": 64, "seed": 7});
    for (name, value) in extra.as_object().unwrap() {
        input[name] = value.clone();
    }
    json!({"model": "demo/sketch", "input": input})
}

impl Api {
    /// A request with the key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key)
    }

    /// GET.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await.unwrap()
    }

    /// POST of JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::POST, path).json(body)).await.unwrap()
    }

    /// POST of JSON with an idempotency key.
    pub(crate) async fn post_once(&self, key: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, "/v1/jobs").header("Idempotency-Key", key);
        Answer::to(request.json(body)).await.unwrap()
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::DELETE, path)).await.unwrap()
    }

    /// Submits a small picture; the id of its job.
    pub(crate) async fn submit(&self, extra: &Value) -> String {
        let job = self.post("/v1/jobs", &sketch(extra)).await.expect(202);
        job["id"].as_str().unwrap().to_owned()
    }

    /// The job as it is now.
    pub(crate) async fn job(&self, id: &str) -> Value {
        self.get(&format!("/v1/jobs/{id}")).await.expect(200)
    }

    /// Asks for its end.
    pub(crate) async fn cancel(&self, id: &str) -> Value {
        self.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await.expect(200)
    }

    /// The job once it has this status.
    pub(crate) async fn until(&self, id: &str, status: &str) -> Value {
        eventually(&format!("{id} becomes {status}"), async || {
            let job = self.job(id).await;
            let now = job["status"].as_str().unwrap().to_owned();
            assert!(now == status || !is_terminal(&job), "{id} should become {status}: {job}");
            (now == status).then_some(job)
        })
        .await
    }

    /// The job once it is terminal.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        eventually(&format!("{id} ends"), async || {
            let job = self.job(id).await;
            is_terminal(&job).then_some(job)
        })
        .await
    }

    /// Available and held.
    pub(crate) async fn credits(&self) -> (i64, i64) {
        let credits = self.get("/v1/credits").await.expect(200);
        (credits["available"].as_i64().unwrap(), credits["held"].as_i64().unwrap())
    }

    /// What a submit would cost.
    pub(crate) async fn quote(&self, body: &Value) -> i64 {
        let quote = self.post("/v1/jobs/quote", body).await.expect(200);
        quote["credits"].as_i64().unwrap()
    }
}

/// Whether nothing comes after a job's status.
pub(crate) fn is_terminal(job: &Value) -> bool {
    matches!(job["status"].as_str().unwrap(), "succeeded" | "failed" | "canceled")
}
