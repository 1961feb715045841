//! For debugging: responds with the request as it arrived, so that a test or the demo can see what a proxy
//! changed in it and which server it reached.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::routes::{App, json};

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
pub async fn reflect(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body_bytes = match drain(body).await {
        Ok(bytes) => bytes,
        Err(response) => return response,
    };
    let headers = head.headers.iter();
    json(&Reflection {
        instance: app.instance().to_string(),
        method: head.method.as_str(),
        path: head.uri.path_and_query().map_or("/", |path| path.as_str()),
        headers: headers
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body_bytes,
    })
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
