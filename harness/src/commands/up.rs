//! `harness up`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use harness::config::Config;
use harness::front::{Front, Host};
use harness::stage::Stage;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

/// The port of clients where none is asked for.
const PORT: u16 = 8080;

/// Start a fleet and a gateway, and keep them until Ctrl-C.
///
/// Every endpoint of the configuration is played by a simulated model server on a loopback port, each
/// with its own speed; the proxy before them runs the artifact, and curl lines to try are printed.
/// Without --config it is envoy/envoy.yaml: two pools of three endpoints.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  harness                            the embedded gateway on port 8080
  harness up --host envoy            the same in a real Envoy, installed if need be
  harness up --config my.yaml        your own configuration over simulated servers
  harness up --port 0                any free port")]
pub struct Args {
    /// The proxy that runs the artifact
    #[arg(long, value_enum, default_value_t = Host::Embedded)]
    host: Host,
    /// A plugin configuration or an Envoy bootstrap, JSON or YAML
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// Where clients connect on the loopback; 0 is any free port
    #[arg(long, value_name = "N", default_value_t = PORT)]
    port: u16,
}

impl Default for Args {
    fn default() -> Self {
        Args {
            host: Host::Embedded,
            config: None,
            port: PORT,
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let config = args
            .config
            .as_deref()
            .map_or_else(Config::shipped, Config::read)?;
        let stage = Stage::set(&config, 1.0)?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
        eprintln!("building junheng.wasm if it is out of date, and starting the proxy ...");
        let front = stage.open(args.host, listen).await?;
        introduce(&stage, &front)?;
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminated.recv() => {}
        }
        println!();
        for (role, endpoint) in stage.cast.iter().zip(stage.fleet.endpoints()) {
            println!("{:16} served {}", role.name, endpoint.stats().requests);
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn introduce(stage: &Stage, front: &Front) -> anyhow::Result<()> {
    let name = match front {
        Front::Embedded(_) => "the embedded gateway",
        Front::Envoy(_) => "Envoy",
    };
    println!("Junheng in {name}: http://{}", front.address());
    println!("metrics:  {}\n", front.metrics_url());
    println!(
        "{:12} {:16} {:8} {:22} instead of",
        "pool", "server", "speed", "simulated at"
    );
    for role in &stage.cast {
        let simulated = role.simulated.to_string();
        println!(
            "{:12} {:16} {:8} {:22} {}",
            role.pool, role.name, role.speed, simulated, role.configured
        );
    }
    let pools = stage.config.pools()?;
    let models: Vec<&String> = pools
        .iter()
        .flat_map(|pool| &pool.models)
        .filter(|model| *model != "*")
        .collect();
    let chat = models.first().map_or("any", |model| model.as_str());
    let embedder = models
        .iter()
        .find(|model| model.contains("bge") || model.contains("embed"));
    let embedder = embedder.map_or(chat, |model| model.as_str());
    let base = format!("http://{}/v1", front.address());
    let key = key(&stage.config.document());
    let json = format!("-H 'content-type: application/json'{key}");
    if !key.is_empty() {
        println!("\n# Callers show a key of the configuration\nKEY=...");
    }
    println!("\n# A short chat");
    println!(
        "curl -s {base}/chat/completions {json} -d '{{\"model\": \"{chat}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'"
    );
    println!("\n# A long one: 200 KB of prompt");
    println!(
        "(printf '{{\"model\": \"{chat}\", \"messages\": [{{\"role\": \"user\", \"content\": \"'; yes all work and no play | head -c 200000 | tr '\\n' ' '; printf '\"}}]}}') | curl -s {base}/chat/completions {json} --data-binary @-"
    );
    println!("\n# A stream");
    println!(
        "curl -sN {base}/chat/completions {json} -d '{{\"model\": \"{chat}\", \"stream\": true, \"stream_options\": {{\"include_usage\": true}}, \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'"
    );
    println!("\n# An embedding");
    println!(
        "curl -s {base}/embeddings {json} -d '{{\"model\": \"{embedder}\", \"input\": \"Hello\"}}'"
    );
    println!(
        "\n# Who answered, and why: x-served-by, x-junheng-decision (where decision_header allows it)"
    );
    println!(
        "curl -si {base}/chat/completions {json} -d '{{\"model\": \"{chat}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}' | grep -i '^x-'"
    );
    if let [first, .., last] = stage.cast.as_slice() {
        println!(
            "\n# Slow a server down, let it fail, report a busy GPU, kill it, revive it; also: behave, hang, reset, leave,\n\
             # health (any server that listens takes orders for all)"
        );
        for order in [
            "\"order\": \"slow\", \"factor\": 10",
            "\"order\": \"fail\", \"status\": 500",
            "\"order\": \"gpu\", \"utilisation\": 0.95",
            "\"order\": \"kill\"",
            "\"order\": \"revive\"",
        ] {
            println!(
                "curl -s http://{}/control -d '{{{order}, \"endpoint\": \"{}\"}}'",
                last.simulated, first.name
            );
        }
    }
    println!("\nCtrl-C ends it.");
    Ok(())
}

/// How curl shows an API key, where the configuration has any.
fn key(document: &Value) -> String {
    let Some(keys) = document.pointer("/identity/keys") else {
        return String::new();
    };
    match keys.get("header").and_then(Value::as_str) {
        Some(header) if !header.eq_ignore_ascii_case("authorization") => {
            format!(" -H \"{header}: $KEY\"")
        }
        _ => " -H \"authorization: Bearer $KEY\"".to_owned(),
    }
}
