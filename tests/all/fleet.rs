//! The simulated model servers: the APIs' shapes, and obedience to orders.

mod orders;

use bytes::Bytes;
use harness::fleet::{Caller, EndpointSpec, Fleet, OrcaFormat, Order, Speed, json_request};
use http::StatusCode;
use serde_json::{Value, json};

fn one(spec: EndpointSpec) -> (Fleet, Caller) {
    let fleet = Fleet::start(&[spec]).unwrap();
    let caller = Caller::new(fleet.endpoint(0).address());
    (fleet, caller)
}

fn instant() -> EndpointSpec {
    EndpointSpec::new("one", Speed::INSTANT)
}

#[tokio::test]
async fn a_chat_says_who_served_it_and_what_arrived() {
    let (fleet, caller) = one(instant().models(["m"]));
    let answer = caller.chat("m", "hello there").await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.served_by(), "one");
    let body = answer.json();
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["usage"]["prompt_tokens"], 3);
    assert_eq!(body["usage"]["completion_tokens"], 24);
    assert_eq!(body["fleet"]["endpoint"], "one");
    let stats = fleet.endpoint(0).stats();
    assert_eq!(
        (
            stats.requests,
            stats.failures,
            stats.in_flight,
            stats.peak_in_flight
        ),
        (1, 0, 0, 1)
    );
    assert_eq!(body["fleet"]["body_sha256"], stats.recent[0].body_sha256);
    assert_eq!(stats.recent[0].model, "m");
}

#[tokio::test]
async fn a_stream_ends_with_usage_where_asked_and_done() {
    let (_fleet, caller) = one(instant());
    let mut request = json!({"model": "m", "stream": true, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
    let bare = caller.post("/v1/chat/completions", &request).await.unwrap();
    assert!(
        bare.events()
            .iter()
            .all(|event| event.get("usage").is_none())
    );
    request["stream_options"] = json!({"include_usage": true});
    let answer = caller.post("/v1/chat/completions", &request).await.unwrap();
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert!(answer.body.ends_with(b"data: [DONE]\n\n"));
    let events = answer.events();
    assert_eq!(events.last().unwrap()["usage"]["completion_tokens"], 5);
    assert_eq!(
        events[events.len() - 2]["choices"][0]["finish_reason"],
        "length"
    );
    let text: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, "Balance is not stillness but");
}

#[tokio::test]
async fn every_other_api_answers_in_its_own_shape() {
    let (_fleet, caller) = one(instant());
    let embedding = caller
        .post(
            "/v1/embeddings",
            &json!({"model": "m", "input": ["a", "b"]}),
        )
        .await
        .unwrap()
        .json();
    assert_eq!(
        embedding["data"][1]["embedding"].as_array().unwrap().len(),
        8
    );
    let completion = caller
        .post("/v1/completions", &json!({"model": "m", "prompt": "a"}))
        .await
        .unwrap()
        .json();
    assert!(
        completion["choices"][0]["text"]
            .as_str()
            .unwrap()
            .starts_with("Balance")
    );
    let message =
        json!({"model": "m", "max_tokens": 3, "messages": [{"role": "user", "content": "hi"}]});
    let message = caller.post("/v1/messages", &message).await.unwrap().json();
    assert_eq!(
        (&message["type"], &message["stop_reason"]),
        (&json!("message"), &json!("max_tokens"))
    );
    let events = caller
        .post(
            "/v1/responses",
            &json!({"model": "m", "input": "a", "stream": true}),
        )
        .await
        .unwrap()
        .events();
    let numbers: Vec<u64> = events
        .iter()
        .map(|event| event["sequence_number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    assert_eq!(events.last().unwrap()["type"], "response.completed");
}

#[tokio::test]
async fn what_a_model_server_refuses_is_refused() {
    let (fleet, caller) = one(instant().models(["m"]).context_window(100));
    assert_eq!(
        caller.chat("other", "hi").await.unwrap().status,
        StatusCode::NOT_FOUND
    );
    let long = caller.chat("m", &"word ".repeat(100)).await.unwrap();
    assert_eq!(long.status, StatusCode::BAD_REQUEST);
    assert!(
        long.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("maximum context length is 100 tokens")
    );
    let broken = caller
        .send(json_request("/v1/chat/completions", "{"))
        .await
        .unwrap();
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    assert_eq!(fleet.endpoint(0).stats().failures, 3);
}

#[tokio::test]
async fn the_metrics_page_and_the_load_header_tell_the_load() {
    for (format, start) in [
        (OrcaFormat::Text, "TEXT "),
        (OrcaFormat::Json, "JSON "),
        (OrcaFormat::Bin, "BIN "),
    ] {
        let (fleet, caller) = one(EndpointSpec {
            orca: Some(format),
            ..instant()
        });
        fleet
            .endpoint(0)
            .order(Order::Gpu { utilisation: 0.5 })
            .unwrap();
        let answer = caller.chat("m", "hi").await.unwrap();
        let report = answer.header("endpoint-load-metrics").unwrap();
        assert!(report.starts_with(start), "{report}");
        let page = caller.get("/metrics").await.unwrap();
        let page = String::from_utf8(page.body.to_vec()).unwrap();
        for line in [
            "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 50",
            "vllm:num_requests_running{engine=\"0\",model_name=\"any\"} 0.0",
            "vllm:prompt_tokens_total{engine=\"0\",model_name=\"any\"} 1.0",
        ] {
            assert!(page.contains(line), "{line} is not in {page}");
        }
        assert!(page.contains("vllm:time_to_first_token_seconds_bucket{le=\"+Inf\",engine=\"0\",model_name=\"any\"} 1.0"));
    }
}

#[tokio::test]
async fn requests_beyond_the_slots_wait_their_turn() {
    let speed = Speed {
        slots: 2,
        ..Speed::INSTANT
    };
    let (fleet, caller) = one(EndpointSpec::new(
        "one",
        Speed {
            decode_us: 1_000.0,
            ..speed
        },
    ));
    let calls = (0..6).map(|_| caller.chat("m", "hi"));
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    let answers = std::future::poll_fn(|cx| {
        calls.retain_mut(|call| call.as_mut().poll(cx).is_pending());
        if calls.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    });
    answers.await;
    let stats = fleet.endpoint(0).stats();
    assert_eq!(
        (
            stats.requests,
            stats.failures,
            stats.in_flight,
            stats.waiting
        ),
        (6, 0, 0, 0)
    );
    assert_eq!(stats.peak_in_flight, 6);
}

#[tokio::test]
async fn orders_are_obeyed_and_undone() {
    let (fleet, caller) = one(instant());
    let endpoint = fleet.endpoint(0);
    endpoint
        .order(Order::Fail {
            status: 503,
            ratio: 0.5,
        })
        .unwrap();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(caller.chat("m", "hi").await.unwrap().status.as_u16());
    }
    assert_eq!(statuses, [200, 503, 200, 503]);
    endpoint.order(Order::Reset).unwrap();
    assert!(caller.chat("m", "hi").await.is_err());
    endpoint.order(Order::Behave).unwrap();
    assert!(caller.chat("m", "hi").await.is_ok());
}

#[tokio::test]
async fn a_killed_endpoint_refuses_and_comes_back_on_its_port() {
    let (fleet, caller) = one(instant());
    let endpoint = fleet.endpoint(0);
    caller.chat("m", "hi").await.unwrap();
    endpoint.order(Order::Kill).unwrap();
    assert!(
        tokio::net::TcpStream::connect(endpoint.address())
            .await
            .is_err()
    );
    assert!(caller.chat("m", "hi").await.is_err());
    endpoint.order(Order::Revive).unwrap();
    assert!(caller.chat("m", "hi").await.is_ok());
}

#[tokio::test]
async fn an_endpoint_that_leaves_finishes_what_it_runs_and_refuses_the_rest() {
    let (fleet, caller) = one(EndpointSpec::new(
        "one",
        Speed {
            decode_us: 10_000.0,
            ..Speed::INSTANT
        },
    ));
    let endpoint = fleet.endpoint(0);
    let running = tokio::spawn(async move { caller.chat("m", "hi").await });
    while endpoint.stats().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    endpoint.order(Order::Leave).unwrap();
    assert!(
        tokio::net::TcpStream::connect(endpoint.address())
            .await
            .is_err()
    );
    let answer = running.await.unwrap().unwrap();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (StatusCode::OK, Some("close"))
    );
    endpoint.order(Order::Revive).unwrap();
    assert!(
        Caller::new(endpoint.address())
            .chat("m", "hi")
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_hanging_request_ends_when_the_endpoint_is_killed() {
    let (fleet, caller) = one(instant());
    let endpoint = fleet.endpoint(0);
    endpoint.order(Order::Hang).unwrap();
    let caller = std::sync::Arc::new(caller);
    let call = tokio::spawn({
        let caller = std::sync::Arc::clone(&caller);
        async move { caller.chat("m", "hi").await }
    });
    while endpoint.stats().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!call.is_finished());
    endpoint.order(Order::Kill).unwrap();
    assert!(call.await.unwrap().is_err());
    assert_eq!(endpoint.stats().in_flight, 0);
}

#[tokio::test]
async fn health_fails_as_requests_do_and_its_checks_are_counted() {
    let (fleet, caller) = one(instant());
    let endpoint = fleet.endpoint(0);
    let status = async || {
        caller
            .get("/health")
            .await
            .map(|answer| answer.status.as_u16())
    };
    assert_eq!(status().await.unwrap(), 200);
    endpoint
        .order(Order::Fail {
            status: 500,
            ratio: 1.0,
        })
        .unwrap();
    assert_eq!(status().await.unwrap(), 500);
    assert_eq!(caller.get("/metrics").await.unwrap().status, StatusCode::OK);
    endpoint.order(Order::Reset).unwrap();
    assert!(status().await.is_err());
    endpoint.order(Order::Behave).unwrap();
    endpoint.order(Order::Health { status: 503 }).unwrap();
    assert_eq!(status().await.unwrap(), 503);
    assert_eq!(caller.chat("m", "hi").await.unwrap().status, StatusCode::OK);
    endpoint.order(Order::Kill).unwrap();
    assert!(status().await.is_err());
    let stats = endpoint.stats();
    assert_eq!((stats.health_checks, stats.probes), (4, 5));
}

#[tokio::test]
async fn a_hanging_endpoint_leaves_health_checks_unanswered_until_it_is_killed() {
    let (fleet, caller) = one(instant());
    let endpoint = fleet.endpoint(0);
    endpoint.order(Order::Hang).unwrap();
    let check = tokio::spawn(async move { caller.get("/health").await });
    while endpoint.stats().health_checks == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!check.is_finished());
    endpoint.order(Order::Kill).unwrap();
    assert!(check.await.unwrap().is_err());
}

#[tokio::test]
async fn whoever_asks_is_told_of_each_request_that_arrives_and_of_no_health_check() {
    let (fleet, caller) = one(instant());
    caller.chat("m", "hi").await.unwrap();
    let arrivals = fleet.endpoint(0).arrivals();
    let before = std::time::Instant::now();
    caller.get("/health").await.unwrap();
    caller.chat("m", "hi").await.unwrap();
    let arrived: Vec<_> = arrivals.try_iter().collect();
    assert_eq!(arrived.len(), 1);
    assert!(arrived[0] >= before);
}

#[tokio::test]
async fn the_control_path_gives_orders_to_any_endpoint_of_the_fleet() {
    let specs = [instant(), EndpointSpec::new("two", Speed::INSTANT)];
    let fleet = Fleet::start(&specs).unwrap();
    let (one, two) = (
        Caller::new(fleet.endpoint(0).address()),
        Caller::new(fleet.endpoint(1).address()),
    );
    let order = |order: Value| one.send(json_request("/control", Bytes::from(order.to_string())));
    assert_eq!(
        order(json!({"order": "kill", "endpoint": "two"}))
            .await
            .unwrap()
            .status,
        StatusCode::OK
    );
    assert!(two.chat("m", "hi").await.is_err());
    assert_eq!(
        order(json!({"order": "revive", "endpoint": "two"}))
            .await
            .unwrap()
            .status,
        StatusCode::OK
    );
    assert!(two.chat("m", "hi").await.is_ok());
    assert_eq!(
        order(json!({"order": "dance"})).await.unwrap().status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(two.get("/control").await.unwrap().json()["requests"], 1);
}
