//! A mistake in the plugin configuration: Envoy does not start, and says what `harness check` says.

use std::process::Command;

use harness::artifact;
use harness::envoy::{Envoy, EnvoyOptions, StartError};

use crate::world::{bootstrap, envoy};

const MISTAKEN: &str = r#"{
  "pools": [{"name": "small", "models": ["qwen2.5-7b"], "context_window": 32768, "endpoints": [{"address": "10.0.0.1"}]}],
  "routes": [{"pools": ["small"]}]
}"#;

#[tokio::test(flavor = "multi_thread")]
async fn envoy_refuses_to_start_in_the_words_of_harness_check() {
    let mistaken = bootstrap(|bootstrap| bootstrap.set_plugin_configuration(MISTAKEN));
    let refused = Envoy::start(EnvoyOptions::new(mistaken))
        .await
        .expect_err("a refusal");
    let StartError::Refused { reasons } = &refused else {
        panic!("{refused}")
    };
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons[0].contains("pools[0].endpoints[0].address") && reasons[0].contains("has no port"),
        "{reasons:?}"
    );

    let file = artifact::target_dir().join(format!("mistaken-{}.json", std::process::id()));
    std::fs::write(&file, MISTAKEN).unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut check = Command::new(cargo);
    check
        .current_dir(artifact::workspace())
        .args(["run", "--quiet", "--package", "harness", "--", "check"])
        .arg(&file);
    let checked = tokio::task::spawn_blocking(move || check.output())
        .await
        .unwrap()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert!(!checked.status.success(), "{said}");
    assert!(said.contains(&reasons[0]), "{said}\nEnvoy: {}", reasons[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let holder = envoy(|_| ()).await;
    let taken = holder.listener_address();
    let colliding = bootstrap(|bootstrap| bootstrap.listen_on(taken));
    let refused = Envoy::start(EnvoyOptions::new(colliding))
        .await
        .expect_err("a refusal");
    drop(holder);
    let said = refused.to_string();
    assert!(
        said.contains(&taken.to_string()) && said.contains("--port"),
        "{said}"
    );
}
