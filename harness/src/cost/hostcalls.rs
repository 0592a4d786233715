//! How many hostcalls that return data the artifact makes for one request.
//!
//! Such a call re-enters the module to allocate and costs about a microsecond, so it is the number to
//! watch. Envoy does not tell; the harness' own host, which runs the same artifact, counts.

use anyhow::{Context, Result};

use super::load::API_KEY;
use super::variant;
use crate::artifact;
use crate::envoy::Bootstrap;
use crate::host::{Headers, Host, Module, Options, StreamInfo, Vm};

/// Counts them for one chat request with this body, answered with 200: of the second request, as the
/// first one does what is done once. `limited` is with the API key and the limits of [`variant::Variant::Limits`].
pub fn returning_data(body: &str, limited: bool) -> Result<u64> {
    let wasm = std::fs::read(artifact::build()?)?;
    let mut bootstrap = Bootstrap::shipped()?;
    if limited {
        variant::configure(&mut bootstrap, variant::limit)?;
    }
    let configuration = bootstrap.plugin_configuration()?;
    let options = Options {
        root_id: "junheng".into(),
        vm_id: "junheng".into(),
        plugin_name: "junheng".into(),
        plugin_configuration: configuration.into_bytes(),
        ..Options::default()
    };
    let host = Host::new(&Module::new(&wasm)?, options);
    let mut vm = host
        .start_vm()
        .context("the artifact did not start in the harness' host")?;
    request(&mut vm, body)?;
    let before = host.calls();
    request(&mut vm, body)?;
    Ok(host.calls().since(&before).returning_data)
}

fn request(vm: &mut Vm, body: &str) -> Result<()> {
    let stream = vm.open_stream(StreamInfo {
        protocol: "HTTP/1.1".into(),
        ..StreamInfo::default()
    });
    let length = body.len().to_string();
    let authorization = format!("Bearer {API_KEY}");
    let head = [
        (":authority", "models.example"),
        (":path", "/v1/chat/completions"),
        (":method", "POST"),
        (":scheme", "http"),
        ("user-agent", "harness"),
        ("authorization", authorization.as_str()),
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("content-length", length.as_str()),
    ];
    vm.request_headers(stream, Headers::from_iter(head), false)?;
    vm.request_body(stream, body.as_bytes(), true)?;
    // Envoy knows these once it has response headers.
    vm.set_property(stream, &["upstream", "address"], "127.0.0.1:9001");
    vm.set_property(
        stream,
        &["upstream", "request_attempt_count"],
        1_u64.to_le_bytes(),
    );
    let head = [(":status", "200"), ("content-type", "application/json")];
    vm.response_headers(stream, Headers::from_iter(head), false)?;
    vm.response_body(
        stream,
        br#"{"usage":{"prompt_tokens":220,"completion_tokens":72}}"#,
        true,
    )?;
    Ok(vm.close(stream)?)
}
