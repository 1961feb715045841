//! What a call gets that is refused: `{"error": …, "field": …}`.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::Invalid;
use crate::plane::ChangeError;
use crate::store::StoreError;

/// A call that was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    #[serde(skip)]
    status: StatusCode,
    /// What is wrong, with the offending value, and what is allowed.
    pub(super) error: String,
    /// The member, parameter, header or other part of the request that is wrong.
    pub(super) field: String,
}

impl Problem {
    /// A refusal with this status.
    pub fn new(status: StatusCode, field: impl Into<String>, error: impl Into<String>) -> Self {
        Self { status, field: field.into(), error: error.into() }
    }

    /// A request that is wrong.
    pub fn bad(field: impl Into<String>, error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, field, error)
    }

    /// What the request is about does not exist.
    pub fn missing(field: impl Into<String>, error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, field, error)
    }

    /// The server failed.
    pub fn failed(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server", error.to_string())
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let Invalid { field, problem, is_semantic } = invalid;
        let status = if is_semantic { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        // The filter names no field if the document as a whole is wrong.
        let field = if field.is_empty() { "body".to_owned() } else { field };
        Self::new(status, field, problem)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store failed");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store", error.to_string())
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Invalid(invalid) => invalid.into(),
            ChangeError::Outdated { .. } => {
                Self::new(StatusCode::PRECONDITION_FAILED, "If-Match", error.to_string())
            }
            ChangeError::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &self);
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A JSON document as a response.
pub fn json(status: StatusCode, document: &impl Serialize) -> Response {
    let (status, mut text) = match serde_json::to_string(document) {
        Ok(text) => (status, text),
        Err(error) => {
            tracing::error!(%error, "a response cannot be serialized");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                r#"{"error":"cannot be serialized","field":"server"}"#.to_owned(),
            )
        }
    };
    // A terminal's prompt then starts on a line of its own.
    text.push('\n');
    let mut response = (status, Body::from(text)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
