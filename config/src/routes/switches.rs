//! Switching providers and their routes off and on, by name, as operators do it at the command
//! line and over HTTP. Who did it is written in the transaction that does it (`audit_events`).

use std::collections::BTreeSet;

use entities::{
    Db, Timestamp,
    audit::{self, Action},
    operators::Acting,
    routing::{self, RouteKey, Switch},
};
use sea_orm::DbErr;
use serde_json::json;

use super::{Known, ProviderState, overview};
use crate::settings::Providers;

/// The longest reason, in characters.
const REASON: usize = 500;

/// A switch that was not thrown.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// Nothing has this name.
    #[error("there is no provider {name:?}, only {known}")]
    NoProvider {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The provider is there, but not this route.
    #[error("{provider} has no route to {model:?}, only to {known}")]
    NoRoute {
        /// Which provider.
        provider: String,
        /// What was asked for.
        model: String,
        /// What there is.
        known: String,
    },
    /// Too long, or none.
    #[error("a reason of 1 to {REASON} characters is needed")]
    Reason,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbErr),
}

/// What operators see of providers, and their switches.
#[derive(Debug, Clone, Copy)]
pub struct Switches<'a> {
    /// Where the switches are.
    pub db: &'a Db,
    /// The routes of the catalogue.
    pub routes: &'a BTreeSet<RouteKey>,
    /// Which providers have keys.
    pub providers: &'a Providers,
}

impl Switches<'_> {
    /// Every provider and route: on or off, and why.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self) -> Result<Vec<ProviderState>, DbErr> {
        let board = routing::read(self.db.read()).await?;
        let given_up = routing::given_up(self.db.read()).await?;
        let (routes, settings) = (self.routes, self.providers);
        Ok(overview(Known { board: &board, given_up: &given_up, routes, settings }))
    }

    /// Gives `PROVIDER` or `PROVIDER/MODEL` no new calls. What runs there is still finished.
    ///
    /// # Errors
    /// See [`SwitchError`].
    pub async fn off(
        &self,
        target: &str,
        reason: &str,
        by: &Acting,
    ) -> Result<Switch, SwitchError> {
        let (provider, model) = self.find(target)?;
        let reason = reason.trim();
        if !(1..=REASON).contains(&reason.chars().count()) {
            return Err(SwitchError::Reason);
        }
        let tx = self.db.begin().await?;
        let switch = routing::switch_off(&tx, provider, model, reason).await?;
        audit::record(&tx, by.of_nobody(Action::ProviderOff, json!({"target": target}))).await?;
        tx.commit().await?;
        Ok(switch)
    }

    /// Gives it calls again; whether it was off.
    ///
    /// # Errors
    /// See [`SwitchError`].
    pub async fn on(
        &self,
        target: &str,
        job_now: Timestamp,
        by: &Acting,
    ) -> Result<bool, SwitchError> {
        let (provider, model) = self.find(target)?;
        let tx = self.db.begin().await?;
        let changed = routing::switch_on(&tx, provider, model, job_now).await?;
        audit::record(&tx, by.of_nobody(Action::ProviderOn, json!({"target": target}))).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// The provider and the model that a text names. A provider's models have slashes, too.
    fn find<'t>(&self, text: &'t str) -> Result<(&'t str, Option<&'t str>), SwitchError> {
        let (provider, model) = match text.split_once('/') {
            Some((provider, model)) => (provider, Some(model)),
            None => (text, None),
        };
        let known = Providers::NAMES.contains(&provider)
            || self.routes.iter().any(|route| route.provider == provider);
        if !known {
            let known = Providers::NAMES.join(", ");
            return Err(SwitchError::NoProvider { name: provider.to_owned(), known });
        }
        let Some(model) = model else { return Ok((provider, None)) };
        let of_it: BTreeSet<&str> = self
            .routes
            .iter()
            .filter(|route| route.provider == provider)
            .map(|route| route.model.as_str())
            .collect();
        if of_it.contains(model) {
            return Ok((provider, Some(model)));
        }
        let known = of_it.into_iter().collect::<Vec<_>>().join(", ");
        Err(SwitchError::NoRoute { provider: provider.to_owned(), model: model.to_owned(), known })
    }
}
