//! The database of a platform, and copies of its truth.

use std::fs;

use uuid::Uuid;

use super::{
    super::{Backend, Database, Env},
    Cluster,
};

impl Cluster {
    /// Its database.
    pub(crate) async fn database(&self) -> Database {
        Database::open(&self.database_url()).await
    }

    /// A copy of the stopped platform's truth: settings that point at it, and its database.
    pub(crate) async fn copy(&self) -> (Env, Database) {
        let mut env = self.env.clone();
        if self.backend == Backend::Distributed {
            let url = self.database_url();
            let (server, name) = url.rsplit_once('/').unwrap();
            let url = new_database(server, Some(name)).await;
            env.retain(|(known, _)| known != "DATABASE_URL");
            env.push(("DATABASE_URL".into(), url.clone()));
            return (env, Database::open(&url).await);
        }
        let folder = self.folder.path().join(Uuid::new_v4().to_string());
        fs::create_dir(&folder).unwrap();
        for entry in fs::read_dir(self.data()).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
            }
        }
        env.retain(|(known, _)| known != "TIKTOMATO_DATA");
        env.push(("TIKTOMATO_DATA".into(), folder.display().to_string()));
        let url = format!("sqlite://{}?mode=rw", folder.join("tiktomato.db").display());
        (env, Database::open(&url).await)
    }

    /// Its server's own database: looking there leaves no trace in the platform's.
    pub(crate) async fn server(&self) -> Database {
        let url = self.database_url();
        Database::open(&format!("{}/postgres", url.rsplit_once('/').unwrap().0)).await
    }

    /// Where its database is.
    pub(crate) fn database_url(&self) -> String {
        let found = self.env.iter().find(|(name, _)| name == "DATABASE_URL");
        match found {
            Some((_, url)) => url.clone(),
            None => format!("sqlite://{}?mode=rw", self.data().join("tiktomato.db").display()),
        }
    }
}

/// Makes a database on `server`, empty or like another one; its URL.
pub(super) async fn new_database(server: &str, like: Option<&str>) -> String {
    let name = format!("t{}", Uuid::new_v4().simple());
    let database = Database::open(&format!("{server}/postgres")).await;
    let template = like.map(|like| format!(" TEMPLATE {like}")).unwrap_or_default();
    database.write(&format!("CREATE DATABASE {name}{template}")).await;
    database.close().await;
    format!("{server}/{name}")
}
