//! What is written down about requests and events, and what people asked for about their data.

use super::{Kept, Table, personal, plain};

const USAGE: &str = "the scheduler's `usage_log` task, the account's deletion";
const AUDIT: &str = "its own retention; the account's deletion empties it";

pub(super) const TABLES: &[Table] = &[
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
        name: "erasures",
        columns: &[
            plain("id"),
            plain("user_id"),
            plain("workspace_id"),
            plain("token_hash"),
            personal(
                "address_mark",
                "keyed hashes of the addresses, to find mails to them that lie in a folder",
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
];
