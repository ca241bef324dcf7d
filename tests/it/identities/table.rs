//! What each route answers to whom.

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Nobody: no key, no session.
    Nobody,
    /// A key of the right form that is nobody's.
    BadKey,
    /// Another user, whose key has every scope.
    Other,
    /// An operator, whose key has every scope.
    Operator,
    /// The right user, whose key has every scope but the one that the route needs.
    Unscoped,
    /// The right user, whose key has every scope.
    Right,
}

impl Identity {
    /// All of them, in the order in which they ask.
    pub(crate) const ALL: [Self; 6] =
        [Self::Nobody, Self::BadKey, Self::Other, Self::Operator, Self::Unscoped, Self::Right];
}

/// Whom a route serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One thing of one user: to anybody else it does not exist.
    Thing,
    /// Whatever belongs to the caller: others get their own.
    Own,
    /// Any caller with a key.
    Shared,
    /// Everybody, also without a key.
    Public,
    /// Whoever is signed in: what keys cannot do.
    Person,
    /// The caller's own account, once they have shown again who they are.
    Confirmed,
    /// Operators alone.
    Operator,
}

/// Makes the parameters of a request; `world.rs` says how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    /// The path as it is.
    Plain,
    /// The id of a job that has ended.
    Job,
    /// The id of a job that runs for long.
    LiveJob,
    /// The id of an upload.
    Upload,
    /// The body of a submit.
    Submit,
    /// An image as the body.
    Image,
    /// `demo/sketch`.
    Model,
    /// The address of a callback that nobody was given.
    Callback,
    /// A link to the file of a job.
    Media,
    /// The id of a key that nobody uses.
    Key,
    /// The body of a key.
    NewKey,
    /// A name.
    Name,
    /// The id of a copy of the right user's data.
    Export,
    /// The address of a receipt that nobody was given.
    Receipt,
    /// The right user's password, to delete their account.
    Deletion,
    /// The id of a session.
    Session,
    /// The body of a sign-up.
    SignUp,
    /// An address and a wrong password.
    SignIn,
    /// An address alone.
    Email,
    /// A token that is none.
    Proof,
    /// A token that is none, and a password.
    Token,
    /// A password alone.
    Password,
    /// A date of birth.
    BirthDate,
    /// The body of `create-user`.
    NewUser,
    /// A body that names the right user.
    User,
    /// The body of a correction of the right user.
    Correction,
    /// A body that names somebody who is made for this.
    Leaver,
    /// The body of a grant to the right user.
    Grant,
    /// The body that makes the right user what they are.
    Role,
    /// A query that names the right user.
    UserQuery,
    /// The body that switches a provider off that has no key anyhow.
    Off,
    /// The body that switches it on.
    On,
}

/// A route, what it needs, and what it answers.
#[derive(Debug)]
pub(crate) struct Route {
    method: &'static str,
    path: &'static str,
    pub(crate) kind: Kind,
    /// The scope that its key needs, if it needs one.
    pub(crate) scope: Option<&'static str>,
    pub(crate) make: Make,
    /// What it answers where it works.
    works: u16,
}

const fn route(
    method: &'static str,
    path: &'static str,
    kind: Kind,
    scope: Option<&'static str>,
    make: Make,
    works: u16,
) -> Route {
    Route { method, path, kind, scope, make, works }
}

impl Route {
    /// `METHOD path`.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(crate) fn method(&self) -> reqwest::Method {
        self.method.parse().unwrap()
    }

    pub(crate) fn path(&self) -> &'static str {
        self.path
    }

    /// The statuses that are right for this identity.
    pub(crate) fn expected(&self, identity: Identity) -> Vec<u16> {
        use Identity as I;
        let works = vec![self.works];
        match (self.kind, identity) {
            (Kind::Public, _) => works,
            (_, I::Nobody | I::BadKey) => vec![401],
            (Kind::Person, _) => vec![403],
            (Kind::Confirmed, I::Other | I::Operator) => vec![403],
            (Kind::Operator, I::Operator) => works,
            (Kind::Operator, _) => vec![403],
            (_, I::Right) => works,
            (_, I::Unscoped) if self.scope.is_none() => works,
            (_, I::Unscoped) => vec![403],
            (Kind::Thing, I::Other | I::Operator) => vec![404],
            (Kind::Own | Kind::Shared, I::Other | I::Operator) => works,
        }
    }
}

const READ: Option<&str> = Some("jobs:read");
const WRITE: Option<&str> = Some("jobs:write");
const CREDITS: Option<&str> = Some("credits:read");
const ACCOUNT: Option<&str> = Some("account");

/// Every route of the description.
pub(crate) const ROUTES: &[Route] = &[
    route("POST", "/v1/jobs", Kind::Own, WRITE, Make::Submit, 202),
    route("GET", "/v1/jobs", Kind::Own, READ, Make::Plain, 200),
    route("POST", "/v1/jobs/quote", Kind::Shared, WRITE, Make::Submit, 200),
    route("GET", "/v1/jobs/{id}", Kind::Thing, READ, Make::Job, 200),
    route("DELETE", "/v1/jobs/{id}", Kind::Thing, WRITE, Make::Job, 204),
    route("GET", "/v1/jobs/{id}/events", Kind::Thing, READ, Make::Job, 200),
    route("POST", "/v1/jobs/{id}/cancel", Kind::Thing, WRITE, Make::LiveJob, 200),
    route("POST", "/v1/uploads", Kind::Own, WRITE, Make::Image, 201),
    route("GET", "/v1/uploads/{id}", Kind::Thing, READ, Make::Upload, 200),
    route("DELETE", "/v1/uploads/{id}", Kind::Thing, WRITE, Make::Upload, 204),
    route("GET", "/v1/models", Kind::Shared, None, Make::Plain, 200),
    route("GET", "/v1/models/{owner}/{name}", Kind::Shared, None, Make::Model, 200),
    route("GET", "/v1/credits", Kind::Own, CREDITS, Make::Plain, 200),
    route("GET", "/v1/credits/entries", Kind::Own, CREDITS, Make::Plain, 200),
    route("GET", "/v1/keys", Kind::Own, ACCOUNT, Make::Plain, 200),
    route("POST", "/v1/keys", Kind::Own, ACCOUNT, Make::NewKey, 201),
    route("DELETE", "/v1/keys/{id}", Kind::Thing, ACCOUNT, Make::Key, 204),
    route("GET", "/v1/usage", Kind::Own, ACCOUNT, Make::Plain, 200),
    route("GET", "/v1/sessions", Kind::Own, ACCOUNT, Make::Plain, 200),
    route("DELETE", "/v1/sessions", Kind::Own, ACCOUNT, Make::Plain, 204),
    route("DELETE", "/v1/sessions/{id}", Kind::Thing, ACCOUNT, Make::Session, 204),
    route("GET", "/v1/audit", Kind::Own, ACCOUNT, Make::Plain, 200),
    // Signing up and in is for everybody; who has a key already is asked like anybody else.
    route("POST", "/v1/auth/sign-up", Kind::Public, None, Make::SignUp, 202),
    route("POST", "/v1/auth/verify", Kind::Public, None, Make::Proof, 403),
    route("POST", "/v1/auth/sign-in", Kind::Public, None, Make::SignIn, 401),
    route("POST", "/v1/auth/sign-out", Kind::Public, None, Make::Plain, 204),
    route("POST", "/v1/auth/password", Kind::Person, None, Make::Password, 200),
    route("POST", "/v1/auth/forgot", Kind::Public, None, Make::Email, 202),
    route("POST", "/v1/auth/reset", Kind::Public, None, Make::Token, 403),
    route("POST", "/v1/auth/google", Kind::Public, None, Make::BirthDate, 404),
    route("POST", "/v1/admin/create-user", Kind::Operator, ACCOUNT, Make::NewUser, 201),
    route("POST", "/v1/admin/create-key", Kind::Operator, ACCOUNT, Make::User, 201),
    route("POST", "/v1/admin/set-role", Kind::Operator, ACCOUNT, Make::Role, 200),
    route("POST", "/v1/admin/update-user", Kind::Operator, ACCOUNT, Make::Correction, 200),
    route("POST", "/v1/admin/delete-user", Kind::Operator, ACCOUNT, Make::Leaver, 202),
    route("POST", "/v1/admin/export-user", Kind::Operator, ACCOUNT, Make::User, 202),
    route("GET", "/v1/admin/exports/{id}", Kind::Operator, ACCOUNT, Make::Export, 200),
    route("POST", "/v1/admin/grant-credits", Kind::Operator, ACCOUNT, Make::Grant, 200),
    route("GET", "/v1/admin/users", Kind::Operator, ACCOUNT, Make::UserQuery, 200),
    route("GET", "/v1/admin/reconcile", Kind::Operator, ACCOUNT, Make::Plain, 200),
    route("GET", "/v1/admin/providers", Kind::Operator, ACCOUNT, Make::Plain, 200),
    route("POST", "/v1/admin/providers/off", Kind::Operator, ACCOUNT, Make::Off, 200),
    route("POST", "/v1/admin/providers/on", Kind::Operator, ACCOUNT, Make::On, 200),
    // Whoever has no address with a right MAC finds nothing there, whoever it is.
    route("POST", "/callbacks/{provider}/{attempt_id}", Kind::Public, None, Make::Callback, 404),
    route("GET", "/v1/account", Kind::Own, ACCOUNT, Make::Plain, 200),
    route("PATCH", "/v1/account", Kind::Own, ACCOUNT, Make::Name, 200),
    route("POST", "/v1/account/exports", Kind::Own, ACCOUNT, Make::Plain, 202),
    route("GET", "/v1/account/exports", Kind::Own, ACCOUNT, Make::Plain, 200),
    route("GET", "/v1/account/exports/{id}", Kind::Thing, ACCOUNT, Make::Export, 200),
    // A receipt is for whoever has its token: its account is gone.
    route("GET", "/v1/erasures/{id}", Kind::Public, None, Make::Receipt, 404),
    // A link opens its file for whoever holds it; that is what it is for.
    route("GET", "/media/{key}", Kind::Public, None, Make::Media, 200),
    // The last one: afterwards the right user is gone.
    route("DELETE", "/v1/account", Kind::Confirmed, ACCOUNT, Make::Deletion, 202),
];

/// What the gateway serves besides, and what it must not.
pub(crate) const UNDESCRIBED: &[Route] = &[
    route("GET", "/openapi.json", Kind::Public, None, Make::Plain, 200),
    route("GET", "/docs/", Kind::Public, None, Make::Plain, 200),
    route("GET", "/privacy", Kind::Public, None, Make::Plain, 200),
    route("GET", "/page.css", Kind::Public, None, Make::Plain, 200),
    route("GET", "/sign-up", Kind::Public, None, Make::Plain, 200),
    route("GET", "/sign-in", Kind::Public, None, Make::Plain, 200),
    route("GET", "/forgot", Kind::Public, None, Make::Plain, 200),
    route("GET", "/verify", Kind::Public, None, Make::Plain, 200),
    route("GET", "/reset", Kind::Public, None, Make::Plain, 200),
    // A key signs no browser in: it is sent to where that is done.
    route("GET", "/signed-in", Kind::Public, None, Make::Plain, 200),
    route("GET", "/auth/google", Kind::Public, None, Make::Plain, 404),
    route("GET", "/auth/google/callback", Kind::Public, None, Make::Plain, 404),
    // The operations port's, which is not public.
    route("GET", "/metrics", Kind::Public, None, Make::Plain, 404),
    route("GET", "/livez", Kind::Public, None, Make::Plain, 404),
    route("GET", "/readyz", Kind::Public, None, Make::Plain, 404),
];
