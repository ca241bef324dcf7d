//! How old anything may be, and how the oldest of it is found. Whatever a periodic task or a person's
//! request deletes has a line here, so that a task that no longer does its work is noticed.

use std::time::Duration;

use super::{copies, report::Spans};
use crate::mail;

const DAY: Duration = Duration::from_secs(86_400);

/// A promise, and how its oldest row is found: `oldest` is when it began to count.
pub(super) struct Looked {
    pub(super) what: &'static str,
    pub(super) limit: Duration,
    pub(super) oldest: &'static str,
}

fn look(what: &'static str, limit: Duration, oldest: &'static str) -> Looked {
    Looked { what, limit, oldest }
}

/// All promises about what is in the database.
pub(super) fn looks(spans: Spans) -> Vec<Looked> {
    let all = [jobs(spans), files(spans), doors(spans), logs(spans), copies(), ended()];
    all.into_iter().flatten().collect()
}

/// Jobs, and what came with them.
fn jobs(spans: Spans) -> Vec<Looked> {
    vec![
        look(
            "prompts, inputs, metadata and media of jobs, from their creation",
            // A job that was submitted at the last moment may run for a day.
            spans.content + DAY,
            "SELECT min(created_at) AS oldest FROM jobs WHERE erased_at IS NULL",
        ),
        look(
            "the same, after the time that the job itself names",
            Duration::ZERO,
            "SELECT min(expires_at) AS oldest FROM jobs \
             WHERE erased_at IS NULL AND finished_at IS NOT NULL",
        ),
        look(
            "words or files that are left of jobs that were erased",
            Duration::ZERO,
            "SELECT min(j.erased_at) AS oldest FROM jobs j WHERE j.erased_at IS NOT NULL AND \
             (j.error_detail IS NOT NULL OR CAST(j.input AS text) <> '{}' \
              OR CAST(j.metadata AS text) <> '{}' OR CAST(j.resolved AS text) <> '{}' \
              OR EXISTS (SELECT 1 FROM outputs o WHERE o.job_id = j.id AND o.deleted_at IS NULL) \
              OR EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = j.id AND a.handle IS NOT NULL))",
        ),
        look(
            "what providers reported, from its arrival",
            spans.content + DAY,
            "SELECT min(received_at) AS oldest FROM callbacks",
        ),
        look(
            "what providers reported of jobs that were erased or whose time is over",
            Duration::ZERO,
            "SELECT min(coalesce(j.erased_at, j.expires_at)) AS oldest FROM callbacks c \
             JOIN attempts a ON a.id = c.attempt_id JOIN jobs j ON j.id = a.job_id \
             WHERE j.finished_at IS NOT NULL",
        ),
        look(
            "idempotency keys, from their creation",
            7 * DAY,
            "SELECT min(created_at) AS oldest FROM idempotency_keys",
        ),
    ]
}

/// Files that people hand in or ask for.
fn files(spans: Spans) -> Vec<Looked> {
    vec![
        look(
            "uploads, from their creation",
            spans.content + spans.content + DAY,
            "SELECT min(created_at) AS oldest FROM uploads",
        ),
        look(
            "uploads after their time that no job keeps",
            Duration::ZERO,
            "SELECT min(u.expires_at) AS oldest FROM uploads u WHERE NOT EXISTS \
             (SELECT 1 FROM job_uploads ju JOIN jobs j ON j.id = ju.job_id \
              WHERE ju.upload_id = u.id AND j.erased_at IS NULL)",
        ),
        look(
            "uploads that were deleted, from then on",
            Duration::ZERO,
            "SELECT min(deleted_at) AS oldest FROM uploads",
        ),
        look(
            "exports, after their time",
            Duration::ZERO,
            "SELECT min(expires_at) AS oldest FROM exports",
        ),
        look(
            "what tells of files that are lost, from when they were missed",
            spans.lost + DAY,
            "SELECT min(found_at) AS oldest FROM lost_files",
        ),
    ]
}

/// The ways in.
fn doors(spans: Spans) -> Vec<Looked> {
    vec![
        look(
            "sessions, after their end",
            Duration::ZERO,
            "SELECT min(expires_at) AS oldest FROM sessions",
        ),
        look(
            "sessions that nobody uses, from their last use",
            spans.session_idle,
            "SELECT min(last_seen_at) AS oldest FROM sessions",
        ),
        look(
            "counts of tries to sign in, after they limit nothing any more",
            Duration::ZERO,
            "SELECT min(free_at) AS oldest FROM throttles",
        ),
        look(
            "sign-ups whose address nobody has proven, after their time",
            Duration::ZERO,
            "SELECT min(expires_at) AS oldest FROM sign_ups",
        ),
        look(
            "links that were sent by mail, after their time",
            Duration::ZERO,
            "SELECT min(expires_at) AS oldest FROM mail_tokens",
        ),
        look(
            "mails that wait to be sent, from their writing",
            mail::LIFE,
            "SELECT min(created_at) AS oldest FROM mails",
        ),
    ]
}

/// What is written down about requests and events.
fn logs(spans: Spans) -> Vec<Looked> {
    vec![
        look(
            "the usage log",
            // It goes day by day.
            spans.usage_log + DAY,
            "SELECT min(at) AS oldest FROM usage_log",
        ),
        look("the audit log", spans.audit + DAY, "SELECT min(at) AS oldest FROM audit_events"),
    ]
}

/// What providers keep of accounts that ended.
fn copies() -> Vec<Looked> {
    vec![
        look(
            "copies at providers, from when their deletion is to be asked for",
            DAY,
            "SELECT min(next_try_at) AS oldest FROM provider_copies",
        ),
        look(
            "copies at providers that never answered, from the first question",
            copies::WORTH_ASKING,
            "SELECT min(asked_at) AS oldest FROM provider_copies",
        ),
        look(
            "copies at providers that a receipt tells of and nobody asks about",
            Duration::ZERO,
            "SELECT min(e.requested_at) AS oldest FROM erasures e WHERE e.copies_asked > \
             e.copies_deleted + e.copies_kept + \
             (SELECT count(*) FROM provider_copies c WHERE c.erasure_id = e.id)",
        ),
    ]
}

/// Accounts that were deleted: everything about the person is gone.
fn ended() -> Vec<Looked> {
    vec![
        look(
            "accounts that are to be erased, from the request",
            DAY,
            "SELECT min(requested_at) AS oldest FROM erasures WHERE state <> 'erased'",
        ),
        look(
            "the person in the row of an erased account",
            Duration::ZERO,
            "SELECT min(erased_at) AS oldest FROM users WHERE erased_at IS NOT NULL AND \
             (name IS NOT NULL OR password_hash IS NOT NULL OR email_verified_at IS NOT NULL \
              OR email NOT LIKE '%@erased.invalid')",
        ),
        look(
            "ways in to accounts that are erased",
            Duration::ZERO,
            "SELECT min(u.erased_at) AS oldest FROM users u WHERE u.erased_at IS NOT NULL AND \
             (EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = u.id) \
              OR EXISTS (SELECT 1 FROM identities i WHERE i.user_id = u.id) \
              OR EXISTS (SELECT 1 FROM mail_tokens t WHERE t.user_id = u.id) \
              OR EXISTS (SELECT 1 FROM api_keys k WHERE k.user_id = u.id \
                         AND k.revoked_at IS NULL))",
        ),
        look(
            "content of accounts that are erased",
            Duration::ZERO,
            "SELECT min(e.erased_at) AS oldest FROM erasures e WHERE e.state = 'erased' AND \
             (EXISTS (SELECT 1 FROM jobs j WHERE j.workspace_id = e.workspace_id \
                      AND j.erased_at IS NULL) \
              OR EXISTS (SELECT 1 FROM uploads u WHERE u.workspace_id = e.workspace_id) \
              OR EXISTS (SELECT 1 FROM exports x WHERE x.user_id = e.user_id))",
        ),
        look(
            "words and keys of accounts that are erased",
            Duration::ZERO,
            "SELECT min(e.erased_at) AS oldest FROM erasures e WHERE e.state = 'erased' AND \
             (e.address_mark IS NOT NULL \
              OR EXISTS (SELECT 1 FROM api_keys k WHERE k.user_id = e.user_id) \
              OR EXISTS (SELECT 1 FROM mails m WHERE m.user_id = e.user_id) \
              OR EXISTS (SELECT 1 FROM idempotency_keys i \
                         WHERE i.workspace_id = e.workspace_id) \
              OR EXISTS (SELECT 1 FROM entry_notes n JOIN ledger_entries l ON l.id = n.entry_id \
                         WHERE l.workspace_id = e.workspace_id))",
        ),
        look(
            "the person in logs, after their account was erased",
            // A request that was open for long is logged when it ends, and taken out after that.
            DAY,
            "SELECT min(e.erased_at) AS oldest FROM erasures e WHERE e.state = 'erased' AND \
             (EXISTS (SELECT 1 FROM usage_log l WHERE l.workspace_id = e.workspace_id) \
              OR EXISTS (SELECT 1 FROM audit_events a \
                         WHERE (a.user_id = e.user_id OR a.actor_id = e.user_id) \
                         AND (a.address IS NOT NULL OR a.browser IS NOT NULL \
                              OR CAST(a.detail AS text) <> '{}')))",
        ),
    ]
}
