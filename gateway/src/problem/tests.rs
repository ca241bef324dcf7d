//! The shape of problems.

use axum::response::IntoResponse as _;

use super::*;

#[tokio::test]
async fn a_problem_has_the_documented_shape() {
    let problem = Problem::invalid(vec![FieldError::new("/model", "is required")]);
    let mut response = problem.clone().into_response();
    problem.write(&mut response, "req_1");
    assert_eq!(response.status(), 422);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "type": "urn:tiktomato:problem:invalid_input",
            "title": "Invalid input",
            "status": 422,
            "code": "invalid_input",
            "detail": "is required",
            "request_id": "req_1",
            "errors": [{"pointer": "/model", "detail": "is required"}],
        })
    );
}

#[test]
fn headers_belong_to_the_kind() {
    let mut response = Problem::unauthorized().into_response();
    Problem::unauthorized().write(&mut response, "r");
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    let away = Problem::for_status(StatusCode::SERVICE_UNAVAILABLE);
    let mut response = away.clone().into_response();
    away.write(&mut response, "r");
    assert_eq!(response.headers()["retry-after"], "1");
}

#[test]
fn any_error_status_becomes_a_problem() {
    assert_eq!(Problem::for_status(StatusCode::IM_A_TEAPOT).code, Code::BadRequest);
    assert_eq!(Problem::for_status(StatusCode::BAD_GATEWAY).code, Code::Internal);
}
