//! Looking through the store: what is there, part by part, and what crashes left half copied.

use std::{io, path::Path, time::Duration};

use entities::privacy::{Named, Owner};
use futures::TryStreamExt as _;
use object_store::path::Path as ObjectPath;

use super::{MediaError, MediaKey, MediaStore, key::FOLDERS};

/// A file that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub key: MediaKey,
    /// What its name says.
    pub named: Named,
}

impl MediaStore {
    /// The files of one of the 256 parts of the store that nothing was written to for `age`, by the
    /// clock of the machine that keeps them. Names that were not made here are left out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn part(&self, part: u8, age: Duration) -> Result<Vec<Found>, MediaError> {
        let mut found = Vec::new();
        for folder in FOLDERS {
            let prefix = ObjectPath::from(format!("{folder}/{part:02x}"));
            let objects: Vec<_> = self.objects.list(Some(&prefix)).try_collect().await?;
            for object in objects {
                let modified: std::time::SystemTime = object.last_modified.into();
                if modified.elapsed().is_ok_and(|old| old < age) {
                    continue;
                }
                let key: Option<MediaKey> = object.location.as_ref().parse().ok();
                if let Some((named, key)) = key.and_then(|key| Some((key.named()?, key))) {
                    found.push(Found { key, named });
                }
            }
        }
        Ok(found)
    }

    /// What is half copied now, or was when a process died: each file's name in the staging folder,
    /// with its owner.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn half_copies(&self) -> Result<Vec<(String, Owner)>, MediaError> {
        let folder = self.staging.clone();
        let names = tokio::task::spawn_blocking(move || names(&folder)).await;
        let names = names
            .map_err(|error| MediaError::Store(error.to_string()))?
            .map_err(|error| MediaError::Store(error.to_string()))?;
        let owned = |name: String| {
            let (key, _) = name.rsplit_once('=')?;
            let owner = key.replace('=', "/").parse::<MediaKey>().ok()?.owner()?;
            Some((name, owner))
        };
        Ok(names.into_iter().filter_map(owned).collect())
    }

    /// Removes a half copy; whoever still writes to it fails.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove_half_copy(&self, name: &str) -> Result<(), MediaError> {
        let plain = Path::new(name).file_name().is_some_and(|file| file == name);
        if !plain {
            return Err(MediaError::BadKey(super::BadKey));
        }
        match tokio::fs::remove_file(self.staging.join(name)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(MediaError::Store(error.to_string()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let name = |entry: io::Result<std::fs::DirEntry>| entry.map(|e| e.file_name().into_string());
    let all: Vec<_> = entries.map(name).collect::<io::Result<_>>()?;
    Ok(all.into_iter().filter_map(Result::ok).collect())
}
