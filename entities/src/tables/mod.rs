//! The tables, as SeaORM entities: a file for each. What may change a row is said in the use cases.

pub mod api_keys;
pub mod attempts;
pub mod audit_events;
pub mod breakers;
pub mod callbacks;
pub mod entry_notes;
pub mod holds;
pub mod idempotency_keys;
pub mod identities;
pub mod job_uploads;
pub mod jobs;
pub mod key_spending;
pub mod leader_leases;
pub mod ledger_entries;
pub mod mail_tokens;
pub mod mails;
pub mod outputs;
pub mod sessions;
pub mod sign_ups;
pub mod switches;
pub mod throttles;
pub mod uploads;
pub mod users;
pub mod wallets;
pub mod worker_pools;
pub mod workspaces;
