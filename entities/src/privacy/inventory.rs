//! Every column of every table, and whether it holds personal data: for what, how long, and where it
//! is erased. A column of the live schema that is not here, or one here that the schema does not
//! have, fails a test and the report: whoever adds a column decides this first.
//!
//! Ids are no personal data by themselves: once a person's own row is emptied they lead to nobody.

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Until its job's content expires (`retention.content_days`, or sooner by `expires_in`).
    Content,
    /// Like content, and deleted sooner with what it belongs to.
    Exports,
    /// Until the owner deletes it, or the account.
    Account,
    /// Seven days.
    Week,
    /// Until the mail is sent, the link used, or its time over.
    Short,
    /// Until the session ends.
    Session,
    /// The time of the usage log.
    UsageLog,
    /// The time of the audit log.
    Audit,
    /// An address that had its free credits has no second account with them.
    WhileGrants,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// Nothing about a person.
    Plain,
    /// Something about a person.
    Personal {
        /// What it is needed for.
        purpose: &'static str,
        /// How long it is kept.
        kept: Kept,
        /// What erases it.
        erased: &'static str,
    },
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub data: Data,
}

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [Column],
}

const fn plain(name: &'static str) -> Column {
    Column { name, data: Data::Plain }
}

const fn personal(
    name: &'static str,
    purpose: &'static str,
    kept: Kept,
    erased: &'static str,
) -> Column {
    Column { name, data: Data::Personal { purpose, kept, erased } }
}

const ENTRY: &str = "the account's deletion empties the row at once";
const SIGN_UP: &str = "its own time; it becomes the account when the address is proven";
const CONTENT: &str = "the scheduler's `expire` task, a job's deletion, the account's deletion";
const USAGE: &str = "the scheduler's `usage_log` task, the account's deletion";
const AUDIT: &str = "its own retention; the account's deletion empties it";
const ENDS: &str = "the account's deletion deletes the row";

/// All of them.
pub const INVENTORY: &[Table] = &[
    Table {
        name: "api_keys",
        columns: &[
            plain("id"),
            plain("workspace_id"),
            plain("user_id"),
            personal("name", "the owner's words, to tell keys apart", Kept::Account, ENDS),
            personal("hint", "the end of the secret, to tell keys apart", Kept::Account, ENDS),
            personal("hash", "to recognise the key", Kept::Account, ENDS),
            plain("created_at"),
            personal("last_used_at", "to show the owner what is in use", Kept::Account, ENDS),
            plain("revoked_at"),
            plain("scopes"),
            plain("expires_at"),
            plain("spend_limit"),
            plain("spend_period"),
        ],
    },
    Table {
        name: "attempts",
        columns: &[
            plain("id"),
            plain("job_id"),
            plain("number"),
            plain("route"),
            plain("provider"),
            plain("provider_model"),
            plain("outcome"),
            plain("request_id"),
            personal("handle", "links to the result at the provider", Kept::Content, CONTENT),
            plain("started_at"),
            plain("accepted_at"),
            plain("finished_at"),
            plain("cost_usd_micros"),
            plain("billed_units_micros"),
            plain("possible_cost_usd_micros"),
        ],
    },
    Table {
        name: "audit_events",
        columns: &[
            plain("id"),
            plain("at"),
            plain("user_id"),
            plain("actor_id"),
            plain("action"),
            personal("address", "to tell the owner who used the account", Kept::Audit, AUDIT),
            personal("browser", "to tell the owner who used the account", Kept::Audit, AUDIT),
            personal("detail", "ids and names of methods, for the owner", Kept::Audit, AUDIT),
        ],
    },
    Table { name: "audit_horizon", columns: &[plain("id"), plain("kept_from")] },
    Table {
        name: "breakers",
        columns: &[
            plain("provider"),
            plain("model"),
            plain("window_from"),
            plain("calls"),
            plain("failures"),
            plain("failed_row"),
            plain("cause"),
            plain("opened_at"),
            plain("opens"),
            plain("retry_at"),
            plain("probed_at"),
            plain("throttled_until"),
            plain("trouble"),
            plain("trouble_at"),
        ],
    },
    Table {
        name: "callbacks",
        columns: &[
            plain("id"),
            plain("attempt_id"),
            plain("provider"),
            plain("received_at"),
            personal("headers", "to check the provider's signature", Kept::Content, CONTENT),
            personal("body", "to check the provider's signature", Kept::Content, CONTENT),
            plain("processed_at"),
            plain("verdict"),
        ],
    },
    Table {
        name: "entry_notes",
        columns: &[
            plain("entry_id"),
            personal("note", "to tell the owner why credits moved", Kept::Account, ENDS),
        ],
    },
    Table {
        name: "erasures",
        columns: &[
            plain("id"),
            plain("user_id"),
            plain("workspace_id"),
            plain("token_hash"),
            personal(
                "address_mark",
                "a keyed hash of the address, to find mails to it that lie in a folder",
                Kept::Short,
                "the end of the erasure",
            ),
            plain("asked_by"),
            plain("state"),
            plain("requested_at"),
            plain("drained_at"),
            plain("erased_at"),
            plain("jobs"),
            plain("files"),
            plain("uploads"),
            plain("exports"),
            plain("api_keys"),
            plain("sessions"),
            plain("log_rows"),
            plain("copies_asked"),
            plain("copies_deleted"),
            plain("copies_kept"),
        ],
    },
    Table {
        name: "exports",
        columns: &[
            plain("id"),
            plain("user_id"),
            plain("workspace_id"),
            plain("state"),
            plain("epoch"),
            plain("tries"),
            plain("lease_until"),
            personal(
                "key",
                "the file with a copy of the person's data",
                Kept::Exports,
                "the scheduler's `exports` task, the account's deletion",
            ),
            plain("bytes"),
            plain("created_at"),
            plain("ready_at"),
            plain("expires_at"),
        ],
    },
    Table {
        name: "grant_marks",
        columns: &[
            personal(
                "mark",
                "a keyed hash of an address that had its free credits, so that it gets none again",
                Kept::WhileGrants,
                "kept: it can be compared with an address only by who has the master secret",
            ),
            plain("made_at"),
        ],
    },
    Table {
        name: "holds",
        columns: &[
            plain("job_id"),
            plain("workspace_id"),
            plain("amount"),
            plain("captured"),
            plain("released"),
            plain("opened_at"),
            plain("closed_at"),
        ],
    },
    Table {
        name: "idempotency_keys",
        columns: &[
            plain("workspace_id"),
            personal(
                "key",
                "the client's own word for a submit, to answer a repetition",
                Kept::Week,
                "the scheduler's `forget` task, the account's deletion",
            ),
            personal(
                "body_hash",
                "a fingerprint of the submit, to notice another one under the same key",
                Kept::Week,
                "the scheduler's `forget` task, the account's deletion",
            ),
            plain("job_id"),
            plain("created_at"),
        ],
    },
    Table {
        name: "identities",
        columns: &[
            plain("id"),
            plain("provider"),
            personal("subject", "to sign in by another service", Kept::Account, ENDS),
            plain("user_id"),
            personal("email", "to tell the owner which account it is", Kept::Account, ENDS),
            plain("created_at"),
        ],
    },
    Table { name: "job_uploads", columns: &[plain("job_id"), plain("upload_id")] },
    Table {
        name: "jobs",
        columns: &[
            plain("id"),
            plain("workspace_id"),
            plain("api_key_id"),
            plain("model"),
            plain("kind"),
            plain("pool"),
            plain("state"),
            plain("epoch"),
            plain("version"),
            personal("input", "the prompt and settings, to make the media", Kept::Content, CONTENT),
            personal("metadata", "the client's own pairs", Kept::Content, CONTENT),
            personal("resolved", "the same input as a provider gets it", Kept::Content, CONTENT),
            plain("outputs_expected"),
            plain("created_at"),
            plain("ready_at"),
            plain("dispatched_at"),
            plain("pushed_at"),
            plain("pushes"),
            plain("lease_until"),
            plain("next_poll_at"),
            plain("polls"),
            plain("attempts"),
            plain("route"),
            plain("refusals"),
            plain("lost_leases"),
            plain("store_tries"),
            plain("queue_deadline"),
            plain("run_deadline"),
            plain("uncertain_until"),
            plain("started_at"),
            plain("finished_at"),
            plain("cancel_requested"),
            plain("cancel_sent"),
            plain("progress"),
            plain("error_code"),
            personal("error_detail", "may repeat a part of the input", Kept::Content, CONTENT),
            plain("expires_at"),
            plain("deleted_at"),
            plain("erased_at"),
        ],
    },
    Table { name: "key_spending", columns: &[plain("key_id"), plain("period"), plain("spent")] },
    Table {
        name: "leader_leases",
        columns: &[plain("name"), plain("holder"), plain("epoch"), plain("lease_until")],
    },
    Table {
        name: "ledger_entries",
        columns: &[
            plain("id"),
            plain("workspace_id"),
            plain("kind"),
            plain("reference"),
            plain("from_account"),
            plain("to_account"),
            plain("amount"),
            plain("created_at"),
        ],
    },
    Table { name: "lost_files", columns: &[plain("key"), plain("found_at")] },
    Table {
        name: "mail_tokens",
        columns: &[
            plain("id"),
            plain("user_id"),
            plain("purpose"),
            personal("email", "the address that the link proves", Kept::Short, ENDS),
            plain("created_at"),
            plain("expires_at"),
        ],
    },
    Table {
        name: "mails",
        columns: &[
            plain("id"),
            plain("user_id"),
            plain("template"),
            personal("recipient", "to send the mail", Kept::Short, ENDS),
            plain("token_id"),
            plain("created_at"),
            plain("attempts"),
            plain("next_at"),
        ],
    },
    Table {
        name: "outputs",
        columns: &[
            plain("id"),
            plain("job_id"),
            plain("workspace_id"),
            plain("position"),
            personal("key", "the file that was made", Kept::Content, CONTENT),
            plain("content_type"),
            plain("bytes"),
            plain("sha256"),
            plain("width"),
            plain("height"),
            plain("duration_ms"),
            plain("created_at"),
            plain("deleted_at"),
            plain("thumbnail_type"),
            plain("thumbnail_bytes"),
            plain("thumbnail_width"),
            plain("thumbnail_height"),
        ],
    },
    Table {
        name: "provider_copies",
        columns: &[
            plain("attempt_id"),
            plain("erasure_id"),
            plain("provider"),
            plain("request_id"),
            plain("tries"),
            plain("next_try_at"),
            plain("asked_at"),
        ],
    },
    Table { name: "seaql_migrations", columns: &[plain("version"), plain("applied_at")] },
    Table {
        name: "sessions",
        columns: &[
            plain("id"),
            plain("user_id"),
            plain("workspace_id"),
            personal("hash", "to recognise the cookie", Kept::Session, ENDS),
            plain("method"),
            personal("address", "to tell the owner where they are signed in", Kept::Session, ENDS),
            personal("browser", "to tell the owner where they are signed in", Kept::Session, ENDS),
            plain("created_at"),
            plain("last_seen_at"),
            plain("expires_at"),
        ],
    },
    Table {
        name: "sign_ups",
        columns: &[
            plain("id"),
            personal("email", "to make the account once it is proven", Kept::Short, SIGN_UP),
            personal("name", "to make the account", Kept::Short, SIGN_UP),
            personal("password_hash", "to make the account", Kept::Short, SIGN_UP),
            personal("address", "to tell the owner who signed up", Kept::Short, SIGN_UP),
            personal("browser", "to tell the owner who signed up", Kept::Short, SIGN_UP),
            plain("created_at"),
            plain("expires_at"),
        ],
    },
    Table {
        name: "switches",
        columns: &[plain("provider"), plain("model"), plain("reason"), plain("off_at")],
    },
    Table {
        name: "throttles",
        columns: &[
            personal("key", "a keyed hash of who tries to sign in", Kept::Short, "its own time"),
            plain("free_at"),
        ],
    },
    Table {
        name: "uploads",
        columns: &[
            plain("id"),
            plain("workspace_id"),
            personal(
                "key",
                "the file that was handed in",
                Kept::Content,
                "the scheduler's `uploads` task, its owner, the account's deletion",
            ),
            plain("made_for_job"),
            plain("content_type"),
            plain("bytes"),
            plain("sha256"),
            plain("width"),
            plain("height"),
            plain("created_at"),
            plain("stored_at"),
            plain("expires_at"),
            plain("deleted_at"),
        ],
    },
    Table {
        name: "usage_log",
        columns: &[
            personal("at", "rate limits and security", Kept::UsageLog, USAGE),
            personal("method", "rate limits and security", Kept::UsageLog, USAGE),
            personal("route", "rate limits and security", Kept::UsageLog, USAGE),
            personal("status", "rate limits and security", Kept::UsageLog, USAGE),
            personal("browser", "rate limits and security", Kept::UsageLog, USAGE),
            personal("address", "rate limits and security", Kept::UsageLog, USAGE),
            personal("key_id", "rate limits and security", Kept::UsageLog, USAGE),
            personal("workspace_id", "rate limits and security", Kept::UsageLog, USAGE),
            personal("user_id", "rate limits and security", Kept::UsageLog, USAGE),
            personal("model", "to show the owner what was used", Kept::UsageLog, USAGE),
        ],
    },
    Table {
        name: "users",
        columns: &[
            plain("id"),
            personal("email", "to sign in and to be written to", Kept::Account, ENTRY),
            personal("name", "to be addressed by", Kept::Account, ENTRY),
            plain("created_at"),
            plain("email_verified_at"),
            personal("password_hash", "to check the password", Kept::Account, ENTRY),
            plain("role"),
            plain("erased_at"),
        ],
    },
    Table { name: "wallets", columns: &[plain("workspace_id"), plain("available"), plain("held")] },
    Table {
        name: "worker_pools",
        columns: &[plain("process_id"), plain("pool"), plain("capacity"), plain("seen_at")],
    },
    Table {
        name: "workspaces",
        columns: &[
            plain("id"),
            plain("owner_id"),
            plain("name"),
            plain("dispatch_limit"),
            plain("dispatched"),
            plain("created_at"),
        ],
    },
];
