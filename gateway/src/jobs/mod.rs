//! `/v1/jobs`: a file for each thing that can be asked.

pub(crate) mod body;
pub(crate) mod cancel;
pub(crate) mod delete;
pub(crate) mod events;
pub(crate) mod list;
mod media;
pub(crate) mod read;
pub(crate) mod request;
pub(crate) mod submit;
