//! People, their ways in, and what is sent to them.

use super::{ENDS, Kept, Table, personal, plain};

const ENTRY: &str = "the account's deletion empties the row at once";
const SIGN_UP: &str = "its own time; it becomes the account when the address is proven";

pub(super) const TABLES: &[Table] = &[
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
        name: "throttles",
        columns: &[
            personal("key", "a keyed hash of who tries to sign in", Kept::Short, "its own time"),
            plain("free_at"),
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
