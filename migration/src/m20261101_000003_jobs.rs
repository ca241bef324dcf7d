//! Jobs with their holds, attempts, outputs and idempotency keys.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
CREATE TABLE jobs (
    id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    api_key_id {uuid},
    model text NOT NULL,
    kind text NOT NULL,
    pool text NOT NULL,
    state text NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 1,
    input {json} NOT NULL,
    metadata {json} NOT NULL,
    resolved {json} NOT NULL,
    outputs_expected integer NOT NULL,
    created_at bigint NOT NULL,
    ready_at bigint NOT NULL,
    dispatched_at bigint,
    pushed_at bigint,
    pushes integer NOT NULL DEFAULT 0,
    lease_until bigint,
    next_poll_at bigint,
    polls integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    route integer NOT NULL DEFAULT 0,
    refusals integer NOT NULL DEFAULT 0,
    lost_leases integer NOT NULL DEFAULT 0,
    store_tries integer NOT NULL DEFAULT 0,
    queue_deadline bigint NOT NULL,
    run_deadline bigint,
    uncertain_until bigint,
    started_at bigint,
    finished_at bigint,
    cancel_requested boolean NOT NULL DEFAULT false,
    cancel_sent boolean NOT NULL DEFAULT false,
    progress {real},
    error_code text,
    error_detail text,
    expires_at bigint NOT NULL,
    deleted_at bigint
);
CREATE INDEX jobs_workspace ON jobs (workspace_id, id);
CREATE INDEX jobs_waiting ON jobs (pool, workspace_id, ready_at) WHERE state = 'queued' AND dispatched_at IS NULL;
CREATE INDEX jobs_unclaimed ON jobs (pool, pushed_at) WHERE state = 'queued' AND dispatched_at IS NOT NULL;
CREATE INDEX jobs_due ON jobs (pool, next_poll_at) WHERE next_poll_at IS NOT NULL;
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX jobs_queue_deadline ON jobs (queue_deadline) WHERE state = 'queued';
CREATE INDEX jobs_run_deadline ON jobs (run_deadline) WHERE state IN ('submitting', 'running', 'uncertain');
CREATE INDEX jobs_started ON jobs (pool, started_at) WHERE started_at IS NOT NULL;
CREATE INDEX jobs_live ON jobs (pool, state) WHERE finished_at IS NULL;
CREATE TABLE holds (
    job_id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    captured bigint NOT NULL DEFAULT 0 CHECK (captured >= 0),
    released bigint NOT NULL DEFAULT 0 CHECK (released >= 0),
    opened_at bigint NOT NULL,
    closed_at bigint,
    CHECK (captured + released <= amount)
);
CREATE INDEX holds_open ON holds (workspace_id) WHERE closed_at IS NULL;
CREATE TABLE attempts (
    id {uuid} NOT NULL PRIMARY KEY,
    job_id {uuid} NOT NULL REFERENCES jobs (id),
    number integer NOT NULL,
    route integer NOT NULL,
    provider text NOT NULL,
    provider_model text NOT NULL,
    outcome text NOT NULL,
    request_id text,
    handle {json},
    started_at bigint NOT NULL,
    accepted_at bigint,
    finished_at bigint,
    cost_usd_micros bigint
);
CREATE UNIQUE INDEX attempts_number ON attempts (job_id, number);
CREATE UNIQUE INDEX attempts_request ON attempts (provider, request_id);
CREATE TABLE outputs (
    id {uuid} NOT NULL PRIMARY KEY,
    job_id {uuid} NOT NULL REFERENCES jobs (id),
    workspace_id {uuid} NOT NULL,
    position integer NOT NULL,
    key text NOT NULL,
    content_type text NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    width integer,
    height integer,
    duration_ms bigint,
    created_at bigint NOT NULL,
    deleted_at bigint
);
CREATE UNIQUE INDEX outputs_position ON outputs (job_id, position);
CREATE TABLE idempotency_keys (
    workspace_id {uuid} NOT NULL,
    key text NOT NULL,
    body_hash {bytes} NOT NULL,
    job_id {uuid} NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (workspace_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
";

const DOWN: &str = "
DROP TABLE idempotency_keys;
DROP TABLE outputs;
DROP TABLE attempts;
DROP TABLE holds;
DROP TABLE jobs;
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
