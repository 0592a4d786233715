//! Which plugin of the proxy the flow works for, and what that plugin's shared state is called.
//!
//! A proxy may run this module as several plugins in one VM: two listeners with a configuration
//! each. All of them share the host's keys and metrics by name. So the plugin's name is put into
//! every name at the one door through which they leave, the [`Host`]: what one plugin stores or
//! counts, no other plugin finds. Envoy tells plugins apart by `root_id` and, under one `root_id`,
//! by `name`; so does this.

use std::borrow::Cow;
use std::fmt::Write;
use std::rc::Rc;

use crate::values::clock::{Instant, UnixTime};
use crate::values::murmur3::murmur3_32;

use super::{Host, Kind, Meter, Store, Stored, Version};

/// A plugin, by its root id and its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugin(Option<Rc<str>>);

/// A host as one plugin sees it.
#[derive(Debug)]
pub struct Scoped<'a, H: ?Sized> {
    plugin: &'a Plugin,
    host: &'a mut H,
}

/// What the shipped plugin is called, root id and name alike. A part that the host does not tell
/// counts as this.
const SHIPPED: &str = "junheng";
/// What is kept of a root id or a name. A longer one is cut, and told apart by its hash.
const LONGEST: usize = 32;

impl Plugin {
    /// The plugin `name` under `root_id`, as the host tells them. Neither has a bound or an
    /// alphabet there, so what is no letter, digit, `-` or `_` becomes `_`, and the hash of the
    /// whole is added.
    pub fn new(root_id: &[u8], name: &[u8]) -> Plugin {
        let [root_id, name] = [root_id, name].map(part);
        if name != SHIPPED {
            return Plugin(Some([&root_id, ":", &name].concat().into()));
        }
        Plugin((root_id != SHIPPED).then(|| root_id.into()))
    }

    /// `host` as this plugin sees it.
    pub fn on<'a, H: Host + ?Sized>(&'a self, host: &'a mut H) -> Scoped<'a, H> {
        Scoped { plugin: self, host }
    }

    /// The shared key that this plugin calls `key`.
    fn key<'k>(&self, key: &'k str) -> Cow<'k, str> {
        match (&self.0, key.strip_prefix(SHIPPED)) {
            (Some(plugin), Some(rest)) => [SHIPPED, "@", plugin, rest].concat().into(),
            _ => key.into(),
        }
    }

    /// The metric that this plugin calls `name`.
    fn metric<'n>(&self, name: &'n str) -> Cow<'n, str> {
        match (&self.0, name.strip_prefix(SHIPPED)) {
            (Some(plugin), Some(rest)) => [SHIPPED, ".root.", plugin, rest].concat().into(),
            _ => name.into(),
        }
    }
}

fn part(told: &[u8]) -> String {
    if told.is_empty() {
        return SHIPPED.to_owned();
    }
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let kept = told.iter().take(LONGEST);
    let mut part: String = kept
        .map(|byte| {
            if is_plain(byte) {
                char::from(*byte)
            } else {
                '_'
            }
        })
        .collect();
    if part.as_bytes() != told {
        // Writing to a string cannot fail.
        let _ = write!(part, "~{:08x}", murmur3_32(told, 0));
    }
    part
}

impl<H: Host + ?Sized> Host for Scoped<'_, H> {
    fn now(&mut self) -> Instant {
        self.host.now()
    }

    fn wall(&mut self) -> Option<UnixTime> {
        self.host.wall()
    }

    fn property(&mut self, path: &str) -> Option<Vec<u8>> {
        self.host.property(path)
    }

    fn define(&mut self, kind: Kind, name: &str) -> Option<Meter> {
        self.host.define(kind, &self.plugin.metric(name))
    }

    fn add(&mut self, meter: Meter, by: i64) {
        self.host.add(meter, by);
    }

    fn record(&mut self, meter: Meter, value: u64) {
        self.host.record(meter, value);
    }

    fn read(&mut self, meter: Meter) -> Option<u64> {
        self.host.read(meter)
    }
}

impl<H: Host + ?Sized> Store for Scoped<'_, H> {
    fn load(&mut self, key: &str) -> Option<Stored> {
        self.host.load(&self.plugin.key(key))
    }

    fn swap(&mut self, key: &str, bytes: &[u8], version: Version) -> bool {
        self.host.swap(&self.plugin.key(key), bytes, version)
    }

    fn put(&mut self, key: &str, bytes: &[u8]) {
        self.host.put(&self.plugin.key(key), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root_id: &str, name: &str) -> (String, String) {
        let plugin = Plugin::new(root_id.as_bytes(), name.as_bytes());
        let key = plugin.key("junheng/health/p/10.0.0.1:80").into_owned();
        (key, plugin.metric("junheng.fleet.changes").into_owned())
    }

    #[test]
    fn the_shipped_plugin_has_the_plain_names_and_so_has_one_that_the_host_does_not_name() {
        let plain = (
            "junheng/health/p/10.0.0.1:80".to_owned(),
            "junheng.fleet.changes".to_owned(),
        );
        for part in ["junheng", ""] {
            assert_eq!(names(part, "junheng"), plain);
            assert_eq!(names(part, ""), plain);
        }
    }

    #[test]
    fn another_plugin_has_a_segment_of_its_own() {
        let (key, metric) = names("edge", "");
        assert_eq!(key, "junheng@edge/health/p/10.0.0.1:80");
        assert_eq!(metric, "junheng.root.edge.fleet.changes");
        assert_eq!(names("edge", "b").1, "junheng.root.edge:b.fleet.changes");
        assert_eq!(names("", "b").1, "junheng.root.junheng:b.fleet.changes");
    }

    #[test]
    fn names_of_any_bytes_and_length_are_plain_bounded_and_apart() {
        let long = "x".repeat(1000);
        let longer = "x".repeat(1001);
        let all = [
            "a.b", "a/b", "a:b", "a_b", "a b", "ä", &long, &longer, "A", "a",
        ];
        let segments: Vec<_> = all
            .iter()
            .flat_map(|one| all.iter().map(|other| names(one, other).1))
            .collect();
        for (at, name) in segments.iter().enumerate() {
            let segment = name.strip_prefix("junheng.root.").unwrap();
            let segment = segment.strip_suffix(".fleet.changes").unwrap();
            assert!(segment.len() <= 2 * (LONGEST + 9) + 1, "{segment}");
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~:".contains(&byte);
            assert!(segment.bytes().all(plain), "{segment}");
            assert!(!segments[..at].contains(name), "{name}");
        }
    }
}
