//! A root context: one configuration, and the worker under it.

use std::cell::RefCell;
use std::rc::Rc;

use crate::config::Config;
use crate::flow::Worker;

use super::hostcalls::{self, Buffer, Level};
use super::proxy::Proxy;

/// One configuration. Streams keep the worker that they began under, so that a change of configuration
/// finds its way back for each of them.
#[derive(Default)]
pub struct Root {
    worker: Option<Rc<RefCell<Worker>>>,
}

impl Root {
    /// The worker, once there is a configuration.
    pub fn worker(&self) -> Option<Rc<RefCell<Worker>>> {
        self.worker.clone()
    }

    /// Takes the plugin configuration of `size` bytes. `false` refuses it, with the reason in the log;
    /// the proxy then keeps the last good one, or does not start.
    pub fn configure(&mut self, size: usize) -> bool {
        let config = match hostcalls::buffer(Buffer::PluginConfiguration, size) {
            Ok(json) => Config::from_json(&json).map_err(|error| error.to_string()),
            // A host with an empty configuration has no buffer for it.
            Err(_) if size == 0 => Config::from_json(b"").map_err(|error| error.to_string()),
            Err(failed) => Err(format!(
                "configuration: the proxy did not hand it over (status {})",
                failed.0
            )),
        };
        let config = match config {
            Ok(config) => config,
            Err(reason) => {
                hostcalls::log(
                    Level::Error,
                    &format!("junheng: configuration refused: {reason}"),
                );
                return false;
            }
        };
        // Without ticks a worker learns of the others' requests only when it reads a finalist's gauge:
        // worse balance, no wrong answer.
        if let Err(failed) = hostcalls::tick_every(Worker::TICK.as_millis() as u32) {
            hostcalls::log(
                Level::Warn,
                &format!("junheng: the proxy gives no ticks (status {})", failed.0),
            );
        }
        let (pools, routes) = (config.pools.len(), config.routes.len());
        let worker = Worker::new(config, seed(), &mut Proxy);
        self.worker = Some(Rc::new(RefCell::new(worker)));
        hostcalls::log(
            Level::Info,
            &format!("junheng: configured with {pools} pools and {routes} routes"),
        );
        true
    }

    /// The configuration has been replaced; its streams may still be on their way.
    pub fn retire(&mut self) {
        if let Some(mut worker) = self
            .worker
            .as_ref()
            .and_then(|worker| worker.try_borrow_mut().ok())
        {
            worker.on_retired(&mut Proxy);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self) {
        if let Some(mut worker) = self
            .worker
            .as_ref()
            .and_then(|worker| worker.try_borrow_mut().ok())
        {
            worker.on_tick(&mut Proxy);
        }
    }
}

/// What decides this worker's random choices: the host's randomness, else its clock, so that workers
/// which start together still differ as far as they can.
fn seed() -> u64 {
    hostcalls::random()
        .or_else(|| hostcalls::now().map(|now| now.as_nanos()))
        .unwrap_or(0)
}
