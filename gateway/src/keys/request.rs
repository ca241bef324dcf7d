//! What makes a key: its body as the API describes it, read by hand so that every fault is told at
//! once.

use entities::{
    Credits, Timestamp,
    accounts::{Caller, NewKey, Scope, Scopes, SpendPeriod, SpendingLimit},
};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    json::unknown_fields,
    problem::{FieldError, Problem},
};

/// The longest name, in characters.
const NAME: usize = 100;

/// What makes a key, for the description of the API.
#[derive(ToSchema)]
#[schema(as = KeyRequest)]
#[expect(dead_code, reason = "it is only described; `read` reads it")]
pub(crate) struct KeyRequestSchema {
    /// What you call it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// `jobs:read`, `jobs:write`, `credits:read`, `account`: at least one.
    #[schema(min_items = 1)]
    scopes: Vec<String>,
    /// When it stops working; without it, or null, when it is revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<String>,
    /// What it may spend; without it, or null, the wallet is the only limit.
    spending_limit: Option<LimitSchema>,
}

/// The most that a key may hold or spend in one period.
#[derive(ToSchema)]
#[schema(as = SpendingLimitRequest)]
#[expect(dead_code, reason = "it is only described; `limit` reads it")]
pub(crate) struct LimitSchema {
    #[schema(minimum = 1)]
    credits: i64,
    /// `day` or `month`, in UTC.
    per: String,
}

pub(super) fn read(body: Value, caller: &Caller, now: Timestamp) -> Result<NewKey, Problem> {
    let Value::Object(mut fields) = body else {
        return Err(Problem::invalid(vec![FieldError::new("", "must be an object")]));
    };
    let mut faults = Vec::new();
    let mut note = |pointer: &str, detail: String| faults.push(FieldError::new(pointer, detail));
    let name = name(fields.remove("name")).map_err(|detail| note("/name", detail)).ok();
    let scopes = scopes(fields.remove("scopes")).map_err(|detail| note("/scopes", detail)).ok();
    let expires_at = end(take(&mut fields, "expires_at"), now)
        .map_err(|detail| note("/expires_at", detail))
        .ok();
    let spending_limit = limit(take(&mut fields, "spending_limit"))
        .map_err(|(pointer, detail)| note(&format!("/spending_limit{pointer}"), detail))
        .ok();
    faults.extend(unknown_fields("", &fields));
    let (Some(name), Some(scopes), Some(expires_at), Some(spending_limit), true) =
        (name, scopes, expires_at, spending_limit, faults.is_empty())
    else {
        return Err(Problem::invalid(faults));
    };
    let (user_id, workspace_id) = (caller.user_id, caller.workspace_id);
    Ok(NewKey { user_id, workspace_id, name, scopes, expires_at, spending_limit })
}

/// A field that may be left out; null is the same.
fn take(fields: &mut Map<String, Value>, name: &str) -> Option<Value> {
    fields.remove(name).filter(|value| !value.is_null())
}

fn name(value: Option<Value>) -> Result<String, String> {
    let Some(value) = value else { return Err("is required".to_owned()) };
    let fits = |text: &str| {
        (1..=NAME).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && !text.trim().is_empty()
    };
    match value {
        Value::String(text) if fits(&text) => Ok(text),
        _ => Err("must be a string of 1 to 100 characters that can be seen".to_owned()),
    }
}

fn scopes(value: Option<Value>) -> Result<Scopes, String> {
    let Some(value) = value else { return Err("is required".to_owned()) };
    let words = value.as_array().filter(|words| !words.is_empty());
    let scopes: Option<Scopes> =
        words.and_then(|words| words.iter().map(|word| word.as_str()?.parse().ok()).collect());
    scopes.ok_or_else(|| {
        let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
        format!("must be a list of at least one of {}", known.join(", "))
    })
}

fn end(value: Option<Value>, now: Timestamp) -> Result<Option<Timestamp>, String> {
    let Some(value) = value else { return Ok(None) };
    let end = value.as_str().is_some().then(|| serde_json::from_value(value).ok()).flatten();
    match end.filter(|end: &Timestamp| *end > now) {
        Some(end) => Ok(Some(end)),
        None => Err("must be a time to come, such as 2030-01-31T00:00:00Z".to_owned()),
    }
}

fn limit(value: Option<Value>) -> Result<Option<SpendingLimit>, (String, String)> {
    let Some(value) = value else { return Ok(None) };
    let wrong = |pointer: &str, detail: &str| (pointer.to_owned(), detail.to_owned());
    let Value::Object(mut fields) = value else { return Err(wrong("", "must be an object")) };
    let credits = fields.remove("credits").and_then(|credits| credits.as_i64());
    let credits = credits
        .filter(|credits| *credits > 0)
        .ok_or_else(|| wrong("/credits", "must be a whole number above 0"))?;
    let per = match fields.remove("per").as_ref().and_then(Value::as_str) {
        Some("day") => SpendPeriod::Day,
        Some("month") => SpendPeriod::Month,
        _ => return Err(wrong("/per", "must be day or month")),
    };
    match unknown_fields("", &fields).into_iter().next() {
        Some(fault) => Err((fault.pointer, fault.detail)),
        None => Ok(Some(SpendingLimit { credits: Credits(credits), per })),
    }
}

#[cfg(test)]
mod tests {
    use entities::{
        accounts::Credential,
        ids::{ApiKeyId, UserId, WorkspaceId},
    };
    use serde_json::json;

    use super::*;

    fn key(extra: Value) -> Result<NewKey, Problem> {
        let caller = Caller {
            credential: Credential::Key(ApiKeyId::generate()),
            user_id: UserId::generate(),
            workspace_id: WorkspaceId::generate(),
            scopes: Scopes::all(),
        };
        let mut body = json!({"name": "CI", "scopes": ["jobs:read"]});
        for (name, value) in extra.as_object().unwrap() {
            body[name] = value.clone();
        }
        read(body, &caller, Timestamp(1_760_000_000_000_000))
    }

    #[test]
    fn a_key_is_read() {
        let new = key(json!({"expires_at": null})).unwrap();
        assert_eq!((new.expires_at, new.spending_limit), (None, None));
        let new = key(json!({
            "scopes": ["account", "jobs:write", "account"],
            "expires_at": "2030-01-31T01:00:00+01:00",
            "spending_limit": {"credits": 5, "per": "month"},
        }))
        .unwrap();
        assert_eq!(new.scopes.to_string(), "jobs:write account");
        assert_eq!(new.expires_at.unwrap().to_string(), "2030-01-31T00:00:00.000000Z");
        let limit = SpendingLimit { credits: Credits(5), per: SpendPeriod::Month };
        assert_eq!(new.spending_limit, Some(limit));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            json!({"name": ""}),
            json!({"name": " "}),
            json!({"name": "x".repeat(101)}),
            json!({"name": "a\nb"}),
            json!({"name": null}),
            json!({"scopes": []}),
            json!({"scopes": ["everything"]}),
            json!({"scopes": "account"}),
            json!({"scopes": [1]}),
            json!({"expires_at": "2020-01-01T00:00:00Z"}),
            json!({"expires_at": "tomorrow"}),
            json!({"expires_at": 1_900_000_000}),
            json!({"spending_limit": 5}),
            json!({"spending_limit": {"credits": 0, "per": "day"}}),
            json!({"spending_limit": {"credits": 1.5, "per": "day"}}),
            json!({"spending_limit": {"credits": 5, "per": "week"}}),
            json!({"spending_limit": {"credits": 5}}),
            json!({"spending_limit": {"credits": 5, "per": "day", "x": 1}}),
            json!({"x": 1}),
        ] {
            assert!(key(bad.clone()).is_err(), "{bad}");
        }
    }
}
