//! What the record tells of a request.

use std::{io, time::Duration};

use entities::Timestamp;

use super::record::{AppendError, End, Entry, Record};
use crate::providers::Refusal;

/// What a look at a request showed.
pub(super) enum Look {
    Running { elapsed: Duration, delay: Duration },
    Canceled,
    Finished,
}

pub(super) fn look(record: &Record, id: &str, now: Timestamp) -> Result<Look, Refusal> {
    let entry = known(record, id)?;
    let (elapsed, delay) = (now.since(entry.accepted_at), entry.delay);
    let end = match entry.end {
        Some(end) => end,
        None if elapsed < delay => return Ok(Look::Running { elapsed, delay }),
        // Noted before it is said, so that no other process can cancel it any more.
        None => record.end(id, End::Finished, now)?,
    };
    match end {
        End::Canceled => Ok(Look::Canceled),
        End::Finished => Ok(Look::Finished),
    }
}

pub(super) fn known(record: &Record, id: &str) -> Result<Entry, Refusal> {
    let unknown = || Refusal::Unknown("the demo provider does not know this request".to_owned());
    record.find(id).map_err(unreadable)?.ok_or_else(unknown)
}

pub(super) fn unreadable(error: io::Error) -> Refusal {
    Refusal::Unknown(format!("the demo provider cannot read its record: {error}"))
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Nothing(_) => Self::Unavailable(error.to_string()),
            AppendError::Part => Self::Unknown(error.to_string()),
        }
    }
}
