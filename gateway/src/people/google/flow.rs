//! The way to Google and back: where its endpoints are, where to send a browser, and what a code is
//! worth.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use config::{context::Context, net::Plain, random};
use entities::Timestamp;
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken,
    EndpointNotSet, EndpointSet, ExtraTokenFields, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, RequestTokenError, Scope, StandardRevocableToken, StandardTokenResponse, TokenUrl,
    basic::{
        BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
        BasicTokenType,
    },
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{
    GoogleError,
    keys::{Found, Keys},
    refused,
    token::{Expected, Identity, Key, Token},
};

/// How long Google may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long its endpoints are remembered.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// The token endpoint's answer.
type Tokens = StandardTokenResponse<IdToken, BasicTokenType>;

/// A client that knows both endpoints.
type OAuth = Client<
    BasicErrorResponse,
    Tokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

#[derive(Debug, Serialize, Deserialize)]
struct IdToken {
    id_token: Option<String>,
}

impl ExtraTokenFields for IdToken {}

#[derive(Debug, Clone, Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

/// A sign-in that has begun.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Flow {
    state: String,
    nonce: String,
    verifier: String,
}

/// What came back with the browser.
pub(super) struct Back {
    pub(super) code: String,
    pub(super) state: String,
    pub(super) iss: Option<String>,
}

/// Google, as far as we use it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Google(Arc<Inner>);

struct Inner {
    client_id: String,
    client_secret: String,
    issuer: String,
    redirect: String,
    http: Plain,
    discovery: Mutex<Option<(Instant, Discovery)>>,
    keys: Mutex<Keys>,
}

impl Google {
    /// `None` if it is not set up. Google is not asked yet.
    pub(crate) fn new(context: &Context) -> Option<Self> {
        let settings = &context.settings.google;
        let (client_id, client_secret) = settings.client()?;
        let http = match Plain::new(PATIENCE) {
            Ok(http) => http,
            Err(error) => {
                tracing::error!(%error, "signing in with Google is off");
                return None;
            }
        };
        Some(Self(Arc::new(Inner {
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            issuer: settings.issuer.at("").trim_end_matches('/').to_owned(),
            redirect: context.settings.gateway.public_url.at("/auth/google/callback"),
            http,
            discovery: Mutex::default(),
            keys: Mutex::default(),
        })))
    }

    /// Where to send a browser, and what it must bring back.
    pub(super) async fn begin(&self) -> Result<(String, Flow), GoogleError> {
        let client = self.client(&self.discovery().await?)?;
        let secret = || hex::encode(random::secret());
        let flow = Flow { state: secret(), nonce: secret(), verifier: secret() };
        let verifier = PkceCodeVerifier::new(flow.verifier.clone());
        let state = flow.state.clone();
        let (url, _) = client
            .authorize_url(|| CsrfToken::new(state))
            .add_scopes(["openid", "email", "profile"].map(|scope| Scope::new(scope.to_owned())))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .add_extra_param("nonce", flow.nonce.clone())
            .add_extra_param("prompt", "select_account")
            .url();
        Ok((url.to_string(), flow))
    }

    /// Who somebody is that came back.
    pub(super) async fn finish(
        &self,
        flow: Flow,
        back: Back,
        now: Timestamp,
    ) -> Result<Identity, GoogleError> {
        if back.state != flow.state {
            return Err(refused("it is the answer to another sign-in"));
        }
        let discovery = self.discovery().await?;
        if back.iss.is_some_and(|iss| iss != discovery.issuer) {
            return Err(refused("another issuer answered"));
        }
        let http = self.0.http.clone();
        let send = move |request: oauth2::HttpRequest| {
            let http = http.clone();
            async move { http.send(request).await }
        };
        let tokens = self
            .client(&discovery)?
            .exchange_code(AuthorizationCode::new(back.code))
            .set_pkce_verifier(PkceCodeVerifier::new(flow.verifier))
            .request_async(&send)
            .await
            .map_err(|error| match error {
                RequestTokenError::ServerResponse(told) => refused(told.error().to_string()),
                RequestTokenError::Request(error) => GoogleError::Away(error.to_string()),
                // What it sent may hold a token.
                RequestTokenError::Parse(..) => {
                    GoogleError::Away("its answer is strange".to_owned())
                }
                RequestTokenError::Other(_) => GoogleError::Away("its answer is empty".to_owned()),
            })?;
        let text = tokens.extra_fields().id_token.clone();
        let text = text.ok_or_else(|| refused("there is no identity token"))?;
        let token = Token::read(&text)?;
        let key = self.key(token.kid()?, &discovery).await?;
        let expected = Expected {
            issuer: &discovery.issuer,
            client_id: &self.0.client_id,
            nonce: &flow.nonce,
            now: now.0.div_euclid(1_000_000),
        };
        token.check(&key, &expected)
    }

    fn client(&self, discovery: &Discovery) -> Result<OAuth, GoogleError> {
        let bad = |_| GoogleError::Away("its discovery document names a bad URL".to_owned());
        let auth = AuthUrl::new(discovery.authorization_endpoint.clone()).map_err(bad)?;
        let token = TokenUrl::new(discovery.token_endpoint.clone()).map_err(bad)?;
        let redirect = RedirectUrl::new(self.0.redirect.clone()).map_err(bad)?;
        Ok(Client::new(ClientId::new(self.0.client_id.clone()))
            .set_client_secret(ClientSecret::new(self.0.client_secret.clone()))
            .set_auth_type(AuthType::RequestBody)
            .set_auth_uri(auth)
            .set_token_uri(token)
            .set_redirect_uri(redirect))
    }

    async fn discovery(&self) -> Result<Discovery, GoogleError> {
        let mut known = self.0.discovery.lock().await;
        if let Some((read_at, discovery)) = known.as_ref()
            && read_at.elapsed() < REMEMBERED
        {
            return Ok(discovery.clone());
        }
        let url = format!("{}/.well-known/openid-configuration", self.0.issuer);
        let (_, body) = self.read(&url).await?;
        let discovery: Discovery = serde_json::from_slice(&body).map_err(|error| {
            GoogleError::Away(format!("its discovery document cannot be read: {error}"))
        })?;
        if discovery.issuer != self.0.issuer {
            return Err(GoogleError::Away("its discovery document is another issuer's".to_owned()));
        }
        *known = Some((Instant::now(), discovery.clone()));
        Ok(discovery)
    }

    async fn key(&self, kid: &str, discovery: &Discovery) -> Result<Key, GoogleError> {
        let unknown = || refused("the token is signed by an unknown key");
        let mut keys = self.0.keys.lock().await;
        match keys.find(kid, Instant::now()) {
            Found::Key(key) => return Ok(key),
            Found::No => return Err(unknown()),
            Found::Read => {}
        }
        let (headers, body) = self.read(&discovery.jwks_uri).await?;
        keys.take(&headers, &body, Instant::now())?;
        match keys.find(kid, Instant::now()) {
            Found::Key(key) => Ok(key),
            Found::No | Found::Read => Err(unknown()),
        }
    }

    async fn read(&self, url: &str) -> Result<(http::HeaderMap, Vec<u8>), GoogleError> {
        let request = http::Request::get(url).body(Vec::new());
        let request = request.map_err(|_| GoogleError::Away("a bad URL".to_owned()))?;
        let answer = self.0.http.send(request).await;
        let answer = answer.map_err(|error| GoogleError::Away(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(GoogleError::Away(format!("it answered with {}", answer.status())));
        }
        let (parts, body) = answer.into_parts();
        Ok((parts.headers, body))
    }
}
