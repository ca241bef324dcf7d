//! Thumbnails of large pictures; the thumbnail's name follows from the picture's.

use sea_orm_migration::prelude::*;

use crate::ddl;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
ALTER TABLE outputs ADD COLUMN thumbnail_type text;
ALTER TABLE outputs ADD COLUMN thumbnail_bytes bigint;
ALTER TABLE outputs ADD COLUMN thumbnail_width integer;
ALTER TABLE outputs ADD COLUMN thumbnail_height integer;
";

const DOWN: &str = "
ALTER TABLE outputs DROP COLUMN thumbnail_height;
ALTER TABLE outputs DROP COLUMN thumbnail_width;
ALTER TABLE outputs DROP COLUMN thumbnail_bytes;
ALTER TABLE outputs DROP COLUMN thumbnail_type;
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
