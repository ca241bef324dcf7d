//! People, their personal workspaces, and the API keys that act for them.

mod key;
mod people;

pub use key::{Caller, KeySecret, authenticate, create_key, note_use, revoke_key};
pub use people::{AccountError, NewUser, PersonalWorkspace, create_user, find_workspace, wallet};
