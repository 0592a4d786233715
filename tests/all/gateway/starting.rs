//! The ports of a gateway.

use harness::fleet::Caller;
use harness::gateway::{Error, Gateway, GatewayOptions};

use super::{NEVER, PASSING, guest, scene};

#[tokio::test]
async fn the_admin_port_has_the_counters() {
    let scene = scene(1, guest(PASSING, NEVER), |_| {});
    scene.caller.get("/v1/models").await.unwrap();
    let page = Caller::new(scene.gateway.admin())
        .get("/stats/prometheus")
        .await
        .unwrap();
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(
        page.contains("envoy_http_ingress_downstream_rq_total 1\n"),
        "{page}"
    );
    assert!(
        page.contains("envoy_cluster_upstream_rq_total 1\n"),
        "{page}"
    );
}

#[test]
fn a_taken_port_is_named_with_the_flag_that_helps() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = GatewayOptions::new(guest(PASSING, NEVER));
    options.listen = taken.local_addr().unwrap();
    let error = Gateway::start(options).err().unwrap();
    assert!(matches!(error, Error::PortTaken(_)));
    let port = taken.local_addr().unwrap().port();
    assert!(
        error.to_string().starts_with(&format!(
            "port {port} of 127.0.0.1 is taken; choose another with --port"
        )),
        "{error}"
    );
}
