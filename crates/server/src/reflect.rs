//! For debugging: responds with the request as it arrived, so that a test or the demo can see what a proxy
//! changed in it and which server it reached.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The request as this server received it.
#[derive(Serialize)]
struct Reflection<'a> {
    instance: String,
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, String)>,
    body_bytes: usize,
}

/// Responds to any request with a description of it.
pub async fn reflect(instance: String, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body_bytes = match drain(body).await {
        Ok(bytes) => bytes,
        Err(response) => return response,
    };
    let headers = head.headers.iter();
    json(&Reflection {
        instance,
        method: head.method.as_str(),
        path: head.uri.path_and_query().map_or("/", |path| path.as_str()),
        headers: headers
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body_bytes,
    })
}

/// A compact JSON response.
pub fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Reads a body to its end, keeping nothing, and counts its bytes.
pub async fn drain(mut body: Body) -> Result<usize, Response> {
    let mut bytes = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        match frame {
            Ok(frame) => bytes += frame.data_ref().map_or(0, |data| data.len()),
            Err(error) => {
                return Err((StatusCode::BAD_REQUEST, format!("unreadable body: {error}")).into_response());
            }
        }
    }
    Ok(bytes)
}
