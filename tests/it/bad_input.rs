//! Bodies that must not become jobs: each is refused with a problem, and nothing is left behind.

use serde_json::{Value, json};

use crate::harness::{Answer, Backend, Cluster};

on_both!(a_bad_body_leaves_nothing);

/// The status that is asked for; `4xx` where the contract leaves the choice.
#[derive(Clone, Copy)]
enum Want {
    Exactly(u16),
    Refused,
}
use Want::{Exactly, Refused};

fn input(fields: &str) -> Vec<u8> {
    format!(r#"{{"model":"demo/sketch","input":{{"prompt":"a tomato"{fields}}}}}"#).into_bytes()
}

fn with(fields: &str) -> Vec<u8> {
    format!(r#"{{"model":"demo/sketch","input":{{"prompt":"a tomato"}}{fields}}}"#).into_bytes()
}

fn prompt(json: &str) -> Vec<u8> {
    format!(r#"{{"model":"demo/sketch","input":{{"prompt":{json}}}}}"#).into_bytes()
}

fn raw(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn malformed() -> Vec<(&'static str, Vec<u8>, Want)> {
    let nested = format!("{}1{}", "[".repeat(1_000), "]".repeat(1_000));
    let invalid =
        [br#"{"model":"demo/sketch","input":{"prompt":""#.as_slice(), b"\xff\xfe\x80", b"\"}}"]
            .concat();
    vec![
        ("nothing", vec![], Refused),
        ("no JSON", raw("tomato"), Refused),
        ("cut off", raw(r#"{"model":"demo/sketch","#), Refused),
        ("two values", raw("{} {}"), Refused),
        ("an array", raw("[]"), Refused),
        ("null", raw("null"), Refused),
        ("a number", raw("1"), Refused),
        ("deep", nested.clone().into_bytes(), Refused),
        ("deep input", with(&format!(r#","metadata":{{"a":{nested}}}"#)), Refused),
        ("deep option", input(&format!(r#","seed":{nested}"#)), Refused),
        ("invalid UTF-8", invalid, Refused),
        ("lone high surrogate", prompt(r#""\ud800""#), Refused),
        ("lone low surrogate", prompt(r#""a\udc00b""#), Refused),
        ("U+0000", prompt(r#""a\u0000b""#), Exactly(422)),
        ("U+0000 in metadata", with(r#","metadata":{"a":"\u0000"}"#), Exactly(422)),
        ("U+0000 in a name", with(r#","metadata":{"\u0000":"a"}"#), Exactly(422)),
        ("trailing comma", with(","), Refused),
        ("1e400", input(r#","seed":1e400"#), Refused),
        ("-1e400", input(r#","delay_seconds":-1e400"#), Refused),
        ("NaN", input(r#","delay_seconds":NaN"#), Refused),
        ("11 MB", prompt(&format!("\"{}\"", "a".repeat(11 << 20))), Exactly(413)),
    ]
}

fn invalid() -> Vec<(&'static str, Vec<u8>, Want)> {
    let long = format!("\"{}\"", "ü".repeat(5_001));
    let many: Vec<String> = (0..17).map(|n| format!(r#""k{n}":"v""#)).collect();
    vec![
        ("no model", raw(r#"{"input":{"prompt":"a"}}"#), Exactly(422)),
        ("no input", raw(r#"{"model":"demo/sketch"}"#), Exactly(422)),
        ("input is a text", raw(r#"{"model":"demo/sketch","input":"a"}"#), Exactly(422)),
        ("model is a number", raw(r#"{"model":5,"input":{"prompt":"a"}}"#), Exactly(422)),
        ("unknown model", raw(r#"{"model":"demo/none","input":{"prompt":"a"}}"#), Exactly(404)),
        (
            "hostile model",
            raw(r#"{"model":"../../etc/passwd","input":{"prompt":"a"}}"#),
            Exactly(404),
        ),
        ("SQL model", raw(r#"{"model":"' OR 1=1 --","input":{"prompt":"a"}}"#), Exactly(404)),
        ("unknown field", with(r#","cheap":true"#), Exactly(422)),
        ("webhook_url", with(r#","webhook_url":"https://example.com""#), Exactly(422)),
        ("unknown input", input(r#","style":"oil""#), Exactly(422)),
        ("no prompt", raw(r#"{"model":"demo/sketch","input":{}}"#), Exactly(422)),
        ("null prompt", prompt("null"), Exactly(422)),
        ("empty prompt", prompt(r#""""#), Exactly(422)),
        ("prompt is a list", prompt(r#"["a"]"#), Exactly(422)),
        ("over-long prompt", prompt(&long), Exactly(422)),
        ("text width", input(r#","width":"64""#), Exactly(422)),
        ("negative width", input(r#","width":-64"#), Exactly(422)),
        ("zero width", input(r#","width":0"#), Exactly(422)),
        ("half a pixel", input(r#","width":64.5"#), Exactly(422)),
        ("huge width", input(r#","width":1000000000000"#), Exactly(422)),
        ("huge count", input(r#","count":9223372036854775807"#), Exactly(422)),
        ("beyond 64 bits", input(r#","seed":99999999999999999999999"#), Exactly(422)),
        ("negative seed", input(r#","seed":-9223372036854775808"#), Exactly(422)),
        ("1e300", input(r#","delay_seconds":1e300"#), Exactly(422)),
        ("negative delay", input(r#","delay_seconds":-1"#), Exactly(422)),
        ("unknown failure", input(r#","fail":"maybe""#), Exactly(422)),
        ("unknown format", input(r#","format":"exe""#), Exactly(422)),
        ("negative lock", with(r#","max_credits":-1"#), Exactly(422)),
        ("half a credit", with(r#","max_credits":0.5"#), Exactly(422)),
        ("huge lock", with(r#","max_credits":99999999999999999999"#), Exactly(422)),
        ("too many pairs", with(&format!(r#","metadata":{{{}}}"#, many.join(","))), Exactly(422)),
        ("long pair", with(&format!(r#","metadata":{{"a":"{}"}}"#, "v".repeat(513))), Exactly(422)),
        ("number pair", with(r#","metadata":{"a":1}"#), Exactly(422)),
        ("metadata is a list", with(r#","metadata":["a"]"#), Exactly(422)),
        ("negative expiry", with(r#","expires_in":-1"#), Exactly(422)),
        ("huge expiry", with(r#","expires_in":9223372036854775807"#), Exactly(422)),
        ("twice the same field", with(r#","model":"demo/clip""#), Refused),
    ]
}

async fn a_bad_body_leaves_nothing(backend: Backend) {
    let cluster = Cluster::plain(backend).await;
    let user = cluster.user(10_000);
    for (name, body, want) in malformed().into_iter().chain(invalid()) {
        for path in ["/v1/jobs", "/v1/jobs/quote"] {
            let answer = refusal(&user, path, &body).await;
            let status = answer.status.as_u16();
            let expected = match want {
                Exactly(wanted) => status == wanted,
                Refused => (400..500).contains(&status),
            };
            assert!(
                expected,
                "{name} on {path}: {status} {}",
                String::from_utf8_lossy(&answer.bytes)
            );
            answer.problem(status);
            if status == 422 {
                explained(name, &answer.json());
            }
        }
    }
    assert_eq!(user.credits().await, (10_000, 0));
    assert_eq!(user.get("/v1/jobs").await.expect(200)["data"], json!([]));
    let entries = user.get("/v1/credits/entries").await.expect(200);
    assert_eq!(entries["data"].as_array().unwrap().len(), 1, "the grant alone: {entries}");
    let database = cluster.database().await;
    for table in ["jobs", "holds", "idempotency_keys"] {
        let rows = format!(
            "SELECT count(*) AS n FROM {table} WHERE workspace_id IN (SELECT w.id FROM workspaces w \
             JOIN users u ON u.id = w.owner_id WHERE u.email = '{}')",
            user.email
        );
        assert_eq!(database.number(&rows).await, 0, "{table}");
    }
    database.close().await;
    cluster.finish().await;
}

/// The answer to a bad body. A server may refuse a long one before it has read all of it, and the
/// client may then see a broken connection first.
async fn refusal(user: &crate::harness::Api, path: &str, body: &[u8]) -> Answer {
    crate::harness::eventually("the server answers", async || {
        let request = user.request(reqwest::Method::POST, path).header("Idempotency-Key", "bad");
        let request = request.header("Content-Type", "application/json").body(body.to_vec());
        Answer::to(request).await.ok()
    })
    .await
}

/// Bad input is explained: where, and what is wrong there.
fn explained(name: &str, problem: &Value) {
    let Some(errors) = problem.get("errors") else { return };
    for error in errors.as_array().unwrap() {
        let pointer = error["pointer"].as_str().unwrap_or_else(|| panic!("{name}: {problem}"));
        assert!(pointer.is_empty() || pointer.starts_with(['/', '#']), "{name}: {problem}");
        assert!(
            error["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
            "{name}: {problem}"
        );
    }
}
