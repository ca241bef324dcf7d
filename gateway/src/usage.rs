//! `GET /v1/usage`: what the workspace used, by day, by model or by key.

use axum::{Json, extract::State};
use chrono::{Days, NaiveDate, Utc};
use entities::{
    Timestamp,
    ids::ApiKeyId,
    usage::{self, Group, GroupKey, Used},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    auth::AccountScope,
    extract::{Parameters, refused},
    openapi::List,
    problem::{Problem, ProblemBody},
};

/// How many days are summarised at most.
const MOST_DAYS: i64 = 366;

/// How many days are summarised when nothing is said.
const USUAL_DAYS: u64 = 30;

/// One day, model or key, and what it used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageBody {
    /// Always `usage`.
    object: &'static str,
    /// The day in UTC; only when grouped by day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Date)]
    day: Option<NaiveDate>,
    /// The model, null for what is about none; only when grouped by model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    model: Option<Option<String>>,
    /// The key's id, null for what was done signed in; only when grouped by key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    key: Option<Option<ApiKeyId>>,
    /// Requests to the API, for as long as their log is kept.
    requests: i64,
    /// Jobs that were accepted.
    jobs: i64,
    /// Credits that were charged.
    credits: i64,
}

impl UsageBody {
    fn new(part: GroupKey, used: Used) -> Self {
        let (mut day, mut model, mut key) = (None, None, None);
        match part {
            GroupKey::Day(date) => day = Some(date),
            GroupKey::Model(id) => model = Some(id),
            GroupKey::Key(id) => key = Some(id),
        }
        let Used { requests, jobs, credits } = used;
        Self { object: "usage", day, model, key, requests, jobs, credits: credits.0 }
    }
}

/// What was used, by day, model or key. Requests are known for as long as their log is kept; jobs
/// and credits always. A job counts on the day of its submit, credits on the day they are charged.
#[utoipa::path(get, path = "/v1/usage", tag = "usage", security(("api_key" = ["account"])),
    params(
        ("from" = Option<String>, Query, format = Date,
            description = "the first day in UTC, such as 2026-11-01; without it, 30 days in all"),
        ("to" = Option<String>, Query, format = Date,
            description = "the last day in UTC; without it, today"),
        ("group" = Option<String>, Query, description = "`day` (usual), `model` or `key`"),
    ),
    responses(
        (status = 200, body = List<UsageBody>),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn summary(
    State(app): State<App>,
    AccountScope(caller): AccountScope,
    mut parameters: Parameters,
) -> Result<Json<List<UsageBody>>, Problem> {
    let today = chrono::DateTime::<Utc>::from(app.context.clock.now()).date_naive();
    let (group, from, to) = read(&mut parameters, today)?;
    parameters.end()?;
    let found = usage::summarise(&app.context.db, caller.workspace_id, group, from, to).await;
    let parts = found.map_err(Problem::database)?.into_iter();
    Ok(Json(List::whole(parts.map(|(part, used)| UsageBody::new(part, used)).collect())))
}

/// The group, and the span of time: from its beginning, before its end.
fn read(
    parameters: &mut Parameters,
    today: NaiveDate,
) -> Result<(Group, Timestamp, Timestamp), Problem> {
    let what = "a day in UTC, such as 2026-11-26";
    let from: Option<NaiveDate> = parameters.parsed("from", what)?;
    let to: Option<NaiveDate> = parameters.parsed("to", what)?;
    let group = match parameters.text("group").as_deref() {
        None | Some("day") => Group::Day,
        Some("model") => Group::Model,
        Some("key") => Group::Key,
        Some(_) => return Err(refused("group", "must be day, model or key")),
    };
    let to = to.unwrap_or(today);
    let from = from.or_else(|| to.checked_sub_days(Days::new(USUAL_DAYS - 1))).unwrap_or(to);
    let days = to.signed_duration_since(from).num_days();
    if days < 0 {
        return Err(refused("from", "must not be after to"));
    }
    if days >= MOST_DAYS {
        return Err(refused("from", format!("must not be {MOST_DAYS} days or more before to")));
    }
    let end = to.succ_opt().unwrap_or(to);
    Ok((group, start(from), start(end)))
}

fn start(day: NaiveDate) -> Timestamp {
    day.and_hms_opt(0, 0, 0).map_or(Timestamp(0), |start| start.and_utc().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<(Group, String, String), Problem> {
        let mut parameters = Parameters::parse(query)?;
        let today = NaiveDate::from_ymd_opt(2026, 11, 26).unwrap();
        let (group, from, to) = read(&mut parameters, today)?;
        parameters.end()?;
        Ok((group, from.to_string()[..10].to_owned(), to.to_string()[..10].to_owned()))
    }

    #[test]
    fn whole_days_are_asked_for() {
        let days = |group, from: &str, to: &str| Ok((group, from.to_owned(), to.to_owned()));
        assert_eq!(asked(""), days(Group::Day, "2026-10-28", "2026-11-27"));
        assert_eq!(
            asked("from=2026-11-01&to=2026-11-01&group=model"),
            days(Group::Model, "2026-11-01", "2026-11-02")
        );
        assert_eq!(
            asked("from=2025-11-26&group=key"),
            days(Group::Key, "2025-11-26", "2026-11-27")
        );
        for bad in [
            "from=2026-11-27",
            "from=2025-11-25",
            "from=yesterday",
            "to=2026-02-30",
            "group=hour",
            "group=",
            "x=1",
        ] {
            assert!(asked(bad).is_err(), "{bad}");
        }
    }
}
