//! A second configuration for one root context.

use super::{RootId, StartError, StartFailure, Vm, size};
use crate::host::state::Phase;

impl Vm {
    /// Hands a root context another configuration, as a host does that keeps its root contexts.
    /// What the guest makes of a refused one is its own affair.
    pub fn configure_again(
        &mut self,
        root: RootId,
        configuration: Vec<u8>,
    ) -> Result<(), StartError> {
        let size = size(&configuration);
        if let Some(root) = self.store.data_mut().roots.get_mut(&root.0) {
            root.configuration = configuration;
        }
        self.set_configuring(root.0, true);
        let on_configure = self.exports.on_configure.clone();
        let accepted = self.call(&on_configure, (root.0, Phase::Root), (root.0, size));
        let logs = self.store.data().lines.clone();
        self.set_configuring(root.0, false);
        let trapped = |trap| StartError {
            reason: StartFailure::Trap(trap),
            logs: logs.clone(),
        };
        if accepted.map_err(trapped)? == Some(0) {
            let reason = StartFailure::RefusedConfiguration;
            return Err(StartError { reason, logs });
        }
        self.settle(None).map_err(trapped)
    }
}
