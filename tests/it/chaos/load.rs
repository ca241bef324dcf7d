//! Clients as they should be written: an idempotency key for every job, and the same request again
//! until it is answered.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::{mishaps::Weather, plan::Order};
use crate::harness::{Answer, Api};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long it tries again.
const STUBBORN: Duration = Duration::from_secs(180);

/// A job that was answered with 202.
pub(super) struct Placed {
    pub(super) n: usize,
    pub(super) user: usize,
    pub(super) id: String,
    pub(super) body: Value,
    pub(super) weather: Weather,
    pub(super) canceled: bool,
}

/// Places all orders, each at its time; what went wrong besides.
pub(super) async fn place(
    users: &[Api],
    bases: &[String],
    orders: Vec<Order>,
) -> (Vec<Placed>, Vec<String>) {
    let began = Instant::now();
    let all = orders.into_iter().map(async |order| {
        sleep_until(began + order.at).await;
        let client =
            Client { user: &users[order.user], bases, dice: StdRng::seed_from_u64(order.seed) };
        client.place(order).await
    });
    let mut all = stream::iter(all).buffer_unordered(usize::MAX);
    let (mut placed, mut wrong) = (Vec::new(), Vec::new());
    while let Some(result) = all.next().await {
        match result {
            Ok(one) => placed.push(one),
            Err(text) => wrong.push(text),
        }
    }
    (placed, wrong)
}

struct Client<'a> {
    user: &'a Api,
    bases: &'a [String],
    dice: StdRng,
}

impl Client<'_> {
    async fn place(mut self, order: Order) -> Result<Placed, String> {
        let (key, body) = (format!("order-{}", order.n), &order.body);
        let what = format!("the submit of {key}");
        let job = self.until("/v1/jobs", Some(&key), body, 202, &what).await?;
        let id = job["id"].as_str().unwrap_or_default().to_owned();
        if order.again {
            let again = self.until("/v1/jobs", Some(&key), body, 202, &what).await?;
            if again["id"] != id.as_str() {
                return Err(format!("{what} made two jobs: {id} and {}", again["id"]));
            }
        }
        if let Some(wait) = order.cancel {
            sleep(wait).await;
            let path = format!("/v1/jobs/{id}/cancel");
            self.until(&path, None, &json!({}), 200, &format!("the cancel of {id}")).await?;
        }
        let canceled = order.cancel.is_some();
        let Order { n, user, body, weather, .. } = order;
        Ok(Placed { n, user, id, body, weather, canceled })
    }

    /// Sends the same request until it is answered.
    async fn until(
        &mut self,
        path: &str,
        key: Option<&str>,
        body: &Value,
        wanted: u16,
        what: &str,
    ) -> Result<Value, String> {
        let deadline = Instant::now() + STUBBORN;
        let mut last = String::new();
        while Instant::now() < deadline {
            let base = self.bases[self.dice.random_range(0..self.bases.len())].clone();
            let user = Api { base, ..self.user.clone() };
            let mut request = user.request(Method::POST, path).json(body).timeout(PATIENCE);
            if let Some(key) = key {
                request = request.header("Idempotency-Key", key);
            }
            match Answer::to(request).await {
                Ok(answer) if answer.status == wanted => return Ok(answer.json()),
                Ok(answer) if answer.status == 503 => last = "503".to_owned(),
                Ok(answer) => {
                    let text = String::from_utf8_lossy(&answer.bytes).into_owned();
                    return Err(format!("{what} was answered with {}: {text}", answer.status));
                }
                Err(error) => last = error.to_string(),
            }
            let wait = Duration::from_millis(self.dice.random_range(50..300));
            sleep(wait).await;
        }
        Err(format!("{what} was not answered within {STUBBORN:?}; the last try: {last}"))
    }
}
