//! The `Range` header, for one range of bytes (RFC 9110, section 14).

use std::ops::Range;

/// What part of a file is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it: no range, or one that is not understood, which must be ignored.
    Whole,
    /// These bytes; never empty.
    Part(Range<u64>),
    /// Bytes that it does not have.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `size` bytes.
pub(crate) fn asked(header: Option<&str>, size: u64) -> Asked {
    let Some((first, last)) = header.and_then(split) else { return Asked::Whole };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // A number that is too large is beyond any file.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (None, Some(count)) if first.is_empty() => match count.min(size) {
            0 => Asked::Unsatisfiable,
            count => Asked::Part(size - count..size),
        },
        (Some(first), None) if last.is_empty() => part(first, size, size),
        (Some(first), Some(last)) if first <= last => part(first, last.saturating_add(1), size),
        _ => Asked::Whole,
    }
}

/// The two ends of the only range.
fn split(header: &str) -> Option<(&str, &str)> {
    let (unit, range) = header.split_once('=')?;
    let one = unit.trim().eq_ignore_ascii_case("bytes") && !range.contains(',');
    let (first, last) = range.trim().split_once('-')?;
    one.then_some((first.trim(), last.trim()))
}

fn part(first: u64, end: u64, size: u64) -> Asked {
    if first < size { Asked::Part(first..end.min(size)) } else { Asked::Unsatisfiable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let read = |header| asked(Some(header), 10);
        assert_eq!(read("bytes=0-3"), Asked::Part(0..4));
        assert_eq!(read("bytes=4-"), Asked::Part(4..10));
        assert_eq!(read("bytes=-3"), Asked::Part(7..10));
        assert_eq!(read("bytes=-99"), Asked::Part(0..10));
        assert_eq!(read("bytes=9-99999999999999999999999999"), Asked::Part(9..10));
        assert_eq!(read("Bytes = 1-1"), Asked::Part(1..2));
        assert_eq!(asked(None, 10), Asked::Whole);
    }

    #[test]
    fn bytes_that_are_not_there_cannot_be_had() {
        for header in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(asked(Some(header), 10), Asked::Unsatisfiable, "{header}");
        }
        assert_eq!(asked(Some("bytes=0-"), 0), Asked::Unsatisfiable);
        assert_eq!(asked(Some("bytes=-1"), 0), Asked::Unsatisfiable);
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=3-1",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=+1-2",
        ] {
            assert_eq!(asked(Some(header), 10), Asked::Whole, "{header}");
        }
    }
}
