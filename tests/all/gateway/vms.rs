//! The VMs of a gateway: traps and their successors, calls, ticks, and the work shared out.

use std::sync::Arc;
use std::time::Duration;

use harness::fleet::{Caller, Order};
use http::{Request, StatusCode};
use http_body_util::Full;

use super::{NEVER, PASSING, asking_guest, guest, raw, scene};

#[tokio::test]
async fn a_vm_that_traps_is_replaced_after_the_back_off() {
    let traps = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = Arc::clone(&traps);
    let scene = scene(1, guest(PASSING, 20), |options| {
        options.reload_backoff = Duration::from_millis(1);
        options.on_trap = Arc::new(move |trap| heard.lock().unwrap().push(trap.to_string()));
    });
    let many = (0..20).fold(Request::get("/v1/models"), |request, n| {
        request.header(format!("x-{n}"), "1")
    });
    let answer = scene
        .caller
        .send(many.body(Full::default()).unwrap())
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(traps.lock().unwrap()[0].contains("proxy_on_request_headers"));
    loop {
        match scene.caller.get("/v1/models").await.unwrap().status {
            StatusCode::SERVICE_UNAVAILABLE => tokio::task::yield_now().await,
            status => break assert_eq!(status, StatusCode::OK),
        }
    }
}

#[tokio::test]
async fn a_trap_fails_the_streams_in_flight_on_that_worker() {
    let scene = scene(1, guest(PASSING, 20), |options| {
        options.on_trap = Arc::new(|_| {})
    });
    scene.fleet.endpoint(0).order(Order::Hang).unwrap();
    let address = scene.gateway.address();
    let hanging = tokio::task::spawn_blocking(move || {
        raw(
            address,
            b"GET /v1/models HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        )
    });
    while scene.fleet.endpoint(0).stats().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    let many = (0..20).fold(Request::get("/"), |request, n| {
        request.header(format!("x-{n}"), "1")
    });
    scene
        .caller
        .send(many.body(Full::default()).unwrap())
        .await
        .unwrap();
    assert!(hanging.await.unwrap().starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn a_request_held_for_a_call_goes_on_with_its_answer() {
    let scene = scene(1, asking_guest(), |_| {});
    let answer = scene.caller.get("/v1/models").await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    let said: Vec<_> = scene
        .log()
        .into_iter()
        .filter(|line| line != "ticked")
        .collect();
    assert_eq!(said, ["asked", "answered"]);
    assert_eq!(scene.fleet.endpoint(0).stats().probes, 1);
}

#[tokio::test]
async fn a_call_that_cannot_be_made_is_answered_too() {
    let scene = scene(1, asking_guest(), |_| {});
    scene.fleet.endpoint(0).order(Order::Kill).unwrap();
    let answer = scene.caller.get("/v1/models").await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(scene.log().contains(&"answered".to_owned()));
}

#[tokio::test]
async fn every_vm_ticks_as_often_as_it_asks() {
    let scene = scene(1, asking_guest(), |options| options.workers = 2);
    let ticking = || {
        let lines = scene.gateway.host().logs();
        let vms = lines
            .iter()
            .filter(|line| line.text == "ticked")
            .map(|line| line.vm);
        vms.collect::<std::collections::BTreeSet<_>>().len()
    };
    // Two workers and the main thread.
    while ticking() < 3 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn connections_are_dealt_to_all_workers() {
    let scene = scene(1, guest(PASSING, NEVER), |options| options.workers = 4);
    for _ in 0..4 {
        Caller::new(scene.gateway.address())
            .get("/v1/models")
            .await
            .unwrap();
    }
    let vms: std::collections::BTreeSet<u64> = scene
        .gateway
        .host()
        .logs()
        .iter()
        .map(|line| line.vm)
        .collect();
    assert_eq!(vms.len(), 4);
}
