//! People, their personal workspaces, and the API keys that act for them.

mod caller;
mod key;
mod own_keys;
mod people;
pub(crate) mod spending;

pub use caller::{Caller, Credential, Scope, Scopes, UnknownScope};
pub use key::{
    KeyInForce, KeySecret, NewKey, SpendPeriod, SpendingLimit, authenticate, create_key, note_use,
    revoke_key,
};
pub use own_keys::{KeyRefused, MOST_KEYS, keys, make_key, revoke_own_key};
pub use people::{AccountError, NewUser, PersonalWorkspace, create_user, find_workspace, wallet};
pub use spending::{Allowances, forget_spending};
