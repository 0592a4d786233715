//! A root context: one configuration, the worker under it, and what that worker asks of others.

use std::cell::RefCell;
use std::rc::Rc;

use crate::config::Config;
use crate::flow::{Errand, Member, Reply, Worker};
use crate::ports::{Host, Plugin};

use super::contexts;
use super::hostcalls::{self, Buffer, Failed, Map};
use super::proxy::Proxy;
use super::stream::HttpStream;

thread_local! {
    /// This VM under each of its plugins, whatever their configurations.
    static MEMBERS: RefCell<Vec<(Plugin, Rc<RefCell<Member>>)>> = const { RefCell::new(Vec::new()) };
}

/// A body larger than this is no exposition of a model server's metrics: those are some 100 KB.
const MOST_REPLY_BYTES: usize = 4 * 1024 * 1024;

/// A worker, shared with the streams that began under it.
type SharedWorker = Rc<RefCell<Worker>>;

/// One configuration. Streams keep the worker that they began under, so that a change of configuration
/// finds its way back for each of them.
#[derive(Default)]
pub struct Root {
    /// None until there is a configuration.
    worker: Option<SharedWorker>,
    plugin: Plugin,
    /// Errands under way, by the host's tokens for them, and the worker that each is for: not
    /// today's, if there was another configuration meanwhile.
    errands: Vec<(u32, SharedWorker, Errand)>,
    /// Clusters that the host has not sent something to, which the log has told.
    unsent: Vec<String>,
}

impl Root {
    /// The worker, once there is a configuration, and its plugin.
    pub fn worker(&self) -> Option<(SharedWorker, Plugin)> {
        Some((self.worker.clone()?, self.plugin.clone()))
    }

    /// Takes the plugin configuration of `size` bytes; the last one, if there is one, is replaced.
    /// `false` refuses it, with the reason in the log; the proxy then keeps the last good one, or
    /// does not start.
    pub fn configure(&mut self, id: u32, size: usize) -> bool {
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
                log::error!("configuration refused: {reason}");
                return false;
            }
        };
        // Without ticks a worker learns of the others' requests only when it reads a finalist's gauge, and of what limits got
        // back when they have settled it with a reservation: worse balance, and some refusals too many.
        if let Err(failed) = hostcalls::tick_every(Worker::TICK.as_millis() as u32) {
            log::warn!("the proxy gives no ticks (status {})", failed.0);
        }
        let (pools, routes) = (config.pools.len(), config.routes.len());
        self.plugin = plugin();
        // What they have learned until now is this one's, too.
        contexts::each_root(|root| root.remember(&self.plugin));
        let last = self.worker.take();
        if let Some(last) = &last {
            self.with(last, |worker, host| worker.on_retired(host));
        }
        let member = member(&self.plugin);
        let mut proxy = Proxy;
        let host = &mut self.plugin.on(&mut proxy);
        let worker = Worker::new(config, &member, random(), host);
        self.worker = Some(Rc::new(RefCell::new(worker)));
        if let Some(last) = &last {
            self.wake(id, last);
        }
        log::info!("configured with {pools} pools and {routes} routes");
        true
    }

    /// Leaves what the worker has learned to the next configuration of its plugin.
    fn remember(&self, plugin: &Plugin) {
        if let Some(worker) = self.worker.as_ref().filter(|_| self.plugin == *plugin) {
            self.with(worker, |worker, _| worker.remember());
        }
    }

    /// The configuration has been replaced; its streams may still be on their way.
    pub fn retire(&mut self, id: u32) {
        if let Some(worker) = self.worker.clone() {
            self.with(&worker, |worker, host| worker.on_retired(host));
            self.wake(id, &worker);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, id: u32) {
        if let Some(worker) = self.worker.clone() {
            let errands = self.with(&worker, |worker, host| worker.on_tick(host));
            self.send(&worker, errands.unwrap_or_default());
            let overdue = self.with(&worker, |worker, host| worker.overdue(host));
            let overdue = overdue.unwrap_or_default();
            for stream in &overdue {
                if hostcalls::act_for(*stream).is_ok() {
                    contexts::with_stream(*stream, HttpStream::overdue);
                }
            }
            if !overdue.is_empty() {
                let _ = hostcalls::act_for(id);
            }
            self.wake(id, &worker);
        }
    }

    /// Carries out what requests under `worker` have made necessary.
    pub fn run_errands(&mut self, worker: &SharedWorker) {
        let errands = self.with(worker, |worker, _| worker.errands());
        self.send(worker, errands.unwrap_or_default());
    }

    fn send(&mut self, worker: &SharedWorker, errands: Vec<Errand>) {
        for errand in errands {
            let headers: Vec<(&str, &str)> = errand
                .headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            match hostcalls::call(&errand.cluster, &headers, &errand.body, errand.timeout) {
                Ok(token) => self.errands.push((token, Rc::clone(worker), errand)),
                Err(failed) => {
                    self.tell_unsent(&errand.cluster, failed);
                    self.with(worker, |worker, host| worker.on_unsent(&errand, host));
                }
            }
        }
    }

    /// Says so once of each cluster: as a rule the proxy has none of that name, and it says nothing itself.
    #[cold]
    fn tell_unsent(&mut self, cluster: &str, failed: Failed) {
        if !self.unsent.iter().any(|told| told == cluster) {
            self.unsent.push(cluster.to_owned());
            log::warn!(
                "the proxy sends nothing to the cluster {cluster:?} (status {}); does it have \
                 a cluster of that name, with a host?",
                failed.0
            );
        }
    }

    /// Lets the streams of `worker` go on whose answers have come. Hostcalls act for each
    /// meanwhile, and then again for this root, whose name is `id`.
    fn wake(&mut self, id: u32, worker: &SharedWorker) {
        loop {
            let woken = self.with(worker, |worker, _| worker.woken());
            let woken = woken.unwrap_or_default();
            if woken.is_empty() {
                return;
            }
            for stream in &woken {
                if hostcalls::act_for(*stream).is_ok() {
                    contexts::with_stream(*stream, HttpStream::resume);
                }
            }
            // A host that knows this context no more has nothing else that could be done for it.
            let _ = hostcalls::act_for(id);
            // Who has learned one thing may have to ask another, and what cannot be sent is answered at once.
            self.run_errands(worker);
        }
    }

    fn with<T>(
        &self,
        worker: &SharedWorker,
        work: impl FnOnce(&mut Worker, &mut dyn Host) -> T,
    ) -> Option<T> {
        let mut worker = worker.try_borrow_mut().ok()?;
        Some(work(&mut worker, &mut self.plugin.on(&mut Proxy)))
    }

    /// An errand has come to its end, with a reply of so many bytes, or with none: the worker that
    /// asked is told.
    pub fn reply(&mut self, id: u32, token: u32, header_count: usize, body_size: usize) {
        let place = self.errands.iter().position(|(known, ..)| *known == token);
        let Some((_, worker, errand)) = place.map(|place| self.errands.swap_remove(place)) else {
            return;
        };
        if never_left(header_count, body_size) {
            self.with(&worker, |worker, host| worker.on_kept(&errand, host));
        } else {
            let reply = reply(&errand, header_count, body_size);
            self.with(&worker, |worker, host| {
                worker.on_reply(&errand, reply.as_ref(), host)
            });
        }
        self.wake(id, &worker);
    }
}

/// Whether Envoy kept an errand to itself, as a bound of its own on the cluster (`circuit_breakers`) was
/// reached: what it then answers in the endpoint's stead says so at its end, and tells nothing of the
/// endpoint. Taken for a failed check, it would leave out a whole pool as soon as that is busy.
///
/// An endpoint can write that text, too, and would never fail a check. But Envoy sets
/// `x-envoy-upstream-service-time` in every answer to a call that came from an endpoint, whatever
/// that wrote there, and in none of its own.
fn never_left(header_count: usize, body_size: usize) -> bool {
    const LONGEST: usize = 128;
    header_count > 0
        && (1..=LONGEST).contains(&body_size)
        && hostcalls::buffer(Buffer::Reply, body_size)
            .is_ok_and(|body| body.ends_with(b"reset reason: overflow"))
        && hostcalls::headers(Map::Reply)
            .is_ok_and(|headers| headers.first("x-envoy-upstream-service-time").is_none())
}

/// The reply that the host holds; nginx hands over failures as ones without headers.
fn reply(errand: &Errand, header_count: usize, body_size: usize) -> Option<Reply> {
    if header_count == 0 {
        return None;
    }
    let headers = hostcalls::headers(Map::Reply).ok()?;
    let status = headers.first_str(":status")?.parse().ok()?;
    let wanted = errand.wants_body() && (1..=MOST_REPLY_BYTES).contains(&body_size);
    let body = wanted.then(|| hostcalls::buffer(Buffer::Reply, body_size));
    Some(Reply {
        status,
        body: body.transpose().ok()?.unwrap_or_default(),
    })
}

/// The plugin whose root context is at work. A host that does not tell has one plugin a VM.
fn plugin() -> Plugin {
    let told = |path| hostcalls::property(path).unwrap_or_default();
    Plugin::new(&told("plugin_root_id"), &told("plugin_name"))
}

/// This VM under `plugin`.
fn member(plugin: &Plugin) -> Rc<RefCell<Member>> {
    MEMBERS.with_borrow_mut(|members| {
        if let Some((_, member)) = members.iter().find(|(known, _)| known == plugin) {
            return Rc::clone(member);
        }
        let member = match members.first() {
            Some((_, first)) => first.borrow().beside(),
            None => Member::new(random()),
        };
        let member = Rc::new(RefCell::new(member));
        members.push((plugin.clone(), Rc::clone(&member)));
        member
    })
}

/// What names this VM and decides a worker's random choices: the host's randomness, else its clock, so that
/// workers which start together still differ as far as they can.
fn random() -> u64 {
    hostcalls::random()
        .or_else(|| hostcalls::now().map(|now| now.as_nanos()))
        .unwrap_or(0)
}
