//! Where a request goes, and where next when an endpoint fails it.

use harness::fleet::Order;
use http::{Request, StatusCode};
use http_body_util::Full;

use super::{NEVER, PASSING, guest, scene};

#[tokio::test]
async fn the_header_names_the_endpoint_and_then_where_retries_go() {
    let scene = scene(3, guest(PASSING, NEVER), |_| {});
    assert_eq!(scene.chat_to(&[2]).await.served_by(), "e2");
    assert_eq!(scene.chat_to(&[1, 2]).await.served_by(), "e1");
    scene.fleet.endpoint(1).order(Order::Kill).unwrap();
    let answer = scene.chat_to(&[1, 2, 0]).await;
    assert_eq!((answer.status, answer.served_by()), (StatusCode::OK, "e2"));
    scene.fleet.endpoint(2).order(Order::Reset).unwrap();
    let answer = scene.chat_to(&[1, 2, 0]).await;
    assert_eq!((answer.status, answer.served_by()), (StatusCode::OK, "e0"));
    assert_eq!(scene.gateway.retries(), 3);
}

#[tokio::test]
async fn a_connection_that_went_stale_in_the_pool_is_no_failure_of_its_endpoint() {
    let scene = scene(2, guest(PASSING, NEVER), |options| options.retries = 0);
    for _ in 0..20 {
        assert_eq!(scene.chat_to(&[0]).await.served_by(), "e0");
        let endpoint = scene.fleet.endpoint(0);
        endpoint.order(Order::Kill).unwrap();
        endpoint.order(Order::Revive).unwrap();
    }
    assert_eq!(scene.chat_to(&[0]).await.served_by(), "e0");
}

#[tokio::test]
async fn a_response_whatever_its_status_is_not_retried_unasked() {
    let scene = scene(2, guest(PASSING, NEVER), |_| {});
    scene
        .fleet
        .endpoint(0)
        .order(Order::Fail {
            status: 503,
            ratio: 1.0,
        })
        .unwrap();
    assert_eq!(
        scene.chat_to(&[0, 1]).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(scene.gateway.retries(), 0);
}

#[tokio::test]
async fn nowhere_to_go_is_a_503_that_the_guest_sees() {
    let scene = scene(2, guest(PASSING, NEVER), |options| options.retries = 1);
    for endpoint in scene.fleet.endpoints() {
        endpoint.order(Order::Kill).unwrap();
    }
    let answer = scene.chat_to(&[0, 1]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer
            .body
            .starts_with(b"upstream connect error or disconnect/reset before headers. retried")
    );
    assert_eq!(
        scene.log()[3..],
        ["response_headers 0", "response_body 1", "done 1"]
    );
    let unknown = Request::get("/")
        .header("x-junheng-cluster", "nobody")
        .body(Full::default())
        .unwrap();
    assert_eq!(
        scene.caller.send(unknown).await.unwrap().status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}
