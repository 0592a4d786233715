//! A bad half minute through a real Envoy.

use harness::chaos::{Plan, run, schedule::Kind};
use harness::config::Config;
use harness::front::Host;

/// Not how many requests fail, which a busy machine has a say in, but that the balancer does its part.
#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_fail_are_left_and_hardly_a_caller_notices() {
    let plan = Plan {
        host: Host::Envoy,
        config: Config::shipped().expect("envoy/envoy.yaml"),
        seed: 7,
        seconds: 25,
        kinds: vec![
            Kind::Kill,
            Kind::Errors,
            Kind::Reset,
            Kind::Hang,
            Kind::Poison,
            Kind::Tenant429,
        ],
    };
    let outcome = run(&plan, &mut |_| ())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let report = serde_json::to_value(&outcome.report).expect("JSON");
    assert_eq!(report["failed_after_trip"], 0, "{report}");
    assert!(report["availability"].as_f64() > Some(0.995), "{report}");
    assert!(report["detect_ms_p99"].is_number(), "{report}");
}
