//! Where requests can go: named clusters of endpoints, as the proxy's own configuration has them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Cluster name to the addresses of its endpoints.
pub type Clusters = BTreeMap<String, Vec<SocketAddr>>;

/// The order in which one request tries endpoints.
///
/// As Envoy's `override_host` policy has it: the hosts that the header names, in order, those that
/// the cluster does not have skipped; once they are used up, or without the header, the cluster's
/// own round robin.
pub struct Plan<'a> {
    named: Vec<SocketAddr>,
    cluster: &'a [SocketAddr],
    turn: &'a Cell<usize>,
    tried: usize,
}

impl<'a> Plan<'a> {
    /// A plan over `cluster` for a request whose header says `named`; `turn` is the worker's round robin.
    pub fn new(cluster: &'a [SocketAddr], named: Option<&str>, turn: &'a Cell<usize>) -> Plan<'a> {
        let named = named.into_iter().flat_map(|list| list.split(','));
        let named = named
            .filter_map(|address| address.trim().parse().ok())
            .filter(|address| cluster.contains(address));
        Plan {
            named: named.collect(),
            cluster,
            turn,
            tried: 0,
        }
    }
}

impl Iterator for Plan<'_> {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        let named = self.named.get(self.tried).copied();
        self.tried += 1;
        named.or_else(|| {
            let turn = self.turn.get();
            self.turn.set(turn.wrapping_add(1));
            self.cluster
                .get(turn.checked_rem(self.cluster.len())?)
                .copied()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn named_endpoints_come_first_and_in_order_and_strangers_are_skipped() {
        let cluster = [address(1), address(2), address(3)];
        let turn = Cell::new(0);
        let plan = Plan::new(
            &cluster,
            Some("127.0.0.1:3, 127.0.0.1:9,nonsense,127.0.0.1:2"),
            &turn,
        );
        assert_eq!(
            plan.take(4).collect::<Vec<_>>(),
            [address(3), address(2), address(1), address(2)]
        );
    }

    #[test]
    fn an_empty_cluster_has_nowhere_to_go() {
        assert_eq!(
            Plan::new(&[], Some("127.0.0.1:1"), &Cell::new(0)).next(),
            None
        );
    }
}
