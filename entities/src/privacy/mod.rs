//! What people can ask about their data, and what is promised to them.
//!
//! | file | what |
//! |---|---|
//! | `account` | changing what is stored about a person |
//! | `exports` | asking for a copy; who builds it |
//! | `pages` | a person's data, read in pages |
//! | `erasure` | the end of an account, step by step |
//! | `copies` | what providers are asked to delete |
//! | `grants` | which addresses had their free credits |
//! | `orphans` | files without rows |
//! | `lost` | rows without files |
//! | `inventory` | every column, and whether it holds personal data |
//! | `promises` | how old anything may be, and how the oldest of it is found |
//! | `report` | the inventory and the promises, held against a live database |

mod account;
mod copies;
mod erasure;
mod exports;
mod grants;
mod inventory;
mod lost;
mod orphans;
mod pages;
mod promises;
mod report;

pub use account::{
    ChangeError, ConfirmError, ask_new_email, confirm_email, pending_email, rename, set_email,
};
pub use copies::{CopyFate, Due, copies_due, copy_settled, copy_tried, give_up_copies};
pub use erasure::{
    AskedBy, Batch, EraseError, ErasureState, Proof, Requested, batch, begin_erasing, drain,
    erase_batch, erase_logs_again, erase_rest, finish, next_erasures, receipt, request_erasure,
    token_hash, waiting_mails,
};
pub use exports::{
    ExportState, claim_export, expired_exports, export, export_again, export_ready, exports,
    forget_exports, note_fetch, renew_export, request_export,
};
pub use grants::first_grant;
pub use inventory::{Column, Data, Table, inventory};
pub use lost::{Teller, Tellers, lost_after, mark_lost, remove_lost, tellers, unmark};
pub use orphans::{Named, Owner, awaited, kept, told};
pub use pages::{
    AccountData, Counts, JobData, WaysIn, account, counts, jobs_page, ledger_page, uploads_page,
    usage_page, ways_in,
};
pub use report::{Promise, Report, Spans, report};
