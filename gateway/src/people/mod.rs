//! People: signing up, in and out, passwords, Google, sessions, and what happened to an account.
//!
//! | file | what |
//! |---|---|
//! | `sign_up`, `sign_in`, `recover` | the use cases, and their JSON routes |
//! | `signed_in` | the session that they begin |
//! | `google/` | signing in with Google |
//! | `sessions`, `audit` | looking at one's own |
//! | `pages` | the same use cases as plain HTML pages |
//! | `visitor`, `cookies`, `age` | what comes in |
//! | `throttles` | how often somebody may try |
//! | `same_site` | requests of other sites' pages are refused |
//!
//! A known and an unknown address get the same answer after the same work: where somebody has an
//! account is found out when a mail goes out, and a password is hashed for nobody as for anybody.
//! There is no account before its address is proven, so nobody can prepare one for somebody else;
//! and proving it signs nobody in, so that whoever did not choose the password must choose a new
//! one.

mod age;
mod audit;
mod cookies;
pub(crate) mod google;
mod pages;
mod recover;
mod round_time;
mod same_site;
mod sessions;
mod sign_in;
mod sign_up;
mod signed_in;
mod throttles;
mod visitor;

pub(crate) use audit::*;
pub(crate) use cookies::{AGE, DEVICE, FLOW, NEWCOMER, SESSION};
pub(crate) use google::Google;
pub(crate) use pages::routes as pages;
pub(crate) use recover::*;
pub(crate) use same_site::guard;
pub(crate) use sessions::*;
pub(crate) use sign_in::*;
pub(crate) use sign_up::*;
pub(crate) use signed_in::Whose;
pub(crate) use throttles::may_change_to;
pub(crate) use visitor::{Visitor, origin};
