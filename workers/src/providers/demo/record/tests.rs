//! Torn lines, many writers, several processes.

use super::*;

fn open(data: &Path) -> Record {
    Record::open(data, Duration::from_secs(60), Timestamp(7)).unwrap()
}

fn acceptance(request_id: &str) -> Acceptance {
    Acceptance {
        attempt_id: AttemptId::generate(),
        request_id: request_id.to_owned(),
        model: "sketch".to_owned(),
        delay_seconds: 1.5,
        accepted_at: Timestamp(7),
    }
}

#[test]
fn another_process_sees_what_was_accepted_and_how_it_ended() {
    let data = tempfile::tempdir().unwrap();
    let (one, two) = (open(data.path()), open(data.path()));
    assert!(two.find("a").unwrap().is_none());
    let noted = acceptance("a");
    one.accept(noted.clone()).unwrap();
    let (id, entry) = two.of_attempt(noted.attempt_id).unwrap().unwrap();
    assert_eq!((id.as_str(), entry.delay), ("a", Duration::from_millis(1_500)));
    assert_eq!(one.end("a", End::Finished, Timestamp(8)).unwrap(), End::Finished);
    assert_eq!(two.end("a", End::Canceled, Timestamp(8)).unwrap(), End::Finished);
    assert_eq!(accepted(data.path()).unwrap(), [noted]);
}

#[test]
fn a_torn_line_hurts_no_other() {
    let data = tempfile::tempdir().unwrap();
    let record = open(data.path());
    record.accept(acceptance("a")).unwrap();
    let file = || OpenOptions::new().append(true).open(&record.path).unwrap();
    file().write_all(br#"{"event":"accepted","attempt_id":"att_01"#).unwrap();
    assert!(record.find("a").unwrap().is_some());
    record.accept(acceptance("b")).unwrap();
    assert!(record.find("b").unwrap().is_some());
    // Torn between another writer's look and its write.
    let mut glued = br#"{"event":"acc"#.to_vec();
    glued.extend(serde_json::to_vec(&Line::Accepted(acceptance("c"))).unwrap());
    glued.push(b'\n');
    file().write_all(&glued).unwrap();
    assert!(record.find("c").unwrap().is_some());
    let ids = accepted(data.path()).unwrap().into_iter().map(|line| line.request_id);
    assert_eq!(ids.collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn a_line_is_known_only_when_it_is_whole() {
    let data = tempfile::tempdir().unwrap();
    let record = open(data.path());
    let whole = serde_json::to_vec(&Line::Accepted(acceptance("a"))).unwrap();
    std::fs::write(&record.path, &whole[..40]).unwrap();
    assert!(record.find("a").unwrap().is_none());
    std::fs::write(&record.path, &whole).unwrap();
    assert!(record.find("a").unwrap().is_none());
    std::fs::write(&record.path, [&whole[..], b"\n"].concat()).unwrap();
    assert!(record.find("a").unwrap().is_some());
    std::fs::remove_file(&record.path).unwrap();
    assert!(record.find("a").unwrap().is_none());
}

#[test]
fn many_writers_leave_whole_lines() {
    let data = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let record = open(data.path());
            scope.spawn(move || {
                for i in 0..100 {
                    record.accept(acceptance(&format!("{writer}-{i}"))).unwrap();
                }
            });
        }
    });
    assert_eq!(accepted(data.path()).unwrap().len(), 800);
}

/// What an older version noted, prompt and all, is not kept; what is young is.
#[test]
fn old_requests_and_old_prompts_go() {
    let data = tempfile::tempdir().unwrap();
    let record = open(data.path());
    let old = serde_json::to_string(&Line::Accepted(acceptance("old"))).unwrap();
    let noted = old.replace("\"delay_seconds\":1.5", "\"input\":{\"prompt\":\"secret\"}");
    assert_ne!(noted, old);
    let time = |at: Timestamp| serde_json::to_string(&at).unwrap();
    let young = noted.replace("\"old\"", "\"young\"");
    let young = young.replace(&time(Timestamp(7)), &time(Timestamp(70_000_000)));
    let ends =
        serde_json::to_string(&Line::Finished { request_id: "old".into(), at: Timestamp(9) });
    let ends = ends.unwrap();
    std::fs::write(&record.path, format!("{noted}\n{young}\n{ends}\n")).unwrap();
    assert!(record.find("old").unwrap().is_some());
    let later = Timestamp(7 + 61_000_000);
    let another = Record::open(data.path(), Duration::from_secs(60), later).unwrap();
    for record in [&record, &another] {
        assert!(record.find("old").unwrap().is_none(), "another process sees it too");
        assert!(record.find("young").unwrap().is_some());
    }
    let text = std::fs::read_to_string(&record.path).unwrap();
    assert!(!text.contains("secret") && text.lines().count() == 1, "{text}");
    // Nothing to do: the same file stays.
    let before = std::fs::metadata(&record.path).unwrap().ino();
    another.tidy.run(later).unwrap();
    assert_eq!(std::fs::metadata(&record.path).unwrap().ino(), before);
    record.accept(acceptance("next")).unwrap();
    assert!(another.find("next").unwrap().is_some());
}

/// Whoever writes while another tidies loses nothing.
#[test]
fn tidying_loses_no_line() {
    let data = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let record = open(data.path());
            scope.spawn(move || {
                for i in 0..100 {
                    let young = Acceptance {
                        accepted_at: Timestamp(100_000_000),
                        ..acceptance(&format!("{writer}-{i}"))
                    };
                    record.append(&Line::Accepted(young)).unwrap();
                    record
                        .append(&Line::Accepted(acceptance(&format!("old {writer}-{i}"))))
                        .unwrap();
                }
            });
        }
        let record = open(data.path());
        scope.spawn(move || {
            for _ in 0..50 {
                record.tidy.run(Timestamp(100_000_000)).unwrap();
            }
        });
    });
    let books = accepted(data.path()).unwrap();
    assert_eq!(books.iter().filter(|line| !line.request_id.starts_with("old")).count(), 400);
}
