//! The first start without a command: an account with demo credits, a key, one sample job with
//! visible progress, and a `curl` line that works.
//!
//! Stored: the account, and the key in the file `demo-key` of the data folder (readable by its
//! owner only), so that later starts can show the same line.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use config::context::Context;
use entities::{
    accounts::{self, AccountError, KeySecret, NewUser},
    ledger,
    operators::Acting,
};
use serde_json::{Value, json};

use crate::{admin, cli::say, start};

const EMAIL: &str = "demo@tiktomato.local";
const SAMPLE: &str = "a tomato at sunrise";

/// How to use the demo account.
pub(crate) struct Account {
    key: String,
    first_start: bool,
}

/// Makes the demo account on the first start, and finds it again later. `None`: it is turned off.
pub(crate) async fn account(context: &Context) -> Result<Option<Account>> {
    if !context.settings.demo.enabled {
        return Ok(None);
    }
    let file = context.settings.data.dir.join("demo-key");
    let known = accounts::find_workspace(&context.db, EMAIL).await;
    let first_start = match known {
        Ok(_) => false,
        Err(AccountError::NoUser(_)) => {
            create(context).await?;
            true
        }
        Err(error) => return Err(error.into()),
    };
    let kept = std::fs::read_to_string(&file).ok().map(|text| text.trim().to_owned());
    let works = match kept.as_deref().and_then(KeySecret::parse) {
        Some(key) => {
            accounts::authenticate(&context.db, &key, context.clock.now()).await?.is_some()
        }
        None => false,
    };
    let key = match kept {
        Some(key) if works => key,
        _ => {
            let by = Acting::at_the_command_line(context.clock.now());
            let (_, secret) = admin::new_key(&context.db, EMAIL, "demo", &by).await?;
            keep(file, secret.expose())
                .context("the demo key cannot be kept in the data folder")?;
            secret.expose().to_owned()
        }
    };
    Ok(Some(Account { key, first_start }))
}

async fn create(context: &Context) -> Result<()> {
    let limit = start::dispatch_limit(&context.settings);
    let new = NewUser::vouched_for(EMAIL, Some("Demo".to_owned()), limit);
    let (now, amount) = (context.clock.now(), context.settings.demo.credits);
    let tx = context.db.begin().await?;
    let made = accounts::create_user(&tx, &new, now).await?;
    ledger::grant(&tx, made.workspace.id, amount, "demo credits", now).await?;
    tx.commit().await?;
    Ok(())
}

fn keep(file: PathBuf, key: &str) -> std::io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    writeln!(file, "{key}")
}

/// Runs the sample job on the first start, then shows how to go on. With `once` the program stops
/// after that.
pub(crate) async fn show(context: Context, account: Option<Account>, once: bool) -> Result<()> {
    let result = match account {
        None => Ok(()),
        // A sample that a signal cuts off has not failed: the job goes on at the next start.
        Some(account) => match welcome(&context, &account, once).await {
            Err(_) if context.shutdown.is_draining() => Ok(()),
            result => result,
        },
    };
    if once || result.is_err() {
        context.shutdown.begin();
    }
    result
}

async fn welcome(context: &Context, account: &Account, once: bool) -> Result<()> {
    let base = address(context);
    let api = Api::new(base.clone(), &account.key)?;
    say(&format!("TikTomato listens on {base}"));
    if account.first_start || once {
        tokio::select! {
            done = sample(context, &api) => done?,
            () = context.shutdown.wait() => return Ok(()),
        }
    }
    if once {
        return Ok(());
    }
    say(&format!("\nYour API key: {}", account.key));
    say("Try it:\n");
    say(&format!(
        "  curl -s '{base}/v1/jobs' -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' \\\n    \
         -d '{{\"model\": \"demo/sketch\", \"input\": {{\"prompt\": \"a lighthouse in a storm\"}}}}'\n",
        account.key,
    ));
    say(&format!("The API is described at {base}/docs. Ctrl-C stops."));
    Ok(())
}

/// Where this process can be reached from this machine.
fn address(context: &Context) -> String {
    let mut listen = context.settings.gateway.listen;
    if listen.ip().is_unspecified() {
        listen.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{listen}")
}

async fn sample(context: &Context, api: &Api) -> Result<()> {
    let before = api.get("/v1/credits").await?;
    say(&format!("Credits before: {} available, {} held", before["available"], before["held"]));
    let body = json!({
        "model": "demo/sketch",
        "input": {"prompt": SAMPLE, "delay_seconds": 1.5},
    });
    let mut job = api.post("/v1/jobs", &body).await?;
    say(&format!("Sample job {}: \"{SAMPLE}\"", text(&job["id"])));
    let path = format!("/v1/jobs/{}", text(&job["id"]));
    let mut shown = String::new();
    loop {
        let line = progress(&job);
        if line != shown {
            say(&format!("  {line}"));
            shown = line;
        }
        match text(&job["status"]) {
            "queued" | "running" => {}
            "succeeded" => break,
            other => bail!("the sample job ended as {other}: {}", job["error"]["detail"]),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        job = api.get(&path).await?;
    }
    let output = &job["output"][0];
    let key = text(&output["url"]).split("/media/").nth(1).and_then(|rest| rest.split('?').next());
    let file = context.settings.media.dir.join(key.unwrap_or_default());
    say(&format!(
        "  {} x {} pixels, {} bytes: {}",
        output["width"],
        output["height"],
        output["bytes"],
        file.display()
    ));
    let after = api.get("/v1/credits").await?;
    say(&format!("Credits after: {} available, {} held", after["available"], after["held"]));
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn progress(job: &Value) -> String {
    match job["progress"].as_f64() {
        Some(part) if text(&job["status"]) == "running" => {
            format!("running, {:.0} %", part * 100.0)
        }
        _ => text(&job["status"]).to_owned(),
    }
}

/// The platform's own API, over HTTP like everybody else.
struct Api {
    client: reqwest::Client,
    base: String,
    key: String,
}

impl Api {
    #[expect(clippy::disallowed_methods, reason = "it talks to this very process only")]
    fn new(base: String, key: &str) -> Result<Self> {
        let client =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { client, base, key: key.to_owned() })
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.answer(self.client.get(format!("{}{path}", self.base))).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.answer(self.client.post(format!("{}{path}", self.base)).json(body)).await
    }

    /// Where the settings allow few requests, it comes back when it is told to.
    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        loop {
            let again = request.try_clone().context("the request cannot be repeated")?;
            let response = again.bearer_auth(&self.key).send().await?;
            let status = response.status();
            let wait = response.headers().get("retry-after").and_then(|wait| wait.to_str().ok());
            let wait: Option<u64> = wait.and_then(|wait| wait.parse().ok());
            if let (429, Some(seconds)) = (status.as_u16(), wait) {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                continue;
            }
            let body: Value = response.json().await?;
            if !status.is_success() {
                bail!("the sample job was refused: {}", body["detail"]);
            }
            return Ok(body);
        }
    }
}
