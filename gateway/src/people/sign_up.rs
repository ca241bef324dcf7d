//! `POST /v1/auth/sign-up` and `/v1/auth/verify`.
//!
//! Stored before the address is proven: `sign_ups`, for a day. Of somebody too young: nothing.

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use config::context::Context;
use entities::{
    accounts::{self, AccountError, NewSignUp, PersonalWorkspace, Terms, password},
    ids::{MailTokenId, SignUpId},
    mail::{LinkKind, Purpose},
    privacy::{self, ConfirmError},
};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    age,
    signed_in::{UserBody, Whose},
    throttles,
    visitor::Visitor,
};
use crate::{
    app::App,
    fields::Fields,
    problem::{Code, FieldError, Problem, ProblemBody},
};

/// The longest address, in characters.
pub(super) const EMAIL: usize = 254;
/// The longest name of a person, in characters.
pub(super) const NAME: usize = 100;
/// The longest token, in characters.
pub(super) const TOKEN: usize = 200;

/// Somebody who wants an account.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it describes a body that is read field by field")]
pub(crate) struct SignUpRequest {
    /// Where the link goes that makes the account.
    email: String,
    /// 8 to 200 characters; not one of the most common ones.
    #[schema(min_length = 8, max_length = 200)]
    password: String,
    /// A name for people.
    #[schema(max_length = 100)]
    name: Option<String>,
    /// Such as `1990-12-31`. Looked at and not kept.
    #[schema(format = Date)]
    birth_date: String,
}

/// A link that came by mail.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it describes a body that is read field by field")]
pub(crate) struct VerifyRequest {
    /// What follows `token=` in the link.
    token: String,
}

/// What happens next.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NextBody {
    /// `mail_sent`: look there.
    pub(super) status: &'static str,
    /// The same, for people.
    pub(super) detail: &'static str,
}

/// An address that is proven.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerifiedBody {
    /// Always `verified`.
    status: &'static str,
    /// Whose it is. Sign in to use the account.
    user: UserBody,
}

/// Reads what a sign-up says.
pub(super) struct SignUp {
    pub(super) email: String,
    pub(super) password: String,
    pub(super) name: Option<String>,
    pub(super) birth_date: String,
}

impl SignUp {
    pub(super) fn read(mut fields: Fields) -> Result<Self, Problem> {
        let email = email(&mut fields);
        let password = new_password(&mut fields, "password");
        let name = person_name(&mut fields);
        let birth_date = fields.text("birth_date", 10);
        fields.end()?;
        Ok(Self { email, password, name, birth_date })
    }
}

/// An address in its one spelling.
pub(super) fn email(fields: &mut Fields) -> String {
    let text = fields.text("email", EMAIL);
    match accounts::canonical(&text) {
        Ok(email) => email,
        Err(_) => {
            if !text.is_empty() {
                fields.fault("email", "must be an email address");
            }
            text
        }
    }
}

/// A password that somebody chooses.
pub(super) fn new_password(fields: &mut Fields, name: &str) -> String {
    let text = fields.text(name, 1_000);
    if !text.is_empty()
        && let Err(bad) = password::check(&text)
    {
        fields.fault(name, bad.to_string());
    }
    text
}

fn person_name(fields: &mut Fields) -> Option<String> {
    let name = fields.optional("name", NAME)?.trim().to_owned();
    if name.chars().any(char::is_control) {
        fields.fault("name", "must not contain control characters");
    }
    (!name.is_empty()).then_some(name)
}

/// Writes a sign-up down. The same work for every address.
pub(super) async fn sign_up(
    context: &Context,
    visitor: &Visitor,
    new: SignUp,
) -> Result<(), Problem> {
    age::check(context, visitor, &new.birth_date)?;
    throttles::asking(context, visitor).await?;
    let password_hash = context.passwords.hash(new.password).await.map_err(Problem::password)?;
    if !throttles::may_mail(context, "sign-up", &new.email).await? {
        return Ok(());
    }
    let row = NewSignUp { email: new.email, name: new.name, password_hash };
    let tx = context.db.begin().await.map_err(Problem::database)?;
    accounts::ask_sign_up(&tx, row, &visitor.origin, context.clock.now())
        .await
        .map_err(Problem::account)?;
    tx.commit().await.map_err(Problem::database)
}

/// Makes the account of a link.
pub(super) async fn verify(
    context: &Context,
    visitor: &Visitor,
    token: &str,
) -> Result<PersonalWorkspace, Problem> {
    let change = LinkKind::Token(Purpose::ChangeEmail);
    if let Some(id) = context.mailer.links().open(change, token) {
        return new_email(context, visitor, MailTokenId(id)).await;
    }
    let id = context.mailer.links().open(LinkKind::SignUp, token).ok_or_else(bad_link)?;
    let tx = context.db.begin().await.map_err(Problem::database)?;
    let now = context.clock.now();
    let marks = |email: &str| context.secrets.grant_marks(email);
    let terms = terms(context, &marks);
    let made = accounts::verify_sign_up(&tx, SignUpId(id), terms, &visitor.origin, now).await;
    match made {
        Ok(Some(made)) => {
            tx.commit().await.map_err(Problem::database)?;
            Ok(made)
        }
        // The address got an account in the same moment: this link is too late.
        Ok(None) | Err(AccountError::EmailTaken(_)) => Err(bad_link()),
        Err(error) => Err(Problem::account(error)),
    }
}

/// The new address of an account, which the link proves. Who opens it must be signed in to the account:
/// the mail alone, which may have gone astray, moves no account to where it arrived.
async fn new_email(
    context: &Context,
    visitor: &Visitor,
    token: MailTokenId,
) -> Result<PersonalWorkspace, Problem> {
    let now = context.clock.now();
    let secret = visitor.session.as_ref().ok_or_else(sign_in_first)?;
    let terms = context.settings.accounts.session_terms();
    let session = accounts::find_session(&context.db, secret, terms, now);
    let session = session.await.map_err(Problem::database)?.ok_or_else(sign_in_first)?;
    let tx = context.db.begin().await.map_err(Problem::database)?;
    privacy::confirm_email(&tx, session.user_id, token, &visitor.origin, now).await.map_err(
        |error| match error {
            ConfirmError::BadLink => bad_link(),
            ConfirmError::OtherAccount => sign_in_first(),
            ConfirmError::Db(error) => Problem::database(error),
        },
    )?;
    let account = accounts::personal_workspace(&tx, session.user_id).await;
    let account = account.map_err(Problem::database)?.ok_or_else(bad_link)?;
    tx.commit().await.map_err(Problem::database)?;
    Ok(account)
}

/// A link that works for its own account only.
fn sign_in_first() -> Problem {
    let detail = "Sign in to the account whose address is to change, then open this link again.";
    Problem::new(Code::ReauthenticationRequired, detail)
}

/// What every new account gets.
pub(super) fn terms<'a>(
    context: &Context,
    marks: &'a (dyn Fn(&str) -> Vec<[u8; 32]> + Sync),
) -> Terms<'a> {
    let limit = context.settings.limits.dispatch_per_workspace.get();
    Terms {
        marks,
        dispatch_limit: i32::try_from(limit).unwrap_or(i32::MAX),
        free_credits: context.settings.accounts.free_credits,
    }
}

/// A link that opens nothing: all reasons look the same.
pub(super) fn bad_link() -> Problem {
    let detail = "This link does not work any more: it was used, has expired, or a later one \
                  replaced it. Ask for a new one.";
    Problem::new(Code::LinkInvalid, detail)
}

impl Problem {
    /// A password was not hashed or checked.
    pub(super) fn password(error: config::passwords::PasswordError) -> Self {
        tracing::warn!(%error, "a password was not looked at");
        Self::new(Code::Unavailable, "Too many people are signing in just now. Try again.")
    }

    /// An account was not made or changed.
    pub(super) fn account(error: AccountError) -> Self {
        match error {
            AccountError::Db(error) => Self::database(error),
            AccountError::BadEmail(_) | AccountError::EmailTaken(_) | AccountError::NoUser(_) => {
                Self::invalid(vec![FieldError::new("/email", "cannot be used")])
            }
        }
    }
}

/// Asks for an account. The answer is the same whether the address has one or not; a mail to the
/// address says how it goes on.
#[utoipa::path(post, path = "/v1/auth/sign-up", tag = "sign-in", security(()),
    request_body = SignUpRequest,
    responses(
        (status = 202, body = NextBody),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn post_sign_up(
    State(app): State<App>,
    visitor: Visitor,
    fields: Fields,
) -> Result<Response, Problem> {
    sign_up(&app.context, &visitor, SignUp::read(fields)?).await?;
    let body = NextBody {
        status: "mail_sent",
        detail: "Open the link in the mail that we have sent to this address.",
    };
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

/// Makes the account whose address a link proves; it signs nobody in. The link to a new address of an
/// account works for who is signed in to that account.
#[utoipa::path(post, path = "/v1/auth/verify", tag = "sign-in", security(()),
    request_body = VerifyRequest,
    responses(
        (status = 200, body = VerifiedBody),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn post_verify(
    State(app): State<App>,
    visitor: Visitor,
    mut fields: Fields,
) -> Result<(Extension<Whose>, Json<VerifiedBody>), Problem> {
    let token = fields.text("token", TOKEN);
    fields.end()?;
    let made = verify(&app.context, &visitor, &token).await?;
    let whose = Whose { user_id: made.user.id, workspace_id: made.workspace.id };
    let body = VerifiedBody { status: "verified", user: UserBody::new(&made.user) };
    Ok((Extension(whose), Json(body)))
}
