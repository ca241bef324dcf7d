//! The secrets: what each is, and the settings that hold those of the operator.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use crate::harness::{Backend, OwnRedis};

/// A secret and what it is.
#[derive(Debug)]
pub(crate) struct Secret {
    pub(crate) what: &'static str,
    pub(crate) text: String,
    /// Whether it is somebody's own words, which belong into a copy of their data.
    pub(crate) own: bool,
}

/// Everything that is planted in one run.
pub(crate) struct Plant {
    pub(crate) secrets: Vec<Secret>,
    /// Kept for as long as the platform runs.
    redis: Option<OwnRedis>,
}

impl Plant {
    pub(crate) async fn new(backend: Backend) -> Self {
        let mut plant = Self { secrets: Vec::new(), redis: None };
        if backend == Backend::Distributed {
            let password = plant.make("the password of Redis");
            let redis = OwnRedis::start();
            redis.require_password(&password).await;
            plant.redis = Some(redis);
        }
        plant
    }

    /// A new secret, unlike any other text.
    pub(crate) fn make(&mut self, what: &'static str) -> String {
        let text = format!("s3cret{}", uuid::Uuid::new_v4().simple());
        self.note(what, &text);
        text
    }

    /// The same, as words that somebody writes into their account.
    pub(crate) fn words(&mut self, what: &'static str) -> String {
        let text = self.make(what);
        if let Some(secret) = self.secrets.last_mut() {
            secret.own = true;
        }
        text
    }

    /// Something that the platform made and nobody else may see.
    pub(crate) fn note(&mut self, what: &'static str, text: &str) {
        assert!(text.len() >= 12, "{what} is too short to be looked for: {text}");
        self.secrets.push(Secret { what, text: text.to_owned(), own: false });
    }

    /// A mail server's address with a password.
    pub(crate) fn smtp(&mut self) -> String {
        format!("smtps://someone:{}@mail.example.com", self.make("the password of the mail server"))
    }

    /// The settings that hold secrets. No provider is called with them: nothing listens there.
    pub(crate) fn settings(&mut self) -> Vec<(&'static str, String)> {
        let nowhere = "http://127.0.0.1:9".to_owned();
        let mut settings = vec![
            ("FAL_KEY", format!("id:{}", self.make("the key for fal.ai"))),
            ("TIKTOMATO__PROVIDERS__FAL_USER_ID", "our-account".to_owned()),
            ("HF_TOKEN", self.make("the token for Hugging Face")),
            ("KIE_API_KEY", self.make("the key for kie.ai")),
            ("TIKTOMATO__PROVIDERS__KIE_WEBHOOK_KEY", self.make("kie.ai's webhook key")),
            ("STRIPE_SECRET_KEY", self.make("the key for Stripe")),
            ("TIKTOMATO__GOOGLE__CLIENT_ID", "our-client".to_owned()),
            ("TIKTOMATO__GOOGLE__CLIENT_SECRET", self.make("the client secret for Google")),
            ("TIKTOMATO__GOOGLE__ISSUER", nowhere.clone()),
            ("TIKTOMATO__PROVIDERS__FAL_URL", nowhere.clone()),
            ("TIKTOMATO__PROVIDERS__FAL_JWKS_URL", nowhere.clone()),
            ("TIKTOMATO__PROVIDERS__HF_URL", nowhere.clone()),
            ("TIKTOMATO__PROVIDERS__HF_HUB_URL", nowhere.clone()),
            ("TIKTOMATO__PROVIDERS__KIE_URL", nowhere),
        ];
        let (first, second) = (self.make("the master secret"), self.make("the old master secret"));
        settings.push(("TIKTOMATO__SECRETS__MASTER", format!("{first},{second}")));
        if let Some(redis) = &self.redis {
            let password = &self.secrets[0].text;
            let url = redis.url().replace("redis://", &format!("redis://:{password}@"));
            settings.push(("REDIS_URL", url));
        }
        settings
    }
}

impl Secret {
    /// The ways in which it may be written.
    pub(crate) fn forms(&self) -> Vec<String> {
        let text = self.text.as_bytes();
        let reversed: String = self.text.chars().rev().collect();
        let percent: String = text.iter().map(|byte| format!("%{byte:02X}")).collect();
        // What is stored as bytes is noted in hexadecimal.
        let bytes = hex::decode(&self.text).unwrap_or_else(|_| text.to_vec());
        vec![
            STANDARD.encode(&bytes).trim_end_matches('=').to_owned(),
            URL_SAFE_NO_PAD.encode(&bytes),
            format!("{bytes:?}"),
            self.text.clone(),
            self.text.to_uppercase(),
            STANDARD.encode(text).trim_end_matches('=').to_owned(),
            URL_SAFE_NO_PAD.encode(text),
            hex::encode(text),
            format!("{:?}", text),
            percent,
            reversed,
        ]
    }
}
