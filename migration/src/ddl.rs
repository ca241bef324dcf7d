//! One DDL text for both databases: `{uuid}`, `{bytes}`, `{json}` and `{real}` stand for the types
//! that have other names on each.

use sea_orm_migration::{
    SchemaManager, sea_orm::ConnectionTrait, sea_orm::DatabaseBackend, sea_orm::DbErr,
};

/// Runs the statements, which are separated by semicolons at line ends.
pub(crate) async fn run(manager: &SchemaManager<'_>, text: &str) -> Result<(), DbErr> {
    let names = match manager.get_database_backend() {
        DatabaseBackend::Postgres => ["uuid", "bytea", "jsonb", "double precision"],
        _ => ["blob", "blob", "text", "real"],
    };
    let text = text
        .replace("{uuid}", names[0])
        .replace("{bytes}", names[1])
        .replace("{json}", names[2])
        .replace("{real}", names[3]);
    for statement in text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}
