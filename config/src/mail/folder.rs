//! Mails that lie in a folder because nobody has set up a server. Each is a file with an address and
//! often a link in it: it is removed when a waiting mail would be given up, too, and with the account
//! of whom it is to. A file's time is the platform's clock, by which its age is told.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use entities::Timestamp;
use lettre::{AsyncFileTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::MailError;

/// Puts a mail in the folder.
pub(super) async fn put(folder: &Path, message: Message, now: Timestamp) -> Result<(), MailError> {
    let made = tokio::fs::create_dir_all(folder).await;
    made.map_err(|error| MailError::Folder(folder.to_owned(), error))?;
    let id = AsyncFileTransport::<Tokio1Executor>::new(folder).send(message).await?;
    let file = folder.join(format!("{id}.eml"));
    let time = chrono::DateTime::<chrono::Utc>::from(now);
    let dated = tokio::task::spawn_blocking(move || {
        fs::File::options().write(true).open(file)?.set_modified(SystemTime::from(time))
    });
    // The mail is there. One that cannot be dated has the machine's time.
    drop(dated.await);
    Ok(())
}

/// Removes up to `most` mails that were put in the folder before this time; how many it were. A
/// folder that is not there has none.
///
/// # Errors
/// When the folder cannot be read or a mail cannot be removed.
pub async fn remove_old_mails(
    folder: PathBuf,
    before: Timestamp,
    most: usize,
) -> io::Result<usize> {
    let removed = tokio::task::spawn_blocking(move || {
        let mut removed = 0;
        for file in mails(&folder)? {
            let file = file?;
            if removed == most {
                break;
            }
            // One that is gone was removed by somebody who looks as well.
            let Some(put) = put_at(&file)? else { continue };
            if put < before && remove_if_there(&file)? {
                removed += 1;
            }
        }
        Ok(removed)
    });
    removed.await.map_err(io::Error::other)?
}

/// When the oldest mail in the folder was put there.
///
/// # Errors
/// When the folder cannot be read.
pub fn oldest_mail(folder: &Path) -> io::Result<Option<Timestamp>> {
    let mut oldest: Option<Timestamp> = None;
    for file in mails(folder)? {
        let put = put_at(&file?)?;
        oldest = oldest.into_iter().chain(put).min();
    }
    Ok(oldest)
}

/// The files that are mails.
fn mails(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<PathBuf>> + use<>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        entries => Some(entries?),
    };
    let paths = entries.into_iter().flatten().map(|entry| entry.map(|entry| entry.path()));
    let is_mail = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "eml");
    Ok(paths.filter(move |path| path.as_ref().map_or(true, is_mail)))
}

fn put_at(file: &Path) -> io::Result<Option<Timestamp>> {
    let time = fs::metadata(file).and_then(|about| about.modified());
    let time = there(time)?.map(chrono::DateTime::<chrono::Utc>::from);
    Ok(time.map(Timestamp::from))
}

fn remove_if_there(file: &Path) -> io::Result<bool> {
    Ok(there(fs::remove_file(file))?.is_some())
}

/// What came of it, unless the file is gone.
fn there<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        done => done.map(Some),
    }
}

/// Removes the mails in the folder whose recipient is one of `theirs`; how many it were. A folder
/// that is not there has none.
///
/// # Errors
/// When the folder cannot be read or a mail cannot be removed.
pub async fn remove_mails_to(
    folder: PathBuf,
    theirs: impl Fn(&str) -> bool + Send + 'static,
) -> io::Result<usize> {
    let removed = tokio::task::spawn_blocking(move || remove(&folder, &theirs)).await;
    removed.map_err(io::Error::other)?
}

fn remove(folder: &Path, theirs: &dyn Fn(&str) -> bool) -> io::Result<usize> {
    let mut removed = 0;
    for path in mails(folder)? {
        let path = path?;
        let Ok(bytes) = fs::read(&path) else { continue };
        let is_theirs = recipients(&String::from_utf8_lossy(&bytes)).iter().any(|to| theirs(to));
        if is_theirs && remove_if_there(&path)? {
            removed += 1;
        }
    }
    Ok(removed)
}

/// The addresses of the `To` header, in lower case.
fn recipients(mail: &str) -> Vec<String> {
    let head = mail.split("\r\n\r\n").next().unwrap_or_default().split("\n\n").next();
    let head = head.unwrap_or_default().replace("\r\n", "\n");
    // A long header goes on in lines that begin with white space.
    let head = head.replace("\n ", " ").replace("\n\t", " ");
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("to:"));
    let list = line.and_then(|line| line.split_once(':')).map_or("", |(_, list)| list);
    let address = |text: &str| {
        let inner =
            text.rsplit_once('<').map_or(text, |(_, rest)| rest.trim_end_matches([' ', '>']));
        inner.trim().trim_matches('"').to_lowercase()
    };
    list.split(',').map(address).filter(|address| !address.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_their_mails_go() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "a.eml",
            "From: x@y.z\r\nTo: ada@example.com\r\nSubject: s\r\n\r\nTo: bob@example.com",
        );
        write("b.eml", "To: \"Ada\"\r\n <Ada@Example.com>\r\n\r\nhello");
        write("c.eml", "Subject: ada@example.com\r\nTo: bob@example.com\r\n\r\nada@example.com");
        write("d.txt", "To: ada@example.com\r\n\r\n");
        let removed = remove_mails_to(folder.path().into(), |to| to == "ada@example.com").await;
        assert_eq!(removed.unwrap(), 2);
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["c.eml", "d.txt"]);
        let nowhere = folder.path().join("nowhere");
        assert_eq!(remove_mails_to(nowhere, |_| true).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn old_mails_go_a_few_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let day = std::time::Duration::from_secs(86_400);
        let now = Timestamp(1_800_000_000_000_000);
        let message = || {
            let from = "x@y.z".parse().unwrap();
            let to = "ada@example.com".parse().unwrap();
            Message::builder().from(from).to(to).body(String::from("hello")).unwrap()
        };
        assert_eq!(oldest_mail(&folder.path().join("nowhere")).unwrap(), None);
        let inner = folder.path().join("mail");
        for put_at in [now.before(3 * day), now.before(2 * day), now.before(2 * day), now] {
            put(&inner, message(), put_at).await.unwrap();
        }
        fs::write(inner.join("notes.txt"), "mine").unwrap();
        assert_eq!(oldest_mail(&inner).unwrap(), Some(now.before(3 * day)));
        let remove = || remove_old_mails(inner.clone(), now.before(day), 2);
        assert_eq!(remove().await.unwrap(), 2);
        assert_eq!(remove().await.unwrap(), 1);
        assert_eq!(remove().await.unwrap(), 0);
        assert_eq!(oldest_mail(&inner).unwrap(), Some(now));
        assert!(inner.join("notes.txt").is_file());
        let nowhere = folder.path().join("nowhere");
        assert_eq!(remove_old_mails(nowhere, now, 2).await.unwrap(), 0);
    }
}
