//! People, their personal workspaces, how they sign up and in, and the API keys that act for them.

mod caller;
mod identities;
mod key;
mod own_keys;
pub mod password;
mod people;
mod recovery;
mod sessions;
mod sign_up;
pub(crate) mod spending;

pub use identities::{Claims, Federated, find_federated, sign_up_federated};

pub use caller::{Caller, Credential, Scope, Scopes, UnknownScope};
pub use key::{
    KeyInForce, KeySecret, NewKey, SpendPeriod, SpendingLimit, authenticate, create_key, note_use,
    revoke_key,
};
pub use own_keys::{KeyRefused, MOST_KEYS, keys, make_key, revoke_own_key};
pub use people::{
    AccountError, NewUser, PersonalWorkspace, canonical, create_user, find_by_email,
    find_workspace, personal_workspace, wallet,
};
pub use recovery::{ask_reset, change_password, rehash, reset_password, still_has_password};
pub use sessions::{
    Method, SessionSecret, SessionTerms, delete_old_sessions, end_presented_session, end_session,
    end_sessions, find_session, list_sessions, session, start_session, touch_session,
};
pub use sign_up::{
    NewSignUp, SIGN_UP_LASTS, Terms, ask_sign_up, delete_old_sign_ups, forget_sign_ups,
    verify_sign_up,
};
pub use spending::{Allowances, forget_spending};
