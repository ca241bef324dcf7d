//! Settings from outside: what a person writes, and what comes of it.

use std::collections::BTreeSet;
use std::io::Write;

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn embedded(pairs: &[(&str, &str)]) -> Result<Settings, Vec<Mistake>> {
    Settings::load(Sources { file: None, env: env(pairs), mode: Mode::Embedded })
}

fn distributed(pairs: &[(&str, &str)]) -> Result<Settings, Vec<Mistake>> {
    Settings::load(Sources { file: None, env: env(pairs), mode: Mode::Distributed })
}

fn with_file(text: &str, pairs: &[(&str, &str)]) -> Result<Settings, Vec<Mistake>> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let sources = Sources { file: Some(file.path()), env: env(pairs), mode: Mode::Embedded };
    Settings::load(sources)
}

fn sentences(mistakes: Vec<Mistake>) -> Vec<String> {
    mistakes.iter().map(ToString::to_string).collect()
}

fn only(result: Result<Settings, Vec<Mistake>>) -> String {
    let mut sentences = sentences(result.unwrap_err());
    assert_eq!(sentences.len(), 1, "{sentences:#?}");
    sentences.remove(0)
}

#[test]
fn without_anything_it_runs_in_one_process() {
    let settings = embedded(&[]).unwrap();
    assert_eq!(settings.gateway.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.gateway.public_url.to_string(), "http://127.0.0.1:8080");
    assert_eq!(settings.media.public_url.at("/media/x"), "http://127.0.0.1:8080/media/x");
    assert_eq!(settings.ops.listen.to_string(), "127.0.0.1:9100");
    assert_eq!(settings.database.url.expose(), "sqlite://./data/tiktomato.db?mode=rwc");
    assert_eq!(settings.media.dir, Path::new("./data/media"));
    assert_eq!(settings.workers.pools.get("demo").unwrap().get(), 8);
    assert!(settings.redis.url.is_none() && settings.secrets.master.is_empty());
}

#[test]
fn later_sources_win() {
    let file = "[gateway]\nlisten = \"127.0.0.1:1111\"\nconcurrency = 5\n[data]\ndir = \"/file\"";
    let settings = with_file(
        file,
        &[("TIKTOMATO__GATEWAY__LISTEN", "127.0.0.1:2222"), ("TIKTOMATO_DATA", "/usual")],
    )
    .unwrap();
    assert_eq!(settings.gateway.listen.port(), 2222);
    assert_eq!(settings.gateway.concurrency.get(), 5);
    assert_eq!(settings.data.dir, Path::new("/usual"));
    let both = [("TIKTOMATO_DATA", "/usual"), ("TIKTOMATO__DATA__DIR", "/own")];
    assert_eq!(embedded(&both).unwrap().data.dir, Path::new("/own"));
    let blank = [("TIKTOMATO__GATEWAY__LISTEN", ""), ("FAL_KEY", " ")];
    let settings = with_file(file, &blank).unwrap();
    assert_eq!(settings.gateway.listen.port(), 1111);
    assert!(settings.providers.fal_key.is_none());
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    assert_eq!(
        only(embedded(&[("TIKTOMATO__GATEWAY__LISTN", "x")])),
        "the environment variable TIKTOMATO__GATEWAY__LISTN names no setting; \
         did you mean `TIKTOMATO__GATEWAY__LISTEN`?"
    );
    let sentence = only(with_file("[gatway]\nlisten = 3", &[]));
    assert!(
        sentence.ends_with(": there is no setting `gatway.listen`; did you mean `gateway.listen`?"),
        "{sentence}"
    );
    assert!(only(embedded(&[("TIKTOMATO__NONSENSE", "")])).contains("TIKTOMATO__NONSENSE"));
    assert!(only(with_file("gateway = 1", &[])).contains("`gateway`"));
    assert!(only(embedded(&[("TIKTOMATO_GATEWAY_LISTEN", "x")])).contains("mean `TIKTOMATO__G"));
    embedded(&[("TIKTOMATO_GATEWAY_PORT_80_TCP", "x"), ("LISTEN", "x")]).unwrap();
}

#[test]
fn every_mistake_is_reported() {
    let file =
        "[retention]\ncontent_days = 0\nnever = 1\n[submit]\nqueue = [1]\n[demo]\nenabled = 1";
    let mistakes = sentences(
        with_file(
            file,
            &[
                ("TIKTOMATO__GATEWAY__LISTEN", "localhost"),
                ("TIKTOMATO__GATEWAY__CONCURRENCY", "many"),
                ("TIKTOMATO__OPS__LISTN", "x"),
                ("TIKTOMATO__WORKERS__POOLS__FAL", "-1"),
                ("TIKTOMATO__MEDIA__LINK_SECONDS", "NaN"),
                ("TIKTOMATO__SECRETS__MASTER", "short,even shorter"),
                ("DATABASE_URL", "mysql://me:hunter2@db/x"),
                ("RUST_LOG", "info,=,="),
                ("TIKTOMATO__LOG__FORMAT", "yaml"),
            ],
        )
        .unwrap_err(),
    );
    let all = mistakes.join("\n");
    for part in [
        "gateway.listen (from TIKTOMATO__GATEWAY__LISTEN): must be an IP address and a port, such \
         as 127.0.0.1:8080, but is \"localhost\"",
        "gateway.concurrency (from TIKTOMATO__GATEWAY__CONCURRENCY): must be a whole number from 1",
        "TIKTOMATO__OPS__LISTN names no setting; did you mean `TIKTOMATO__OPS__LISTEN`",
        "workers.pools.fal (from TIKTOMATO__WORKERS__POOLS__FAL): the size of pool fal",
        "media.link_seconds (from TIKTOMATO__MEDIA__LINK_SECONDS): must be a number of seconds",
        "secret 1 has 5 characters",
        "secret 2 has 12 characters",
        "database.url (from DATABASE_URL): must be postgres://USER",
        "log.filter (from RUST_LOG): must be a filter",
        "log.format (from TIKTOMATO__LOG__FORMAT): must be \"text\" or \"json\"",
        "must be a whole number from 1 to 3650, but is \"0\"",
        "there is no setting `retention.never`",
        "): must be one text, number, true or false",
        "): must be true or false, but is \"1\"",
    ] {
        assert!(all.contains(part), "{part}\nnot in\n{all}");
    }
    assert_eq!(mistakes.len(), 14, "{all}");
    assert!(!all.contains("hunter2") && !all.contains("even shorter"), "{all}");
}

#[test]
fn a_broken_file_is_named_with_its_line_but_not_quoted() {
    let sentence = only(with_file("[secrets]\nmaster = [\"hunter2", &[]));
    assert!(sentence.contains(": line 2: "), "{sentence}");
    assert!(!sentence.contains("hunter2"), "{sentence}");
    let sources = Sources {
        file: Some(Path::new("/no/such.toml")),
        env: env(&[("TIKTOMATO__X", "1")]),
        mode: Mode::Embedded,
    };
    let mistakes = sentences(Settings::load(sources).unwrap_err());
    assert!(mistakes[0].starts_with("/no/such.toml: the file cannot be read"), "{mistakes:?}");
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
}

#[test]
fn separate_processes_need_what_they_share() {
    let mistakes = sentences(distributed(&[]).unwrap_err());
    let missing = ["DATABASE_URL", "REDIS_URL", "TIKTOMATO__SECRETS__MASTER"];
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    for (name, sentence) in missing.iter().zip(&mistakes) {
        assert!(sentence.starts_with(&format!("{name} is not set: ")), "{sentence}");
    }
    let sqlite = only(distributed(&[
        ("DATABASE_URL", "sqlite://x.db"),
        ("REDIS_URL", "redis://localhost"),
        ("TIKTOMATO__SECRETS__MASTER", SECRET),
    ]));
    assert!(sqlite.contains("cannot share an SQLite file"), "{sqlite}");
    let settings = distributed(&[
        ("DATABASE_URL", "postgres://me:hunter2@db/shop"),
        ("REDIS_URL", "redis://:hunter2@cache"),
        ("TIKTOMATO__SECRETS__MASTER", &format!("{SECRET}, {SECRET}2")),
    ])
    .unwrap();
    assert_eq!(settings.secrets.expose().count(), 2);
    assert_eq!(settings.gateway.drain.as_secs(), 5);
}

#[test]
fn secrets_are_masked() {
    let settings = distributed(&[
        ("DATABASE_URL", "postgres://me:hunter2@db/shop"),
        ("REDIS_URL", "redis://:hunter2@cache"),
        ("TIKTOMATO__SECRETS__MASTER", &format!("hunter2{SECRET}")),
        ("FAL_KEY", "hunter2"),
        ("STRIPE_SECRET_KEY", "hunter2"),
    ])
    .unwrap();
    let shown = settings.describe();
    for text in [&shown, &format!("{settings:?}")] {
        assert!(!text.contains("hunter2") && !text.contains(SECRET), "{text}");
    }
    for line in [
        "url = \"postgres://me:***@db/shop\"",
        "url = \"redis://:***@cache\"",
        "master = \"set (1)\"",
        "fal_key = \"set\"",
        "hf_token = \"not set\"",
        "secret_key = \"set\"",
    ] {
        assert!(shown.contains(line), "{line} not in\n{shown}");
    }
    assert_eq!(settings.secrets.expose().next().unwrap().len(), 39);
}

#[test]
fn pools_are_replaced_or_changed_one_by_one() {
    let pools = |pairs: &[(&str, &str)]| {
        let settings = with_file("[workers.pools]\nfal = 4", pairs).unwrap();
        settings
            .workers
            .pools
            .iter()
            .map(|(name, size)| format!("{name}={size}"))
            .collect::<Vec<_>>()
    };
    let (hf, kie) = ("huggingface=16", "kieai=16");
    assert_eq!(pools(&[]), ["demo=8", "fal=4", hf, kie]);
    assert_eq!(pools(&[("TIKTOMATO__WORKERS__POOLS__DEMO", "0")]), ["fal=4", hf, kie]);
    assert_eq!(pools(&[("TIKTOMATO__WORKERS__POOLS", "kie=2")]), ["kie=2"]);
    let both = [("TIKTOMATO__WORKERS__POOLS", "kie=2"), ("TIKTOMATO__WORKERS__POOLS__FAL", "9")];
    assert_eq!(pools(&both), ["fal=9", "kie=2"]);
}

#[test]
fn two_ports_must_differ() {
    let sentence = only(embedded(&[("TIKTOMATO__OPS__LISTEN", "0.0.0.0:8080")]));
    assert!(sentence.contains("must not be the gateway's port, 8080"), "{sentence}");
    let any = [("TIKTOMATO__OPS__LISTEN", "127.0.0.1:0"), ("TIKTOMATO__GATEWAY__LISTEN", "[::]:0")];
    let settings = embedded(&any).unwrap().listening_on("[::]:4711".parse().unwrap());
    assert_eq!(settings.gateway.public_url.to_string(), "http://[::1]:4711");
    assert_eq!(settings.media.public_url.to_string(), "http://[::1]:4711");
    let named = [("TIKTOMATO__GATEWAY__PUBLIC_URL", "https://example.com")];
    let settings = embedded(&named).unwrap().listening_on("127.0.0.1:4711".parse().unwrap());
    assert_eq!(settings.gateway.public_url.to_string(), "https://example.com");
}

/// `default.toml`, what is read, and what is shown are three lists of the same settings.
#[test]
fn the_default_file_and_the_description_name_every_setting() {
    // A table without entries is not shown.
    let env = env(&[("TIKTOMATO__WORKERS__MAX_IN_FLIGHT__FAL", "9")]);
    let mut reader = open(&Sources { file: None, env, mode: Mode::Embedded });
    let settings = Settings::read(&mut reader, Mode::Embedded).unwrap();
    assert_eq!(settings.workers.max_in_flight.get("fal").unwrap().get(), 9);
    let asked: BTreeSet<String> = reader.asked().map(str::to_owned).collect();

    let uncommented: String = DEFAULTS
        .lines()
        .map(|line| {
            let setting = line.strip_prefix("# ").filter(|rest| {
                rest.split_once(" = ").is_some_and(|(name, _)| {
                    name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                })
            });
            format!("{}\n", setting.unwrap_or(line))
        })
        .collect();
    let names = |toml: &str| -> BTreeSet<String> {
        let layer = layers::text(toml, &Place::BuiltIn).unwrap();
        let whole = |key: String| {
            let open = ["workers.pools", "workers.max_in_flight"];
            let within = |open: &&str| key.starts_with(&format!("{open}."));
            open.into_iter().find(within).map_or(key.clone(), str::to_owned)
        };
        layer.into_keys().map(whole).collect()
    };
    assert_eq!(names(&uncommented), asked);
    assert_eq!(names(&settings.describe()), asked);
}

#[test]
fn a_provider_is_offered_with_its_key() {
    let settings = embedded(&[("FAL_KEY", "id:secret")]).unwrap();
    let offers = Providers::NAMES.map(|name| settings.providers.offer(name));
    assert_eq!(
        offers,
        [Offer::Yes, Offer::Yes, Offer::NeedsKey("HF_TOKEN"), Offer::NeedsKey("KIE_API_KEY")]
    );
    assert_eq!(settings.providers.offer("nobody"), Offer::Unknown);
    let sentence = only(embedded(&[("TIKTOMATO__PROVIDERS__FAL_MEDIA_HOSTS", "a.b.c,bad host")]));
    assert!(sentence.contains("\"bad host\""), "{sentence}");
}
