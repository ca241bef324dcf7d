//! The HTTP API.
//!
//! Thin: a handler parses, authenticates, calls one use case and responds. What is asked of the
//! platform (catalogue, media, settings, metrics) is asked in `platform` and `pricing`; everything
//! that a client can do wrong ends as one `problem::Problem`.
//!
//! | file | what |
//! |---|---|
//! | `app` | the router, its layers, and serving it |
//! | `finish` | what every response has: request id, problem body, metrics, headers |
//! | `address`, `browser` | where a request comes from |
//! | `auth`, `callers`, `extract`, `fields`, `json` | what comes in |
//! | `admin/` | what operators do |
//! | `jobs/`, `models`, `credits`, `keys`, `usage`, `media` | a file for each resource |
//! | `people/` | signing up and in, sessions, pages |
//! | `account/`, `privacy` | one's own data, and the policy about it |
//! | `waiters` | waking whoever waits for a job |
//! | `limits` | how many requests at the same time, and for how long |
//! | `rate` | how often somebody may ask |
//! | `usage_log` | a row for each request |
//! | `last_use` | when each key was last used |
//! | `openapi` | the description of all this, for programs |

mod account;
mod address;
mod admin;
mod app;
mod auth;
mod browser;
mod callbacks;
mod callers;
mod credits;
mod extract;
mod fields;
mod finish;
mod jobs;
mod json;
mod keys;
mod last_use;
mod limits;
mod media;
mod models;
mod openapi;
mod people;
mod platform;
mod pricing;
mod privacy;
mod problem;
mod range;
mod rate;
mod uploads;
mod usage;
mod usage_log;
mod waiters;

pub use app::{router, serve};
