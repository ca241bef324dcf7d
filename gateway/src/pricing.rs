//! What a request for a job comes to: its input checked, its price, and the ways to make it, best
//! first.

use config::{catalogue::Model, context::Context};
use entities::{
    Credits,
    catalogue::{Resolved, ResolvedRoute},
    job::Kind,
    routing::Standing,
};
use http::{HeaderValue, header};
use serde_json::Value;

use crate::problem::{Code, FieldError, Problem};

/// A request for a job, checked and priced.
pub(crate) struct Priced {
    pub(crate) kind: Kind,
    pub(crate) pool: String,
    pub(crate) input: Value,
    pub(crate) resolved: Value,
    pub(crate) credits: Credits,
    pub(crate) outputs_expected: i32,
}

/// Checks an input against its model and fills in defaults. Pointers in the errors begin with
/// `/input`. `prompt_chars` is the operator's own limit, whatever the model takes.
pub(crate) fn check(
    model: &Model,
    input: &Value,
    prompt_chars: usize,
) -> Result<Value, Vec<FieldError>> {
    let input = model.validate(input).map_err(under_input)?;
    if input["prompt"].as_str().is_some_and(|prompt| prompt.chars().count() > prompt_chars) {
        let detail = format!("must have at most {prompt_chars} characters");
        return Err(vec![FieldError::new("/input/prompt", detail)]);
    }
    Ok(input)
}

/// Refuses a model whose every route an operator has switched off. One whose routes only fail at
/// the moment is taken: its jobs wait for them.
pub(crate) fn offered(context: &Context, model: &Model) -> Result<(), Problem> {
    if model.routes().any(|(provider, name)| !context.routes.is_off(provider, name)) {
        return Ok(());
    }
    Err(switched_off())
}

fn switched_off() -> Problem {
    let detail = "The model is switched off at the moment. Try again later, or use another one.";
    let later = HeaderValue::from_static("60");
    Problem::new(Code::ModelUnavailable, detail).with_header(header::RETRY_AFTER, later)
}

/// Prices a valid input. Routes that its media, of these sizes, cannot be handed to are left out;
/// those that cannot be called at the moment come last, so that the job begins where it can be made.
/// What no offered provider makes for the price is refused, and an operator is told: another
/// provider's key, or another price, is missing.
pub(crate) fn price(
    context: &Context,
    model: &Model,
    input: Value,
    sizes: &[u64],
) -> Result<Priced, Problem> {
    let invalid = |errors| Problem::invalid(under_input(errors));
    let mut resolved = model.resolve(&input).map_err(invalid)?;
    leave_out(context, &mut resolved, sizes).map_err(|what| {
        let pointer = model.media_pointers(&input).into_iter().next().unwrap_or_default();
        Problem::invalid(vec![FieldError::new(format!("/input{pointer}"), what)])
    })?;
    let held = resolved.credits;
    if !resolved.routes.iter().any(|route| route.fits(held)) {
        tracing::error!(model = %model.id(), %held, "no route is covered by the price");
        context.metrics.job_not_covered(model.id().as_str());
        let detail = "Nobody makes this at its price at the moment. Try another input or model.";
        return Err(Problem::new(Code::ModelUnavailable, detail));
    }
    let is_off =
        |route: &ResolvedRoute| context.routes.is_off(&route.provider, &route.provider_model);
    if !resolved.routes.iter().any(|route| route.fits(held) && !is_off(route)) {
        return Err(switched_off());
    }
    resolved.routes.sort_by_key(|route| {
        let standing = context.routes.standing(&route.provider, &route.provider_model);
        let shut = match standing {
            // Somebody has to try the one that is half open.
            Standing::Ready | Standing::HalfOpen => 0,
            Standing::Shut(_) => 1,
            Standing::Off => 2,
        };
        (!route.fits(held), shut)
    });
    let no_route =
        || Problem::invalid(vec![FieldError::new("/model", "has no provider at the moment")]);
    Ok(Priced {
        kind: model.kind(),
        pool: resolved.routes.first().ok_or_else(no_route)?.pool.clone(),
        credits: resolved.credits,
        outputs_expected: i32::try_from(resolved.outputs).unwrap_or(i32::MAX),
        resolved: serde_json::to_value(&resolved)
            .map_err(|_| Problem::invalid(vec![FieldError::new("/input", "cannot be stored")]))?,
        input,
    })
}

/// Leaves out the routes that files of these sizes cannot be handed to; what is too large for all.
fn leave_out(context: &Context, resolved: &mut Resolved, sizes: &[u64]) -> Result<(), String> {
    let way =
        |route: &ResolvedRoute| context.settings.handover(&route.provider, &route.provider_model);
    let (fit, other): (Vec<_>, Vec<_>) =
        resolved.routes.drain(..).partition(|route| way(route).takes(sizes));
    resolved.routes = fit;
    if !resolved.routes.is_empty() {
        return Ok(());
    }
    let limits: Vec<String> = other.iter().filter_map(|route| way(route).limit()).collect();
    Err(if limits.is_empty() {
        "cannot be handed to the model's provider".to_owned()
    } else {
        format!("is too large for the model's provider, which takes {}", limits.join(" or "))
    })
}

fn under_input(errors: Vec<config::catalogue::InputError>) -> Vec<FieldError> {
    errors
        .into_iter()
        .map(|error| FieldError::new(format!("/input{}", error.pointer), error.detail))
        .collect()
}
