//! Torn lines, many writers, several processes.

use super::*;

fn acceptance(request_id: &str) -> Acceptance {
    Acceptance {
        attempt_id: AttemptId::generate(),
        request_id: request_id.to_owned(),
        model: "sketch".to_owned(),
        input: serde_json::json!({"prompt": "say {\"event\":\"accepted\"}\n", "delay_seconds": 1.5}),
        accepted_at: Timestamp(7),
    }
}

#[test]
fn another_process_sees_what_was_accepted_and_how_it_ended() {
    let data = tempfile::tempdir().unwrap();
    let (one, two) = (Record::open(data.path()).unwrap(), Record::open(data.path()).unwrap());
    assert!(two.find("a").unwrap().is_none());
    let noted = acceptance("a");
    one.accept(noted.clone()).unwrap();
    let (id, entry) = two.of_attempt(noted.attempt_id).unwrap().unwrap();
    assert_eq!((id.as_str(), entry.delay), ("a", Duration::from_millis(1_500)));
    assert_eq!(two.read(&entry).unwrap(), noted);
    assert_eq!(one.end("a", End::Finished, Timestamp(8)).unwrap(), End::Finished);
    assert_eq!(two.end("a", End::Canceled, Timestamp(8)).unwrap(), End::Finished);
    assert_eq!(accepted(data.path()).unwrap(), [noted]);
}

#[test]
fn a_torn_line_hurts_no_other() {
    let data = tempfile::tempdir().unwrap();
    let record = Record::open(data.path()).unwrap();
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
    let entry = record.find("c").unwrap().unwrap();
    assert_eq!(record.read(&entry).unwrap().request_id, "c");
    let ids = accepted(data.path()).unwrap().into_iter().map(|line| line.request_id);
    assert_eq!(ids.collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn a_line_is_known_only_when_it_is_whole() {
    let data = tempfile::tempdir().unwrap();
    let record = Record::open(data.path()).unwrap();
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
            let record = Record::open(data.path()).unwrap();
            scope.spawn(move || {
                for i in 0..100 {
                    record.accept(acceptance(&format!("{writer}-{i}"))).unwrap();
                }
            });
        }
    });
    assert_eq!(accepted(data.path()).unwrap().len(), 800);
}
