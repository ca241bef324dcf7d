//! Signing in: passwords, identities at other services, sign-ups whose address is not proven yet,
//! sessions, links sent by mail, mails that wait to be sent, and throttles. Whoever was made by an
//! operator counts as verified.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
ALTER TABLE users ADD COLUMN email_verified_at bigint;
ALTER TABLE users ADD COLUMN password_hash text;
ALTER TABLE users ADD COLUMN role text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'operator'));
ALTER TABLE users ADD COLUMN erased_at bigint;
UPDATE users SET email_verified_at = created_at;
CREATE TABLE identities (
    id {uuid} NOT NULL PRIMARY KEY,
    provider text NOT NULL,
    subject text NOT NULL,
    user_id {uuid} NOT NULL REFERENCES users (id),
    email text,
    created_at bigint NOT NULL
);
CREATE UNIQUE INDEX identities_once ON identities (provider, subject);
CREATE INDEX identities_user ON identities (user_id);
CREATE TABLE sign_ups (
    id {uuid} NOT NULL PRIMARY KEY,
    email text NOT NULL,
    name text,
    password_hash text NOT NULL,
    address text,
    browser text,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX sign_ups_email ON sign_ups (email);
CREATE INDEX sign_ups_expiring ON sign_ups (expires_at);
CREATE TABLE sessions (
    id {uuid} NOT NULL PRIMARY KEY,
    user_id {uuid} NOT NULL REFERENCES users (id),
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    hash {bytes} NOT NULL UNIQUE,
    method text NOT NULL,
    address text,
    browser text,
    created_at bigint NOT NULL,
    last_seen_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id, id);
CREATE INDEX sessions_expiring ON sessions (expires_at);
CREATE TABLE mail_tokens (
    id {uuid} NOT NULL PRIMARY KEY,
    user_id {uuid} NOT NULL REFERENCES users (id),
    purpose text NOT NULL,
    email text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX mail_tokens_user ON mail_tokens (user_id, purpose);
CREATE INDEX mail_tokens_expiring ON mail_tokens (expires_at);
CREATE TABLE mails (
    id {uuid} NOT NULL PRIMARY KEY,
    user_id {uuid} REFERENCES users (id),
    template text NOT NULL,
    recipient text NOT NULL,
    token_id {uuid},
    created_at bigint NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_at bigint NOT NULL
);
CREATE INDEX mails_due ON mails (next_at);
CREATE INDEX mails_user ON mails (user_id);
CREATE TABLE throttles (
    key {bytes} NOT NULL PRIMARY KEY,
    free_at bigint NOT NULL
);
CREATE INDEX throttles_free ON throttles (free_at);
";

const DOWN: &str = "
DROP TABLE throttles;
DROP TABLE mails;
DROP TABLE mail_tokens;
DROP TABLE sessions;
DROP TABLE sign_ups;
DROP TABLE identities;
ALTER TABLE users DROP COLUMN erased_at;
ALTER TABLE users DROP COLUMN role;
ALTER TABLE users DROP COLUMN password_hash;
ALTER TABLE users DROP COLUMN email_verified_at;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(manager, DOWN).await
    }
}
