//! `/control` of every endpoint: orders over HTTP, for a person with curl or a test in another language.

use std::sync::Arc;

use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::order::Order;
use super::response::{self, AnyBody, plain};
use super::server::Server;

/// `POST /control {"order": "slow", "factor": 3, "endpoint": "name"}`: an order for this endpoint,
/// or for another one of the fleet, which is how a dead one is revived. GET: the counters.
pub async fn control(server: &Arc<Server>, method: &Method, body: &[u8]) -> Response<AnyBody> {
    if method == Method::GET {
        return response::json(StatusCode::OK, &counters(server));
    }
    let mut wanted: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = wanted
        .as_object_mut()
        .and_then(|wanted| wanted.remove("endpoint"));
    let target = match name.as_ref().map(|name| name.as_str().unwrap_or_default()) {
        None => Arc::clone(server),
        Some(name) => match server.sibling(name) {
            Some(sibling) => sibling,
            None => {
                return plain(
                    StatusCode::NOT_FOUND,
                    &format!("no endpoint of this fleet is called {name:?}"),
                );
            }
        },
    };
    match serde_json::from_value::<Order>(wanted) {
        Err(error) => plain(
            StatusCode::BAD_REQUEST,
            &format!("not an order: {error}; try {{\"order\": \"slow\", \"factor\": 3}}"),
        ),
        Ok(order) => match target.obey(order).await {
            Ok(()) => plain(StatusCode::OK, "done"),
            Err(error) => plain(StatusCode::CONFLICT, &error.to_string()),
        },
    }
}

fn counters(server: &Server) -> Value {
    let stats = server.stats();
    json!({
        "endpoint": server.spec().name,
        "requests": stats.requests,
        "failures": stats.failures,
        "probes": stats.probes,
        "health_checks": stats.health_checks,
        "in_flight": stats.in_flight,
        "peak_in_flight": stats.peak_in_flight,
        "waiting": stats.waiting,
        "bytes_in": stats.bytes_in,
        "bytes_out": stats.bytes_out,
        "connections": stats.connections,
    })
}
