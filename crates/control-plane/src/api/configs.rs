//! Plugin configurations that are pushed.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::problem::Problem;
use super::{App, author, found, request, unchanged};

/// A plugin configuration.
#[utoipa::path(get, path = "/v1/configs/{NAME}",
    params(("NAME" = String, Path, min_length = 1, max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$", description = "the name of the extension configuration, percent-encoded")),
    responses(
        (status = 200, body = Value, description = "the document that was set"),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
    ))]
pub async fn get(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let name = request::segment(request.uri(), "NAME")?;
    request::query(request.uri(), &[])?;
    config(&app, &name)
}

/// Sets a plugin configuration, which the filter's own code checks first.
#[utoipa::path(put, path = "/v1/configs/{NAME}", security(("token" = [])),
    request_body(content = Value, description = "a plugin configuration, see docs/configuration.md"),
    params(
        ("NAME" = String, Path, min_length = 1, max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$", description = "the name of the extension configuration, percent-encoded"),
        ("If-Match" = Option<String>, Header, nullable = false, pattern = "^(\"[0-9]{1,19}\"|[0-9]{1,19})$", description = "the version of this configuration; 0 if there is none yet"),
    ),
    responses(
        (status = 200, body = Value, description = "the document"),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 412, body = Problem, description = "somebody changed it since"),
        (status = 413, body = Problem),
        (status = 422, body = Problem, description = "the filter would refuse it; `error` is the filter's message"),
    ))]
pub async fn put(State(app): State<Arc<App>>, parts: Parts, body: Bytes) -> Result<Response, Problem> {
    let document = request::document(&body)?;
    let name = set(&app, &parts, Some(document)).await?;
    config(&app, &name)
}

/// Removes a plugin configuration. Envoys that have it keep it.
#[utoipa::path(delete, path = "/v1/configs/{NAME}", security(("token" = [])),
    params(
        ("NAME" = String, Path, min_length = 1, max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$", description = "the name of the extension configuration, percent-encoded"),
        ("If-Match" = Option<String>, Header, nullable = false, pattern = "^(\"[0-9]{1,19}\"|[0-9]{1,19})$", description = "the version of this configuration"),
    ),
    responses(
        (status = 204, description = "it is removed"),
        (status = 400, body = Problem),
        (status = 401, body = Problem),
        (status = 404, body = Problem),
        (status = 412, body = Problem, description = "somebody changed it since"),
    ))]
pub async fn delete(State(app): State<Arc<App>>, parts: Parts) -> Result<Response, Problem> {
    config(&app, &request::segment(&parts.uri, "NAME")?)?;
    set(&app, &parts, None).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn set(app: &App, parts: &Parts, document: Option<Value>) -> Result<String, Problem> {
    let name = request::segment(&parts.uri, "NAME")?;
    request::query(&parts.uri, &[])?;
    let expected = request::expected_version(&parts.headers)?;
    // The history does not repeat the document: it may hold secrets, such as a seed or headers of calls.
    let author = author(parts, "")?;
    let config = name.clone();
    app.change(author, move |state| {
        let edits = state.set_config(&config, document.as_ref())?;
        unchanged(expected, state.configs.get(&config).map_or(0, |config| config.revision))?;
        Ok(edits)
    })
    .await?;
    Ok(name)
}

fn config(app: &App, name: &str) -> Result<Response, Problem> {
    if name.is_empty() {
        return Err(Problem::bad("NAME", "got \"\"; allowed: the name of an extension configuration"));
    }
    let state = app.plane.state();
    match state.configs.get(name) {
        Some(config) => Ok(found(config.revision, &config.value)),
        None => Err(Problem::missing("NAME", format!("there is no configuration {name:?}"))),
    }
}
