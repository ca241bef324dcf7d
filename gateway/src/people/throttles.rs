//! How often somebody may try. What is counted is a keyed hash, the same for every address whether
//! it has an account or not.
//!
//! Wrong passwords are counted for each pair of an account and a network, for each network, and for
//! each account from everywhere. The last one alone could be used to lock an owner out, so a
//! browser that has signed in to the account before has a count of its own instead, and so has one
//! that came by a reset mail. Mails to one address are limited without a word: the links that were
//! sent still work.

use std::time::Duration;

use config::{context::Context, secrets::Purpose};
use entities::throttle::{self, Rate};
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};

use super::{
    cookies::{self, DEVICE, DEVICE_LASTS},
    visitor::Visitor,
};
use crate::problem::{Code, Problem};

const fn rate(burst: u32, seconds: u64) -> Rate {
    Rate { burst, every: Duration::from_secs(seconds) }
}

/// Wrong passwords of one network, whosever account.
const NETWORK: Rate = rate(60, 5);
/// Wrong passwords for one account from one network.
const PAIR: Rate = rate(10, 60);
/// Wrong passwords for one account from one browser that has signed in to it.
const KNOWN_DEVICE: Rate = rate(10, 60);
/// Wrong passwords for one account from everywhere.
const ACCOUNT: Rate = rate(30, 30);
/// Sign-ups and forgotten passwords of one network.
const ASKING: Rate = rate(30, 20);
/// Mails to one address that strangers can cause.
const MAILS: Rate = rate(4, 600);

/// A browser that has signed in to an account.
#[derive(Debug, Serialize, Deserialize)]
struct Device {
    account: String,
    nonce: String,
}

/// A try to sign in that was let through.
pub(super) struct Admitted {
    counted: Vec<u8>,
}

fn name(context: &Context, parts: &[&str]) -> Vec<u8> {
    context.secrets.sign(Purpose::Throttle, parts.join("\n").as_bytes()).into_bytes()
}

async fn count(context: &Context, parts: &[&str], rate: Rate) -> Result<(), Problem> {
    let key = name(context, parts);
    let wait = throttle::take(context.db.write(), &key, rate, context.clock.now())
        .await
        .map_err(Problem::database)?;
    wait.map_or(Ok(()), |wait| Err(too_many(wait)))
}

fn too_many(wait: Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let detail = format!(
        "Too many attempts. Try again in {seconds} seconds, or ask for a new password by mail."
    );
    Problem::new(Code::TooManyAttempts, detail)
        .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// Counts a try to sign in to the account of an address.
pub(super) async fn sign_in(
    context: &Context,
    visitor: &Visitor,
    email: &str,
) -> Result<Admitted, Problem> {
    count(context, &["sign-in", &visitor.network], NETWORK).await?;
    if let Some(nonce) = known_device(context, visitor, email) {
        let parts = ["sign-in device", email, &nonce];
        count(context, &parts, KNOWN_DEVICE).await?;
        return Ok(Admitted { counted: name(context, &parts) });
    }
    let parts = ["sign-in pair", email, &visitor.network];
    count(context, &parts, PAIR).await?;
    count(context, &["sign-in account", email], ACCOUNT).await?;
    Ok(Admitted { counted: name(context, &parts) })
}

/// A try that was right is not held against anybody.
pub(super) async fn succeeded(context: &Context, admitted: Admitted) -> Result<(), Problem> {
    throttle::forget(context.db.write(), &admitted.counted).await.map_err(Problem::database)
}

/// Counts somebody who asks for something without a password.
pub(super) async fn asking(context: &Context, visitor: &Visitor) -> Result<(), Problem> {
    count(context, &["asking", &visitor.network], ASKING).await
}

/// Whether one more mail may go to an address because a stranger says so.
pub(super) async fn may_mail(context: &Context, kind: &str, email: &str) -> Result<bool, Problem> {
    let key = name(context, &["mail", kind, email]);
    let wait = throttle::take(context.db.write(), &key, MAILS, context.clock.now()).await;
    Ok(wait.map_err(Problem::database)?.is_none())
}

/// Whether somebody who is signed in may have a link sent to this address, which may be a stranger's.
pub(crate) async fn may_change_to(context: &Context, email: &str) -> Result<(), Problem> {
    let email = entities::accounts::canonical(email).unwrap_or_else(|_| email.to_owned());
    if may_mail(context, "change", &email).await? {
        return Ok(());
    }
    let detail = "This address was written to several times already. Try again in an hour.";
    let wait = HeaderValue::from(3_600);
    Err(Problem::new(Code::RateLimited, detail).with_header(header::RETRY_AFTER, wait))
}

/// What a browser keeps that has signed in to the account.
pub(super) fn remember(context: &Context, email: &str) -> String {
    let nonce = hex::encode(&config::random::secret()[..16]);
    let device = Device { account: account(context, email), nonce };
    let until = context.clock.now().after(DEVICE_LASTS);
    cookies::seal(&context.secrets, DEVICE, &device, until)
}

fn known_device(context: &Context, visitor: &Visitor, email: &str) -> Option<String> {
    let sealed = visitor.device.as_deref()?;
    let device: Device = cookies::open(&context.secrets, DEVICE, sealed, context.clock.now())?;
    (device.account == account(context, email)).then_some(device.nonce)
}

/// The account in a cookie: nobody can read the address out of it.
fn account(context: &Context, email: &str) -> String {
    context.secrets.sign(Purpose::Throttle, format!("device\n{email}").as_bytes())
}
