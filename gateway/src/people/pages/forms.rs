//! The forms: what they say, and where they lead.

use super::view::{Field, Form};
use crate::app::App;

pub(super) fn sign_up_form<'a>(app: &App, fields: &'a [Field<'a>]) -> Form<'a> {
    Form {
        title: "Create an account",
        intro: None,
        action: "/sign-up",
        fields,
        button: "Create account",
        google: app.google.is_some(),
        links: &[("/sign-in", "I have an account")],
        faults: Vec::new(),
    }
}

pub(super) fn verify_form<'a>(fields: &'a [Field<'a>]) -> Form<'a> {
    Form {
        title: "Confirm your address",
        intro: Some(
            "Only go on if it was you who signed up, or who is changing the address of your account. If it was not, close this page: nothing happens then.",
        ),
        action: "/verify",
        fields,
        button: "Confirm",
        google: false,
        links: &[("/sign-in", "Sign in")],
        faults: Vec::new(),
    }
}

pub(super) fn sign_in_form<'a>(app: &App, fields: &'a [Field<'a>]) -> Form<'a> {
    Form {
        title: "Sign in",
        intro: None,
        action: "/sign-in",
        fields,
        button: "Sign in",
        google: app.google.is_some(),
        links: &[("/forgot", "I have forgotten my password"), ("/sign-up", "Create an account")],
        faults: Vec::new(),
    }
}

pub(super) fn forgot_form<'a>(fields: &'a [Field<'a>]) -> Form<'a> {
    Form {
        title: "Forgotten password",
        intro: Some("We send a link to your address, by which you can choose a new password."),
        action: "/forgot",
        fields,
        button: "Send the link",
        google: false,
        links: &[("/sign-in", "Sign in")],
        faults: Vec::new(),
    }
}

pub(super) fn reset_form<'a>(fields: &'a [Field<'a>]) -> Form<'a> {
    Form {
        title: "Choose a new password",
        intro: Some("All other browsers will be signed out."),
        action: "/reset",
        fields,
        button: "Change password",
        google: false,
        links: &[("/forgot", "Send me another link")],
        faults: Vec::new(),
    }
}

pub(super) fn age_form<'a>(fields: &'a [Field<'a>]) -> Form<'a> {
    Form {
        title: "One more question",
        intro: Some(
            "You are new here. Google has told us your name and address; before we make your account we need one more thing.",
        ),
        action: "/auth/google/age",
        fields,
        button: "Create account",
        google: false,
        links: &[("/sign-in", "Not now")],
        faults: Vec::new(),
    }
}
