//! The description of the API, made of the descriptions of its calls.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::problem::json;
use super::{App, configs, hosts, preview, runtime, status};

#[derive(OpenApi)]
#[openapi(
    info(title = "pinroute control plane", description = "Live values, hosts and configurations for the Envoy filter pinroute."),
    paths(
        runtime::get,
        runtime::put,
        runtime::patch,
        runtime::get_customer,
        runtime::put_customer,
        runtime::delete_customer,
        hosts::get,
        hosts::put,
        configs::get,
        configs::put,
        configs::delete,
        status::nodes,
        status::history,
        preview::get,
        status::healthy,
        status::ready,
        status::metrics,
        get,
    ),
    modifiers(&Token),
)]
struct Description;

/// Describes the token that changes need.
struct Token;

impl Modify for Token {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("PINROUTE_API_TOKEN, if it is set"));
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme.build()));
    }
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, content_type = "application/json")))]
pub async fn get(State(app): State<Arc<App>>) -> Response {
    let mut description = Description::openapi();
    if app.token.is_none() {
        for path in description.paths.paths.values_mut() {
            for call in [&mut path.put, &mut path.patch, &mut path.delete].into_iter().flatten() {
                call.security = None;
            }
        }
    }
    json(StatusCode::OK, &description)
}
