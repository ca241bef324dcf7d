//! Files of this machine, written whole or not at all, each in one go: a picture costs one visit to
//! a thread that may block, and two flushes of the disk.
//!
//! A file is written and flushed under its staging name, then renamed, and the folder that it is in
//! now is flushed. A crash in between leaves a staging file, which is found with its owner. That it
//! may still be there after a power failure, beside the finished file, does no harm.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// How often a folder is made again that a deletion found empty just now.
const TRIES: u32 = 10;

/// Writes a file; nothing is left behind when it fails.
pub(super) fn write(staging: &Path, to: &Path, root: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = write_staging(staging, bytes).and_then(|()| publish(staging, to, root));
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(staging);
    }
    written
}

/// Whether a file can be written there now.
pub(super) fn probe(staging: &Path) -> io::Result<()> {
    let written = write_staging(staging, b"probe");
    match fs::remove_file(staging) {
        Err(error) if written.is_ok() => Err(error),
        _ => written,
    }
}

fn write_staging(staging: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut tries = 0;
    let mut file = loop {
        match (File::create_new(staging), staging.parent()) {
            (Err(error), Some(folder))
                if error.kind() == io::ErrorKind::NotFound && tries < TRIES =>
            {
                tries += 1;
                fs::create_dir_all(folder)?;
            }
            (file, _) => break file?,
        }
    };
    file.write_all(bytes)?;
    file.sync_data()
}

/// Moves a finished file to its name, for good.
fn publish(staging: &Path, to: &Path, root: &Path) -> io::Result<()> {
    let mut tries = 0;
    while let Err(error) = fs::rename(staging, to) {
        tries += 1;
        if error.kind() != io::ErrorKind::NotFound || tries > TRIES {
            return Err(error);
        }
        make_folders(to, root)?;
    }
    to.parent().map_or(Ok(()), flush)
}

/// Makes the folders that `to` is in, and flushes those that they are in.
fn make_folders(to: &Path, root: &Path) -> io::Result<()> {
    let Some(folder) = to.parent() else { return Ok(()) };
    fs::create_dir_all(folder)?;
    for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(root)) {
        flush(above)?;
    }
    Ok(())
}

fn flush(folder: &Path) -> io::Result<()> {
    match File::open(folder) {
        // A deletion of its last file took it away again, after the rename.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        folder => folder?.sync_all(),
    }
}
