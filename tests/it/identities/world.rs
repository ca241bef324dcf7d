//! The people of the test, what the right user owns, and the requests that are made of it.

use std::collections::BTreeMap;

use reqwest::{RequestBuilder, header};
use serde_json::{Value, json};

use super::{
    Target,
    table::{Identity, Make, Route},
};
use crate::harness::{Api, Backend, Cluster, sign_up, sketch, uuid_of};

const PASSWORD: &str = "correct horse battery";
/// Everything that a key may be allowed.
const SCOPES: [&str; 4] = ["jobs:read", "jobs:write", "credits:read", "account"];
/// Words that only the right user's things hold.
const PROMPT: &str = "quaggaokapi";
/// No key of this form was ever given out, though its checksum fits.
const NOBODYS_KEY: &str = "tt_live_00000000000000000000000000000000";

/// A running platform with people in it.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) right: Api,
    pub(crate) other: Api,
    pub(crate) operator: Api,
    /// Keys of the right user's, by the scope that each lacks.
    unscoped: BTreeMap<&'static str, String>,
    /// Texts that no answer to others may hold.
    pub(crate) marks: Vec<String>,
}

impl World {
    pub(crate) async fn new(backend: Backend) -> Self {
        let cluster = Cluster::plain(backend).await;
        let right = person(&cluster).await;
        let other = cluster.user(10_000);
        let operator = cluster.operator();
        let marks = vec![right.email.clone(), PROMPT.to_owned()];
        let unscoped = unscoped(&cluster, &right).await;
        let mut world = Self { cluster, right, other, operator, unscoped, marks };
        let job = world.job().await;
        world.marks.push(job);
        let upload = world.upload().await;
        world.marks.push(upload);
        world
    }

    /// A job of the right user's that has ended.
    async fn job(&self) -> String {
        let id = self.right.submit(&json!({"prompt": PROMPT})).await;
        self.right.until(&id, "succeeded").await;
        id
    }

    async fn upload(&self) -> String {
        let request = self.right.request(reqwest::Method::POST, "/v1/uploads").body(picture());
        let upload = crate::harness::Answer::to(request).await.unwrap().expect(201);
        upload["id"].as_str().unwrap().to_owned()
    }

    /// Makes what the route asks for.
    pub(crate) async fn target(&self, route: &Route) -> Target {
        let path = route.path();
        let with = |id: &str| Target { path: path.replace("{id}", id), body: None };
        let body = |body: Value| Target { path: path.to_owned(), body: Some(body) };
        match route.make {
            Make::Plain | Make::Image => Target { path: path.to_owned(), body: None },
            Make::Job => with(&self.job().await),
            Make::LiveJob => with(&self.right.submit(&json!({"delay_seconds": 60})).await),
            Make::Upload => with(&self.upload().await),
            Make::Submit => body(sketch(&json!({}))),
            Make::Model => {
                let path = path.replace("{owner}", "demo").replace("{name}", "sketch");
                Target { path, body: None }
            }
            Make::Callback => {
                let attempt = "att_01980000000070008000000000000000";
                let path = path.replace("{provider}", "fal").replace("{attempt_id}", attempt);
                Target { path: format!("{path}?mac=AAAA"), body: Some(json!({})) }
            }
            Make::Key => {
                let (_, made) = self.cluster.admin(&["create-key", "--user", &self.right.email]);
                with(made["id"].as_str().unwrap())
            }
            Make::NewKey => body(json!({"name": "another", "scopes": ["jobs:read"]})),
            Make::Name => body(json!({"name": "Another Name"})),
            Make::Export => {
                let export = self.right.post("/v1/account/exports", &json!({})).await.expect(202);
                with(export["id"].as_str().unwrap())
            }
            Make::Receipt => with("era_01980000000070008000000000000000?token=none"),
            Make::Deletion => body(json!({"password": PASSWORD})),
            Make::Session => {
                self.cluster.browser().sign_in(&self.right.email, PASSWORD).await.expect(200);
                let sessions = self.right.get("/v1/sessions").await.expect(200);
                with(sessions["data"][0]["id"].as_str().unwrap())
            }
            Make::SignUp => {
                let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
                body(sign_up(&email, PASSWORD))
            }
            Make::SignIn => body(json!({"email": self.right.email, "password": "not this one"})),
            Make::Email => body(json!({"email": self.right.email})),
            Make::Proof => body(json!({"token": "none"})),
            Make::Token => body(json!({"token": "none", "password": PASSWORD})),
            Make::Password => body(json!({"current_password": PASSWORD, "password": PASSWORD})),
            Make::BirthDate => body(json!({"birth_date": "1990-12-31"})),
            Make::NewUser => {
                let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
                body(json!({ "email": email }))
            }
            Make::User => self.about(path, &json!({})),
            Make::Correction => self.about(path, &json!({"name": "Another Name"})),
            Make::Leaver => body(json!({"user": self.cluster.user(0).email})),
            Make::Grant => self.about(path, &json!({"credits": 5, "reason": "a test"})),
            Make::Role => self.about(path, &json!({"role": "user"})),
            Make::Off => body(json!({"target": "kieai", "reason": "a test"})),
            Make::On => body(json!({"target": "kieai"})),
            Make::UserQuery => {
                Target { path: format!("{path}?email={}", self.right.email), body: None }
            }
            Make::Media => {
                let job = self.right.job(&self.job().await).await;
                let url = job["output"][0]["url"].as_str().unwrap();
                Target { path: url.replace(&self.cluster.base, ""), body: None }
            }
        }
    }

    /// A body that names the right user, and says this.
    fn about(&self, path: &str, more: &Value) -> Target {
        let mut body = more.clone();
        body["user"] = json!(self.right.email);
        Target { path: path.to_owned(), body: Some(body) }
    }

    /// The request as this identity would make it.
    pub(crate) fn request(
        &self,
        route: &Route,
        target: &Target,
        identity: Identity,
    ) -> RequestBuilder {
        let url = format!("{}{}", self.cluster.base, target.path);
        let request = self.cluster.http.request(route.method(), url);
        let request = match identity {
            Identity::Nobody => request,
            Identity::BadKey => request.bearer_auth(bad_key()),
            Identity::Other => request.bearer_auth(&self.other.key),
            Identity::Operator => request.bearer_auth(&self.operator.key),
            Identity::Unscoped => request.bearer_auth(self.unscoped(route.scope)),
            Identity::Right => request.bearer_auth(&self.right.key),
        };
        match (&target.body, route.make) {
            (Some(body), _) => request.json(body),
            (None, Make::Image) => request.body(picture()),
            // A job that is told of is told whole and then the stream ends.
            (None, _) => request.header(header::ACCEPT, "*/*"),
        }
    }

    /// A key of the right user's that has every scope but this one.
    fn unscoped(&self, scope: Option<&str>) -> &str {
        &self.unscoped[scope.unwrap_or(SCOPES[3])]
    }
}

/// Somebody with a password, a session, a key and credits.
async fn person(cluster: &Cluster) -> Api {
    let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
    cluster.person(&email, PASSWORD).await;
    let grant = ["grant-credits", "--user", &email, "--credits", "10000", "--reason", "test"];
    assert!(cluster.admin(&grant).0);
    let (_, made) = cluster.admin(&["create-key", "--user", &email]);
    let key = made["key"].as_str().unwrap().to_owned();
    Api { http: cluster.http.clone(), base: cluster.base.clone(), key, email }
}

/// A key for each scope that has all the others.
async fn unscoped(cluster: &Cluster, right: &Api) -> BTreeMap<&'static str, String> {
    let database = cluster.database().await;
    let mut keys = BTreeMap::new();
    for lacking in SCOPES {
        let (_, made) = cluster.admin(&["create-key", "--user", &right.email]);
        let id = database.literal(uuid_of(made["id"].as_str().unwrap()));
        let rest: Vec<&str> = SCOPES.into_iter().filter(|scope| *scope != lacking).collect();
        let sql = format!("UPDATE api_keys SET scopes = '{}' WHERE id = {id}", rest.join(" "));
        assert_eq!(database.write(&sql).await, 1);
        keys.insert(lacking, made["key"].as_str().unwrap().to_owned());
    }
    database.close().await;
    keys
}

fn bad_key() -> String {
    let digits = b"0123456789abcdefghjkmnpqrstvwxyz";
    let crc = crc32fast::hash(NOBODYS_KEY.as_bytes());
    let check = (0..7).map(|n| char::from(digits[usize::try_from((crc >> (5 * n)) & 31).unwrap()]));
    NOBODYS_KEY.chars().chain(check).collect()
}

/// The smallest picture there is a use for.
fn picture() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_pixel(8, 8, image::Rgb([200, 40, 30]));
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}
