//! The queue of mails: written by a use case, claimed by whoever sends, tried again until it is
//! sent or too old to be of use.
//!
//! Whether an address has an account is looked up here, when the mail goes out, and not while
//! somebody waits for an answer: a known and an unknown address cost that request the same.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait,
    ExprTrait, QueryFilter, sea_query::Expr,
};
use uuid::Uuid;

use super::{Purpose, Template, issue};
use crate::{
    Timestamp, db,
    ids::{MailId, SignUpId, UserId},
    tables::{mails, sign_ups, users},
};

/// Whoever claimed a mail has so long to send it.
const LEASE: Duration = Duration::from_secs(120);

/// A mail older than this is of no use.
pub const LIFE: Duration = Duration::from_secs(86_400);

/// The longest time between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// A mail that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its row.
    pub id: MailId,
    /// Where it goes.
    pub recipient: String,
    /// What it says.
    pub template: Template,
    /// What its link is good for.
    pub token_id: Option<Uuid>,
}

/// Writes a mail, in the transaction of what it tells about.
///
/// # Errors
/// When the database fails.
pub async fn enqueue(
    db: &impl ConnectionTrait,
    user_id: Option<UserId>,
    template: Template,
    recipient: &str,
    token_id: Option<Uuid>,
    now: Timestamp,
) -> Result<MailId, DbErr> {
    let id = MailId::generate();
    let mail = mails::ActiveModel {
        id: Set(id),
        user_id: Set(user_id),
        template: Set(template.name().to_owned()),
        recipient: Set(recipient.to_owned()),
        token_id: Set(token_id),
        created_at: Set(now),
        attempts: Set(0),
        next_at: Set(now),
    };
    mails::Entity::insert(mail).exec_without_returning(db).await?;
    Ok(id)
}

/// Claims up to `most` mails that are due. One that is not reported as sent or failed comes again.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    tx: &DatabaseTransaction,
    most: u64,
    now: Timestamp,
) -> Result<Vec<mails::Model>, DbErr> {
    let lock = db::skip_locked(tx.get_database_backend());
    let text = format!("SELECT id FROM mails WHERE next_at <= $1 ORDER BY next_at LIMIT $2{lock}");
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = tx.query_all_raw(db::sql(tx, text, [now.0.into(), most.into()])).await?;
    let ids = rows.iter().map(|row| row.try_get("", "id")).collect::<Result<Vec<MailId>, _>>()?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut claimed = mails::Entity::update_many()
        .col_expr(mails::Column::NextAt, Expr::value(now.after(LEASE).0))
        .col_expr(mails::Column::Attempts, Expr::col(mails::Column::Attempts).add(1))
        .filter(mails::Column::Id.is_in(ids))
        .exec_with_returning(tx)
        .await?;
    // Whatever the database does, they go out in the order in which they were written.
    claimed.sort_unstable_by_key(|mail| mail.id);
    Ok(claimed)
}

/// Makes a claimed mail ready: looks for the account, and makes the link's token if it has none.
/// `None`: there is nobody to send it to, or no use any more, and its row is gone.
///
/// # Errors
/// When the database fails.
pub async fn prepare(
    tx: &DatabaseTransaction,
    mail: mails::Model,
    now: Timestamp,
) -> Result<Option<Outgoing>, DbErr> {
    let ready = match Template::parse(&mail.template) {
        Some(_) if now.since(mail.created_at) > LIFE => None,
        Some(Template::SignUp) => sign_up(tx, &mail, now).await?,
        Some(Template::Reset) => reset(tx, &mail, now).await?,
        Some(template) => Some((template, mail.token_id)),
        None => None,
    };
    let Some((template, token_id)) = ready else {
        sent(tx, mail.id).await?;
        return Ok(None);
    };
    if (template.name(), token_id) != (mail.template.as_str(), mail.token_id) {
        let row = mails::ActiveModel {
            id: Set(mail.id),
            template: Set(template.name().to_owned()),
            token_id: Set(token_id),
            ..Default::default()
        };
        mails::Entity::update(row).exec(tx).await?;
    }
    Ok(Some(Outgoing { id: mail.id, recipient: mail.recipient, template, token_id }))
}

/// A sign-up with the address of an account becomes a mail to its owner.
async fn sign_up(
    tx: &DatabaseTransaction,
    mail: &mails::Model,
    now: Timestamp,
) -> Result<Option<(Template, Option<Uuid>)>, DbErr> {
    let Some(id) = mail.token_id else { return Ok(None) };
    if owner(tx, &mail.recipient).await?.is_some() {
        sign_ups::Entity::delete_by_id(SignUpId(id)).exec(tx).await?;
        return Ok(Some((Template::KnownAddress, None)));
    }
    let waiting = sign_ups::Entity::find_by_id(SignUpId(id)).one(tx).await?;
    let waiting = waiting.filter(|sign_up| sign_up.expires_at > now);
    Ok(waiting.map(|_| (Template::SignUp, Some(id))))
}

/// The token is made now, so that it is fresh, and once, so that a second try sends the same one.
async fn reset(
    tx: &DatabaseTransaction,
    mail: &mails::Model,
    now: Timestamp,
) -> Result<Option<(Template, Option<Uuid>)>, DbErr> {
    if mail.token_id.is_some() {
        return Ok(Some((Template::Reset, mail.token_id)));
    }
    let Some(user) = owner(tx, &mail.recipient).await? else { return Ok(None) };
    let token = issue(tx, user.id, Purpose::Reset, &user.email, now).await?;
    Ok(Some((Template::Reset, Some(token.0))))
}

async fn owner(tx: &DatabaseTransaction, email: &str) -> Result<Option<users::Model>, DbErr> {
    users::Entity::find()
        .filter(users::Column::Email.eq(email))
        .filter(users::Column::ErasedAt.is_null())
        .one(tx)
        .await
}

/// Forgets a mail that was sent.
///
/// # Errors
/// When the database fails.
pub async fn sent(db: &impl ConnectionTrait, id: MailId) -> Result<(), DbErr> {
    mails::Entity::delete_by_id(id).exec(db).await?;
    Ok(())
}

/// Puts a mail back that was not sent: later each time.
///
/// # Errors
/// When the database fails.
pub async fn failed(
    db: &impl ConnectionTrait,
    id: MailId,
    attempts: i32,
    now: Timestamp,
) -> Result<(), DbErr> {
    let doublings = u32::try_from(attempts.clamp(1, 10) - 1).unwrap_or(0);
    let wait = (Duration::from_secs(5) * 2_u32.pow(doublings)).min(LONGEST_WAIT);
    mails::Entity::update_many()
        .col_expr(mails::Column::NextAt, Expr::value(now.after(wait).0))
        .filter(mails::Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
}

/// Forgets every mail to or about the person.
///
/// # Errors
/// When the database fails.
pub async fn forget_user(
    db: &impl ConnectionTrait,
    user_id: UserId,
    email: &str,
) -> Result<(), DbErr> {
    mails::Entity::delete_many()
        .filter(mails::Column::UserId.eq(user_id).or(mails::Column::Recipient.eq(email)))
        .exec(db)
        .await?;
    Ok(())
}
