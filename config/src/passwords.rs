//! Hashing passwords off the runtime's threads, a few at a time: each takes 19 MiB and a core for
//! some hundredths of a second, so that a crowd at the door must wait outside.

use std::sync::Arc;

use entities::accounts::password;
use tokio::sync::Semaphore;

use crate::random;

/// Tries that may wait for a core; more are turned away.
const WAITING: usize = 256;

/// Why a password was not hashed or checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many at the same time.
    #[error("too many passwords are being checked")]
    Busy,
    /// The hash could not be made.
    #[error("the password could not be hashed")]
    Failed,
}

/// Hashes and checks passwords. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Passwords {
    waiting: Arc<Semaphore>,
    cores: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { waiting: Arc::new(Semaphore::new(WAITING)), cores: Arc::new(Semaphore::new(cores)) }
    }
}

impl Passwords {
    /// The hash of a password, with a fresh salt.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        let random = random::secret();
        let mut salt = [0; 16];
        salt.copy_from_slice(&random[..16]);
        let made = self.run(move || password::hash(&password, salt)).await?;
        made.map_err(|_| PasswordError::Failed)
    }

    /// Whether a password fits a hash. Without a hash, or with a weaker one, it takes as long to say.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn verify(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, PasswordError> {
        self.run(move || password::verify(&password, hash.as_deref())).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let _place = self.waiting.try_acquire().map_err(|_| PasswordError::Busy)?;
        // Owned, so that a request that is given up does not free the core that still works for it.
        let core = Arc::clone(&self.cores).acquire_owned().await;
        let core = core.map_err(|_| PasswordError::Failed)?;
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(core);
            done
        })
        .await
        .map_err(|_| PasswordError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobodys_password_is_never_right() {
        let passwords = Passwords::default();
        let hash = passwords.hash("a good one".to_owned()).await.unwrap();
        assert_eq!(passwords.verify("a good one".to_owned(), Some(hash.clone())).await, Ok(true));
        assert_eq!(passwords.verify("a bad one".to_owned(), Some(hash)).await, Ok(false));
        for nobodys in ["a good one", ""] {
            assert_eq!(passwords.verify(nobodys.to_owned(), None).await, Ok(false));
        }
    }
}
