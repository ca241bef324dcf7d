//! The age question: a date of birth, asked of everybody in the same neutral way. It is looked at
//! and forgotten. Somebody under 13 gets no account, nothing of them is stored, and their browser
//! remembers until it is closed, so that another date is not believed.

use chrono::{Datelike as _, NaiveDate};
use config::context::Context;

use super::{
    cookies::{AGE, Cookies},
    visitor::Visitor,
};
use crate::problem::{Code, FieldError, Problem};

/// From this age on somebody may have an account.
const LEAST: i32 = 13;

/// Nobody is older.
const MOST: i32 = 130;

/// Whether somebody with this date of birth may have an account.
///
/// # Errors
/// `too_young`, or what is wrong with the date.
pub(super) fn check(context: &Context, visitor: &Visitor, born: &str) -> Result<(), Problem> {
    if visitor.said_too_young {
        return Err(too_young());
    }
    let now = chrono::DateTime::<chrono::Utc>::from(context.clock.now()).date_naive();
    match may(born, now) {
        Some(true) => Ok(()),
        Some(false) => Err(too_young()),
        None => {
            let detail = "must be a date of birth such as 1990-12-31";
            Err(Problem::invalid(vec![FieldError::new("/birth_date", detail)]))
        }
    }
}

fn too_young() -> Problem {
    let detail = "We cannot make an account for you. Nothing that you entered was kept.";
    Cookies::default()
        .set(AGE, "1", None)
        .into_values()
        .into_iter()
        .fold(Problem::new(Code::TooYoung, detail), |problem, value| {
            problem.with_header(http::header::SET_COOKIE, value)
        })
}

/// `None`: not a date that somebody alive was born on.
fn may(born: &str, today: NaiveDate) -> Option<bool> {
    if born.len() != 10 {
        return None;
    }
    let born = NaiveDate::parse_from_str(born, "%Y-%m-%d").ok()?;
    if born > today || today.year() - born.year() > MOST {
        return None;
    }
    // Whoever was born on 29 February is a year older on 1 March.
    let year = born.year() + LEAST;
    let since = born.with_year(year).or_else(|| NaiveDate::from_ymd_opt(year, 3, 1))?;
    Some(since <= today)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirteen_is_counted_to_the_day() {
        let on = |born: &str, today: &str| may(born, today.parse().unwrap());
        assert_eq!(on("2013-06-15", "2026-06-14"), Some(false));
        assert_eq!(on("2013-06-15", "2026-06-15"), Some(true));
        assert_eq!(on("2012-02-29", "2025-02-28"), Some(false));
        assert_eq!(on("2012-02-29", "2025-03-01"), Some(true));
        assert_eq!(on("2026-06-15", "2026-06-15"), Some(false));
        for bad in [
            "",
            "x",
            "2026-06-16",
            "1880-01-01",
            "2001-02-29",
            "2001-2-3",
            "15.06.2001",
            "2001-06-15 ",
        ] {
            assert_eq!(on(bad, "2026-06-15"), None, "{bad}");
        }
    }
}
