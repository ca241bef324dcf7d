//! How a page looks: forms, messages, and the headers that keep everything else out.

use askama::Template;
use axum::response::{Html, IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{finish::Page, problem::Problem};

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) label: &'a str,
    pub(super) kind: &'a str,
    pub(super) value: &'a str,
    pub(super) hint: &'a str,
    pub(super) autocomplete: &'a str,
    pub(super) required: bool,
}

impl<'a> Field<'a> {
    pub(super) const fn new(
        name: &'a str,
        label: &'a str,
        kind: &'a str,
        autocomplete: &'a str,
    ) -> Self {
        Self { name, label, kind, value: "", hint: "", autocomplete, required: true }
    }

    pub(super) const fn hint(mut self, hint: &'a str) -> Self {
        self.hint = hint;
        self
    }

    pub(super) const fn value(mut self, value: &'a str) -> Self {
        self.value = value;
        self
    }

    pub(super) const fn optional(mut self) -> Self {
        self.required = false;
        self
    }
}

pub(super) const EMAIL: Field<'static> = Field::new("email", "Email", "email", "username");
pub(super) const PASSWORD: Field<'static> =
    Field::new("password", "Password", "password", "current-password");
pub(super) const NEW_PASSWORD: Field<'static> =
    Field::new("password", "Password", "password", "new-password").hint("8 characters or more");
pub(super) const NAME: Field<'static> =
    Field::new("name", "Name (optional)", "text", "name").optional();
pub(super) const BIRTH_DATE: Field<'static> =
    Field::new("birth_date", "Date of birth", "date", "bday")
        .hint("We look at it now and do not keep it.");

pub(super) const TOKEN_FIELD: Field<'static> = Field::new("token", "", "hidden", "off");

#[derive(Template)]
#[template(path = "form.html")]
pub(super) struct Form<'a> {
    pub(super) title: &'a str,
    pub(super) intro: Option<&'a str>,
    pub(super) action: &'a str,
    pub(super) fields: &'a [Field<'a>],
    pub(super) button: &'a str,
    pub(super) google: bool,
    pub(super) links: &'a [(&'a str, &'a str)],
    pub(super) faults: Vec<String>,
}

#[derive(Template)]
#[template(path = "message.html")]
pub(super) struct Message<'a> {
    title: &'a str,
    lines: Vec<&'a str>,
    links: &'a [(&'a str, &'a str)],
}

#[derive(Template)]
#[template(path = "signed_in.html")]
pub(super) struct SignedInPage<'a> {
    pub(super) email: &'a str,
    pub(super) available: i64,
    pub(super) held: i64,
}

/// A page with this status.
pub(super) fn page(status: StatusCode, page: &impl Template) -> Response {
    let Ok(text) = page.render() else {
        tracing::error!("a page could not be written");
        return Problem::for_status(StatusCode::INTERNAL_SERVER_ERROR).into_response();
    };
    let mut response = (status, Html(text)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(Page);
    response
}

/// The form again, with what was wrong with it.
pub(super) fn again(mut form: Form<'_>, problem: &Problem) -> Response {
    form.faults = problem.words();
    let mut response = page(problem.status(), &form);
    problem.write_headers(&mut response);
    response
}

/// A problem as a page for people, as problem details for programs.
pub(in crate::people) fn problem(headers: &HeaderMap, problem: Problem) -> Response {
    let wants = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if !wants.is_some_and(|accept| accept.contains("text/html")) {
        return problem.into_response();
    }
    let words = problem.words();
    let message = Message {
        title: "That did not work",
        lines: words.iter().map(String::as_str).collect(),
        links: &[("/sign-in", "Sign in")],
    };
    let mut response = page(problem.status(), &message);
    problem.write_headers(&mut response);
    response
}

pub(super) fn message(title: &str, line: &str, links: &[(&str, &str)]) -> Response {
    page(StatusCode::OK, &Message { title, lines: vec![line], links })
}
