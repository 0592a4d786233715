//! A fleet and an Envoy before it: the scene of every test.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use harness::artifact;
use harness::envoy::{Bootstrap, Envoy, EnvoyOptions};
use harness::fleet::{Caller, Endpoint, EndpointSpec, Fleet, Speed, Stats};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The endpoints of the shipped bootstrap, in its order.
pub const NAMES: [&str; 6] = [
    "small-1", "small-2", "small-3", "long-1", "long-2", "long-3",
];
/// How long something that must happen may take before it counts as never.
const PATIENCE: Duration = Duration::from_secs(20);

/// Six endpoints and an Envoy whose pools they are.
pub struct World {
    pub envoy: Envoy,
    pub fleet: Fleet,
}

impl World {
    /// A fleet that answers at once.
    pub async fn start() -> World {
        World::with_speed(Speed::INSTANT).await
    }

    /// A fleet that takes its time.
    pub async fn with_speed(speed: Speed) -> World {
        World::with(speed, |_| (), |_| ()).await
    }

    /// A fleet that answers at once, and a plugin configuration that `change` has changed.
    pub async fn configured(change: impl FnOnce(&mut Value)) -> World {
        World::with(Speed::INSTANT, change, |_| ()).await
    }

    /// A fleet of this speed, and a plugin configuration that `change` has changed.
    pub async fn of(speed: Speed, change: impl FnOnce(&mut Value)) -> World {
        World::with(speed, change, |_| ()).await
    }

    /// The same, with one more cluster in Envoy.
    pub async fn beside(cluster: Value, change: impl FnOnce(&mut Value)) -> World {
        World::with(Speed::INSTANT, change, |bootstrap| {
            let clusters = &mut bootstrap.document_mut()["static_resources"]["clusters"];
            clusters.as_array_mut().expect("clusters").push(cluster);
        })
        .await
    }

    async fn with(
        speed: Speed,
        change: impl FnOnce(&mut Value),
        change_more: impl FnOnce(&mut Bootstrap),
    ) -> World {
        let fleet =
            Fleet::start(&NAMES.map(|name| EndpointSpec::new(name, speed))).expect("a fleet");
        let addresses: Vec<_> = fleet.endpoints().iter().map(Endpoint::address).collect();
        let envoy = envoy(|bootstrap| {
            let plugin = bootstrap.plugin_configuration().expect("a configuration");
            let mut document = serde_json::from_str(&plugin).expect("JSON");
            change(&mut document);
            bootstrap.set_plugin_configuration(&document.to_string());
            bootstrap.move_endpoints(&moves(&addresses));
            change_more(bootstrap);
        })
        .await;
        World { envoy, fleet }
    }

    /// Where an endpoint stands, as the metric tells it: 0 is admitting.
    pub async fn state(&self, endpoint: &Endpoint) -> f64 {
        let metrics = self.envoy.metrics().await.expect("metrics");
        let address = endpoint.address().to_string();
        let labels = [("endpoint", address.as_str())];
        metrics.sum("junheng_endpoint_state", &labels)
    }

    /// How often the endpoint of that name has tripped.
    pub async fn trips(&self, name: &str) -> f64 {
        let metrics = self.envoy.metrics().await.expect("metrics");
        let address = self.endpoint(name).address().to_string();
        let labels = [("endpoint", address.as_str())];
        metrics.sum("junheng_endpoint_trips", &labels)
    }

    /// A caller that never retries.
    pub fn caller(&self) -> Caller {
        Caller::new(self.envoy.listener_address())
    }

    /// The endpoint of that name.
    pub fn endpoint(&self, name: &str) -> &Endpoint {
        let named = self
            .fleet
            .endpoints()
            .iter()
            .find(|endpoint| endpoint.name() == name);
        named.expect("an endpoint of that name")
    }

    /// API requests that reached any endpoint.
    pub fn forwarded(&self) -> u64 {
        self.stats().map(|stats| stats.requests).sum()
    }

    /// What each endpoint saw.
    pub fn stats(&self) -> impl Iterator<Item = Stats> {
        self.fleet.endpoints().iter().map(Endpoint::stats)
    }

    /// Sends `bytes` on a connection of its own and returns what comes back until Envoy closes it.
    /// The request must ask for `connection: close`.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.expect("Envoy reads");
        read_to_end(&mut stream).await
    }

    /// A connection to Envoy.
    pub async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.envoy.listener_address())
            .await
            .expect("Envoy accepts");
        stream.set_nodelay(true).expect("a TCP socket");
        stream
    }
}

/// What a server speaks.
pub enum Spoken {
    Http1,
    /// Without TLS, from the first byte on.
    Http2,
}

/// The cluster `name` of the one server at `address`.
pub fn cluster(name: &str, address: SocketAddr, spoken: Spoken) -> Value {
    let (host, port) = (address.ip().to_string(), address.port());
    let endpoint = json!({"address": {"socket_address": {"address": host, "port_value": port}}});
    let protocol = match spoken {
        Spoken::Http1 => "http_protocol_options",
        Spoken::Http2 => "http2_protocol_options",
    };
    let kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let options = json!({
        "@type": format!("type.googleapis.com/{kind}"), "explicit_http_config": {protocol: {}},
    });
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        "typed_extension_protocol_options": {kind: options},
    })
}

/// An Envoy with the shipped bootstrap and the artifact, on free ports, further changed by `change`.
pub async fn envoy(change: impl FnOnce(&mut Bootstrap)) -> Envoy {
    match Envoy::start(EnvoyOptions::new(bootstrap(change))).await {
        Ok(envoy) => envoy,
        Err(error) => panic!("{error}"),
    }
}

/// The shipped bootstrap with the artifact, on free ports, further changed by `change`.
pub fn bootstrap(change: impl FnOnce(&mut Bootstrap)) -> Bootstrap {
    let mut bootstrap = Bootstrap::shipped().expect("envoy/envoy.yaml");
    bootstrap.set_module(&artifact::build().expect("the artifact"));
    bootstrap.listen_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    change(&mut bootstrap);
    bootstrap
}

/// The shipped endpoints' places, taken by `addresses` in order.
pub fn moves(addresses: &[SocketAddr]) -> BTreeMap<String, String> {
    let shipped = (9001..).map(|port: u16| format!("127.0.0.1:{port}"));
    shipped
        .zip(addresses.iter().map(SocketAddr::to_string))
        .collect()
}

/// Everything until the peer closes, as text.
pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match read {
        Ok(Ok(_)) => text,
        other => panic!("{other:?} after: {text}"),
    }
}

/// Everything until `end` has been read, as text.
pub async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&bytes).contains(end) {
            if stream.read_buf(&mut bytes).await.expect("Envoy answers") == 0 {
                break;
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, reading).await.is_ok();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(ended && text.contains(end), "no {end:?} in: {text}");
    text
}

/// Looks again and again until `is_so` is true of what `look` returns.
pub async fn eventually<T: std::fmt::Debug>(
    what: &str,
    mut look: impl AsyncFnMut() -> T,
    is_so: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look().await;
        if is_so(&seen) {
            return seen;
        }
        assert!(
            Instant::now() < deadline,
            "never {what}; last seen: {seen:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
