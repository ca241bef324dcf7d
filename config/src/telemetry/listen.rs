//! Opening a port, and saying what to do when it cannot be opened.

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

/// A port that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error(
        "{address} is taken by another process; stop it, or choose another address with {setting} ({variable})"
    )]
    Taken {
        /// The address.
        address: SocketAddr,
        /// The setting that chooses it.
        setting: &'static str,
        /// The same as an environment variable.
        variable: String,
    },
    /// The system refuses.
    #[error(
        "cannot listen on {address}: {error}; choose another address with {setting} ({variable})"
    )]
    Refused {
        /// The address.
        address: SocketAddr,
        /// The setting that chooses it.
        setting: &'static str,
        /// The same as an environment variable.
        variable: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

/// Listens on `address`, which `setting` (such as `gateway.listen`) has chosen.
///
/// # Errors
/// When the address is taken or may not be used.
pub async fn listen(
    address: SocketAddr,
    setting: &'static str,
) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|error| {
        let variable = crate::settings::variable(setting);
        match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::Taken { address, setting, variable },
            _ => ListenError::Refused { address, setting, variable, error },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_setting() {
        let first = listen("127.0.0.1:0".parse().unwrap(), "gateway.listen").await.unwrap();
        let address = first.local_addr().unwrap();
        let error = listen(address, "gateway.listen").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{address} is taken by another process; stop it, or choose another address with \
                 gateway.listen (TIKTOMATO__GATEWAY__LISTEN)"
            )
        );
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        let elsewhere = "192.0.2.1:80".parse().unwrap();
        let error = listen(elsewhere, "ops.listen").await.unwrap_err();
        assert!(matches!(error, ListenError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("TIKTOMATO__OPS__LISTEN"), "{error}");
    }
}
