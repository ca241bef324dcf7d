//! The routes, and their description generated from the same declarations: `/openapi.json`, with
//! pages to read it at `/docs`.

use axum::{Router, routing};
use serde::Serialize;
use utoipa::{
    OpenApi, ToSchema,
    openapi::{
        Components, ContentBuilder, Ref, ResponseBuilder,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::SwaggerUi;

use crate::{
    account, admin, app::App, callbacks, credits, jobs, keys, media, models, people, privacy,
    uploads, usage,
};

/// A list, as every resource has it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// Always `list`.
    object: &'static str,
    /// The items, newest first.
    data: Vec<T>,
    /// Whether there are older ones.
    has_more: bool,
    /// The value of `after` that continues the list; null at its end.
    next: Option<String>,
}

impl<T> List<T> {
    /// A list without pages.
    pub(crate) fn whole(data: Vec<T>) -> Self {
        Self { object: "list", data, has_more: false, next: None }
    }

    /// One page. `rows` has one more than the limit if there is more.
    pub(crate) fn page(mut rows: Vec<T>, limit: u64, cursor: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(cursor);
        Self { object: "list", data: rows, has_more, next }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "TikTomato",
        description = "AI images and videos for prepaid credits. Errors are RFC 9457 problem details."
    ),
    security(("api_key" = []), ("session" = []))
)]
struct Description;

/// All routes.
pub(crate) fn routes() -> Router<App> {
    let (router, description) = OpenApiRouter::with_openapi(described())
        .routes(routes!(jobs::submit::submit, jobs::list::list))
        .routes(routes!(jobs::submit::quote))
        .routes(routes!(jobs::read::get, jobs::delete::delete))
        .routes(routes!(jobs::events::events))
        .routes(routes!(jobs::cancel::cancel))
        .routes(routes!(uploads::create))
        .routes(routes!(uploads::get, uploads::delete))
        .routes(routes!(callbacks::take))
        .routes(routes!(models::list))
        .routes(routes!(models::get))
        .routes(routes!(credits::wallet))
        .routes(routes!(credits::entries))
        .routes(routes!(admin::people::create_user))
        .routes(routes!(admin::people::create_key))
        .routes(routes!(admin::people::set_role))
        .routes(routes!(admin::people::look_up))
        .routes(routes!(admin::data::update_user))
        .routes(routes!(admin::data::delete_user))
        .routes(routes!(admin::data::export_user))
        .routes(routes!(admin::data::export))
        .routes(routes!(admin::money::grant))
        .routes(routes!(admin::money::reconcile))
        .routes(routes!(admin::providers::list))
        .routes(routes!(admin::providers::off))
        .routes(routes!(admin::providers::on))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(usage::summary))
        .routes(routes!(people::post_sign_up))
        .routes(routes!(people::post_verify))
        .routes(routes!(people::post_sign_in))
        .routes(routes!(people::post_sign_out))
        .routes(routes!(people::post_password))
        .routes(routes!(people::post_forgot))
        .routes(routes!(people::post_reset))
        .routes(routes!(people::google::post_google_age))
        .routes(routes!(people::list_sessions, people::delete_sessions))
        .routes(routes!(people::delete_session))
        .routes(routes!(people::list_audit))
        .routes(routes!(account::profile::get, account::profile::patch, account::erase::delete))
        .routes(routes!(account::exports::create, account::exports::list))
        .routes(routes!(account::exports::get))
        .routes(routes!(account::erase::receipt))
        .split_for_parts();
    // OpenAPI has no path parameter that spans slashes, so this one is described apart.
    let (_, file) = OpenApiRouter::<App>::new().routes(routes!(media::get)).split_for_parts();
    let mut description = description.merge_from(file);
    declare_problems(&mut description);
    router
        .route("/media/{*key}", routing::get(media::get))
        .route("/privacy", routing::get(privacy::page))
        .merge(people::pages())
        .merge(SwaggerUi::new("/docs").url("/openapi.json", description))
}

/// What is true of all routes.
fn described() -> utoipa::openapi::OpenApi {
    let mut description = Description::openapi();
    let key = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("tt_live_…")
        .description(Some("An API key"))
        .build();
    let cookie = ApiKeyValue::with_description(people::SESSION, "A signed-in browser");
    let components = description.components.get_or_insert_with(Components::new);
    components.add_security_scheme("api_key", SecurityScheme::Http(key));
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    description
}

/// Whatever an operation does not say about its errors: they are problems. Some come from layers
/// around every handler, which its own declaration cannot know of.
fn declare_problems(description: &mut utoipa::openapi::OpenApi) {
    let problem = |about: &str| {
        let body = Ref::from_schema_name("ProblemBody");
        let content = ContentBuilder::new().schema(Some(body)).build();
        ResponseBuilder::new()
            .description(about)
            .content("application/problem+json", content)
            .build()
    };
    for item in description.paths.paths.values_mut() {
        let operations =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            for (statuses, about) in [("4XX", "refused"), ("5XX", "not possible now")] {
                let known = &mut operation.responses.responses;
                known.entry(statuses.to_owned()).or_insert_with(|| problem(about).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_whether_there_is_more() {
        let page = List::page(vec![3, 2, 1], 2, ToString::to_string);
        assert_eq!((page.data, page.has_more, page.next.as_deref()), (vec![3, 2], true, Some("2")));
        let page = List::page(vec![3, 2], 2, ToString::to_string);
        assert_eq!((page.data, page.has_more, page.next), (vec![3, 2], false, None));
        assert_eq!(List::page(Vec::<i32>::new(), 2, ToString::to_string).next, None);
    }
}
