//! What processes tell each other. Nothing of it is about people.

use super::{Table, plain};

pub(super) const TABLES: &[Table] = &[
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
        name: "leader_leases",
        columns: &[plain("name"), plain("holder"), plain("epoch"), plain("lease_until")],
    },
    Table { name: "seaql_migrations", columns: &[plain("version"), plain("applied_at")] },
    Table {
        name: "switches",
        columns: &[plain("provider"), plain("model"), plain("reason"), plain("off_at")],
    },
    Table {
        name: "worker_pools",
        columns: &[plain("process_id"), plain("pool"), plain("capacity"), plain("seen_at")],
    },
];
