//! Mails that lie in a folder because nobody has set up a server: those to somebody whose account
//! ends are removed with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

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
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "eml") {
            continue;
        }
        let Ok(bytes) = fs::read(&path) else { continue };
        if recipients(&String::from_utf8_lossy(&bytes)).iter().any(|to| theirs(to)) {
            fs::remove_file(&path)?;
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
}
