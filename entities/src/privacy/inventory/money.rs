//! Credits: ids and amounts, and the words about them.

use super::{ENDS, Kept, Table, personal, plain};

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "entry_notes",
        columns: &[
            plain("entry_id"),
            personal("note", "to tell the owner why credits moved", Kept::Account, ENDS),
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
    Table { name: "key_spending", columns: &[plain("key_id"), plain("period"), plain("spent")] },
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
    Table { name: "wallets", columns: &[plain("workspace_id"), plain("available"), plain("held")] },
];
