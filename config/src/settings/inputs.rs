//! The section about media of inputs: where it is fetched from, and how it is handed on.

use std::net::SocketAddr;

use serde::Serialize;

use super::reader::{Reader, from_str};
use crate::net::Allowed;

/// What users point to.
#[derive(Debug, Clone, Serialize)]
pub struct Inputs {
    /// Private addresses that are fetched from all the same.
    pub allow_private: Vec<SocketAddr>,
    /// Whether providers get their media as bytes although `media.public_url` looks as if they
    /// could follow a link.
    pub as_bytes: bool,
}

impl Inputs {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let as_bytes = reader.required("inputs.as_bytes", from_str("true or false"));
        let (words, place) = reader.list("inputs.allow_private")?;
        let parsed = words.iter().map(|word| word.parse()).collect::<Result<Vec<SocketAddr>, _>>();
        match parsed {
            Ok(allow_private) => Some(Self { allow_private, as_bytes: as_bytes? }),
            Err(_) => {
                let expected = "must be a list of IP addresses with ports, such as 10.0.0.7:9000";
                reader.bad("inputs.allow_private", place, expected);
                None
            }
        }
    }

    /// The same for the client.
    #[must_use]
    pub fn allowed(&self) -> Allowed {
        self.allow_private.iter().copied().collect()
    }

    /// What an operator should think about.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let addresses: Vec<String> = self.allow_private.iter().map(ToString::to_string).collect();
        (!addresses.is_empty()).then(|| {
            format!(
                "inputs.allow_private opens {} to everyone who may submit a job",
                addresses.join(", ")
            )
        })
    }
}
