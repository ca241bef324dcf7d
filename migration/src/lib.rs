//! The schema: additive migrations, one file each, on Postgres and SQLite.
//!
//! A program runs only on exactly the schema that it was built for: [`check`] refuses an older
//! one (migrate first) and a newer one (the program is outdated).

mod ddl;
mod m20261101_000001_accounts;
mod m20261101_000002_ledger;
mod m20261101_000003_jobs;
mod m20261101_000004_coordination;
mod m20261101_000005_uploads;
mod m20261101_000006_callbacks;
mod m20261101_000007_retention;
mod m20261101_000008_billed_units;
mod m20261126_000010_sign_in;
mod m20261126_000011_audit;
mod m20261126_000020_key_rules;
mod m20261126_000021_usage_log;
mod m20261126_000030_routing;
mod m20261126_000040_thumbnails;
mod m20261126_000050_privacy;
mod m20261126_000060_lean_submits;
mod m20261126_000080_audit_horizon;
mod m20261127_000005_lean_live;
mod m20261127_000010_possible_cost;

use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{MigrationTrait, MigratorTrait};

/// All migrations, oldest first.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261101_000001_accounts::Migration),
            Box::new(m20261101_000002_ledger::Migration),
            Box::new(m20261101_000003_jobs::Migration),
            Box::new(m20261101_000004_coordination::Migration),
            Box::new(m20261101_000005_uploads::Migration),
            Box::new(m20261101_000006_callbacks::Migration),
            Box::new(m20261101_000007_retention::Migration),
            Box::new(m20261101_000008_billed_units::Migration),
            Box::new(m20261126_000010_sign_in::Migration),
            Box::new(m20261126_000011_audit::Migration),
            Box::new(m20261126_000020_key_rules::Migration),
            Box::new(m20261126_000021_usage_log::Migration),
            Box::new(m20261126_000030_routing::Migration),
            Box::new(m20261126_000040_thumbnails::Migration),
            Box::new(m20261126_000050_privacy::Migration),
            Box::new(m20261126_000060_lean_submits::Migration),
            Box::new(m20261126_000080_audit_horizon::Migration),
            Box::new(m20261127_000005_lean_live::Migration),
            Box::new(m20261127_000010_possible_cost::Migration),
        ]
    }
}

/// Why the schema and the program do not fit.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Migrations are missing.
    #[error(
        "the database schema is older than this program ({missing} migration(s) missing): run `tiktomato migrate up`"
    )]
    Older {
        /// How many.
        missing: usize,
    },
    /// Migrations are applied that this program does not know.
    #[error(
        "the database schema is newer than this program (it has {name}): use the newer program"
    )]
    Newer {
        /// The first unknown one.
        name: String,
    },
    /// The database did not answer.
    #[error("the database schema could not be read: {0}")]
    Db(#[from] DbErr),
}

/// One migration and whether the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its name.
    pub name: String,
    /// Whether it is applied.
    pub applied: bool,
}

/// Every known migration with its state, oldest first.
///
/// # Errors
/// When the database has migrations that this program does not know, or does not answer.
pub async fn status(db: &sea_orm::DatabaseConnection) -> Result<Vec<Applied>, SchemaError> {
    let applied = applied_names(db).await?;
    let known: Vec<String> =
        Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    if let Some(name) = applied.iter().find(|name| !known.contains(name)) {
        return Err(SchemaError::Newer { name: name.clone() });
    }
    Ok(known.into_iter().map(|name| Applied { applied: applied.contains(&name), name }).collect())
}

/// Succeeds only on exactly the schema that this program knows.
///
/// # Errors
/// See [`SchemaError`].
pub async fn check(db: &sea_orm::DatabaseConnection) -> Result<(), SchemaError> {
    let missing = status(db).await?.iter().filter(|migration| !migration.applied).count();
    if missing > 0 { Err(SchemaError::Older { missing }) } else { Ok(()) }
}

/// Applies what is missing. Refuses a newer schema.
///
/// # Errors
/// See [`SchemaError`].
pub async fn up(db: &sea_orm::DatabaseConnection) -> Result<usize, SchemaError> {
    let missing = status(db).await?.iter().filter(|migration| !migration.applied).count();
    Migrator::up(db, None).await?;
    Ok(missing)
}

/// Takes the newest applied migration back.
///
/// # Errors
/// See [`SchemaError`].
pub async fn down(db: &sea_orm::DatabaseConnection) -> Result<(), SchemaError> {
    status(db).await?;
    Ok(Migrator::down(db, Some(1)).await?)
}

async fn applied_names(db: &sea_orm::DatabaseConnection) -> Result<Vec<String>, DbErr> {
    let exists = sea_orm_migration::SchemaManager::new(db).has_table("seaql_migrations").await?;
    if !exists {
        return Ok(Vec::new());
    }
    let rows = db
        .query_all_raw(sea_orm::Statement::from_string(
            db.get_database_backend(),
            "SELECT version FROM seaql_migrations ORDER BY version",
        ))
        .await?;
    rows.iter().map(|row| row.try_get("", "version")).collect()
}
