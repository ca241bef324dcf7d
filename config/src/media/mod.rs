//! Media files: stored whole or not at all, checked before they are visible, served by signed
//! links.
//!
//! Stored: objects under `jobs/…`, `uploads/…` and `exports/…` (whole), a thumbnail beside every
//! large picture that a job made (it is deleted with its picture), and `staging/…` (being copied; removed when the copy
//! ends, and by the scheduler when a crash left one). What can fail is in [`MediaError`].

mod boxes;
mod ebml;
mod key;
mod link;
mod probe;
mod store;
mod sweep;
mod thumbnail;
mod whole;

pub use key::{BadKey, MediaKey};
pub use link::{LinkError, MediaLinks};
pub use probe::ContentType;
pub use store::{File, MediaError, MediaStore, PutLimits, Stored, Thumbnail};
pub use sweep::Found;
pub use thumbnail::THUMBNAIL;
