//! Every column of every table, and whether it holds personal data: for what, how long, and where it
//! is erased. A column of the live schema that is not here, or one here that the schema does not
//! have, fails a test and the report: whoever adds a column decides this first.
//!
//! Ids are no personal data by themselves: once a person's own row is emptied they lead to nobody.
//!
//! | file | what |
//! |---|---|
//! | `people` | people, their ways in, and what is sent to them |
//! | `content` | what they hand in and what is made of it |
//! | `money` | credits |
//! | `records` | logs, and what they asked for about their data |
//! | `platform` | what processes tell each other |

mod content;
mod money;
mod people;
mod platform;
mod records;

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

const ENDS: &str = "the account's deletion deletes the row";
const CONTENT: &str = "the scheduler's `expire` task, a job's deletion, the account's deletion";

/// All tables.
pub fn inventory() -> impl Iterator<Item = &'static Table> {
    let all = [people::TABLES, content::TABLES, money::TABLES, records::TABLES, platform::TABLES];
    all.into_iter().flatten()
}
