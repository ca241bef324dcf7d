//! Operators' commands on a running platform, and the users that they make.

use serde_json::Value;
use uuid::Uuid;

use super::{
    super::{Api, Env, run},
    Cluster,
};

impl Cluster {
    /// What `tiktomato admin … --json` answers, and whether it ended well.
    pub(crate) fn admin(&self, args: &[&str]) -> (bool, Value) {
        admin(args, &self.env)
    }

    /// Runs a command of the binary to its end, with the platform's settings.
    pub(crate) fn run(&self, args: &[&str]) -> std::process::Output {
        run(args, &self.env)
    }

    /// What a command that must fail says.
    pub(crate) fn admin_fails(&self, args: &[&str]) -> String {
        let all: Vec<&str> = ["admin"].iter().chain(args).chain(&["--json"]).copied().collect();
        let output = run(&all, &self.env);
        assert!(!output.status.success(), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// A new user with a key and, if above zero, these credits.
    pub(crate) fn user(&self, credits: i64) -> Api {
        let email = format!("{}@example.com", Uuid::new_v4().simple());
        let (ok, user) = self.admin(&["create-user", "--email", &email, "--name", "Test"]);
        assert!(ok && user["email"] == email.as_str() && user["id"].is_string(), "{user}");
        let (ok, key) = self.admin(&["create-key", "--user", &email]);
        assert!(ok, "{key}");
        let key = key["key"].as_str().unwrap().to_owned();
        assert!(key.starts_with("tt_live_"), "{key}");
        if credits > 0 {
            let amount = credits.to_string();
            let grant =
                ["grant-credits", "--user", &email, "--credits", &amount, "--reason", "test"];
            let (ok, wallet) = self.admin(&grant);
            assert!(ok && wallet["available"] == credits && wallet["held"] == 0, "{wallet}");
        }
        Api { http: self.http.clone(), base: self.base.clone(), key, email }
    }

    /// A new operator with a key.
    pub(crate) fn operator(&self) -> Api {
        let operator = self.user(10_000);
        let (ok, made) = self.admin(&["set-role", "--user", &operator.email, "--role", "operator"]);
        assert!(ok && made["role"] == "operator", "{made}");
        operator
    }
}

/// What `tiktomato admin … --json` answers under these settings, and whether it ended well.
pub(crate) fn admin(args: &[&str], env: &Env) -> (bool, Value) {
    let all: Vec<&str> = ["admin"].iter().chain(args).chain(&["--json"]).copied().collect();
    let output = run(&all, env);
    let answer = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{args:?} answered no JSON ({error}): {output:?}"));
    (output.status.success(), answer)
}
