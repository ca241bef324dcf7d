//! The database over TLS, as its URL asks for it. (Redis over TLS is tested where its client is.)

use crate::harness::{Database, Env, OwnPostgres, run};

distributed!(a_database_is_reached_over_tls_as_its_url_asks);

async fn a_database_is_reached_over_tls_as_its_url_asks() {
    let postgres = OwnPostgres::start();
    let server = Database::open(&format!("{}/postgres", postgres.url())).await;
    server.write("CREATE DATABASE shop").await;
    server.close().await;
    let works = |query: &str| {
        let env: Env = vec![
            ("DATABASE_URL".into(), format!("{}/shop?{query}", postgres.url())),
            ("REDIS_URL".into(), "rediss://127.0.0.1:1".into()),
            ("TIKTOMATO__SECRETS__MASTER".into(), "x".repeat(32)),
        ];
        let done = run(&["migrate", "up"], &env);
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    // The server cannot: whoever insists is not let down to plain text.
    assert!(!works("sslmode=require").0);
    assert!(works("sslmode=disable").0);
    let authority = postgres.only_tls();
    for (query, expected) in [
        ("sslmode=disable".to_owned(), false),
        ("sslmode=require".to_owned(), true),
        (format!("sslmode=verify-full&sslrootcert={authority}"), true),
        ("sslmode=verify-full".to_owned(), false),
    ] {
        let (worked, told) = works(&query);
        assert_eq!(worked, expected, "{query}: {told}");
    }
}
