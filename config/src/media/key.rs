//! The names of media files. A key that parses is safe to use as a path.

use std::{fmt, str::FromStr};

use entities::{
    ids::{ExportId, JobId, UploadId},
    privacy::{Named, Owner},
};
use uuid::Uuid;

/// Where files are. The first letters of a name below say which of 256 parts it is in.
pub(super) const FOLDERS: [&str; 3] = ["jobs", "uploads", "exports"];

/// What a thumbnail's name has more than its picture's.
const THUMBNAIL: &str = "-thumbnail";

/// The name of a media file: a few parts of lower-case letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaKey(String);

/// A text that names no media file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the name of a media file")]
pub struct BadKey;

impl MediaKey {
    /// The file that a job's output at `position` has, whichever worker stores it.
    #[must_use]
    pub fn output(job: JobId, position: usize) -> Self {
        let id = job.0.simple().to_string();
        // The last digits are random, so folders fill evenly.
        Self(format!("jobs/{}/{id}-{position}", &id[30..]))
    }

    /// The file that this one goes with: a thumbnail's picture, or the file itself.
    #[must_use]
    pub fn original(&self) -> Self {
        Self(self.0.strip_suffix(THUMBNAIL).unwrap_or(&self.0).to_owned())
    }

    /// The thumbnail of this file. Other names have none.
    #[must_use]
    pub fn thumbnail(&self) -> Option<Self> {
        let has_one = self.0.starts_with("jobs/") && !self.0.ends_with(THUMBNAIL);
        has_one.then(|| Self(format!("{}{THUMBNAIL}", self.0)))
    }

    /// The file of an upload.
    #[must_use]
    pub fn upload(upload: UploadId) -> Self {
        let id = upload.0.simple().to_string();
        Self(format!("uploads/{}/{id}", &id[30..]))
    }

    /// The file of an export.
    #[must_use]
    pub fn export(export: ExportId) -> Self {
        let id = export.0.simple().to_string();
        Self(format!("exports/{}/{id}.zip", &id[30..]))
    }

    /// Whom the file belongs to; `None` for a name that was not made here.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        let mut parts = self.0.split('/');
        let (kind, _, name) = (parts.next()?, parts.next()?, parts.next()?);
        let id = |text: &str| Uuid::try_parse(text).ok();
        match kind {
            "jobs" => Some(Owner::Job(JobId(id(name.split('-').next()?)?))),
            "uploads" => Some(Owner::Upload(UploadId(id(name)?))),
            "exports" => Some(Owner::Export(ExportId(id(name.strip_suffix(".zip")?)?))),
            _ => None,
        }
    }

    /// What the name says of the file; `None` for one that was not made here.
    #[must_use]
    pub fn named(&self) -> Option<Named> {
        let original = self.original();
        let (owner, thumbnail) = (self.owner()?, original != *self);
        Some(Named { key: original.0, thumbnail, owner })
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for MediaKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MediaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for MediaKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let part = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte)
                })
        };
        let known = FOLDERS
            .iter()
            .any(|folder| text.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
        let safe = text.len() <= 200 && known && text.split('/').all(part);
        if safe { Ok(Self(text.to_owned())) } else { Err(BadKey) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_have_keys_that_parse() {
        let key = MediaKey::output(JobId::generate(), 3);
        assert_eq!(key.as_str().parse(), Ok(key));
        let small = key_of_thumbnail();
        assert_eq!(small.as_str().parse(), Ok(small.clone()));
        assert_eq!(small.thumbnail(), None);
        assert_eq!(small.original().thumbnail(), Some(small.clone()));
        let key = MediaKey::upload(UploadId::generate());
        assert_eq!(key.thumbnail(), None);
        assert_eq!(key.as_str().parse(), Ok(key));
        let id = ExportId::generate();
        let key = MediaKey::export(id);
        assert_eq!(key.as_str().parse(), Ok(key.clone()));
        assert_eq!(key.owner(), Some(Owner::Export(id)));
        let id = JobId::generate();
        assert_eq!(MediaKey::output(id, 12).owner(), Some(Owner::Job(id)));
        assert_eq!("jobs/ab/zz/0".parse::<MediaKey>().unwrap().owner(), None);
    }

    fn key_of_thumbnail() -> MediaKey {
        MediaKey::output(JobId::generate(), 3).thumbnail().unwrap()
    }

    #[test]
    fn hostile_names_do_not_parse() {
        for text in [
            "",
            "/",
            "jobs",
            "jobs/",
            "/etc/passwd",
            "jobs/../x",
            "jobs/./x",
            "jobs//x",
            "jobs/x/",
            "staging/x",
            "jobs/%2e%2e/x",
            "jobs/a\0b",
            "jobs/ä",
            "jobs/A",
            "jobs\\x",
            "jobs/.hidden",
        ] {
            assert_eq!(text.parse::<MediaKey>(), Err(BadKey), "{text:?}");
        }
        assert_eq!(format!("jobs/{}", "a".repeat(300)).parse::<MediaKey>(), Err(BadKey));
    }
}
