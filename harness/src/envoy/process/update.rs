//! Listeners replaced while Envoy runs, as a control plane or an operator's file does.

use std::fs;
use std::time::Instant;

use super::{AdminError, Bootstrap, Envoy, LISTENERS, LOOK_EVERY, READY_WITHIN, StartError};
use super::{last_lines, reasons};

impl Envoy {
    /// Puts the listeners of `bootstrap` in the place of today's, by way of the file that Envoy
    /// reads them from, and returns once Envoy has taken them. The first one stays where it
    /// listens.
    pub async fn update(&self, bootstrap: &Bootstrap) -> Result<(), StartError> {
        let mut bootstrap = bootstrap.clone();
        bootstrap.listen_on(self.listener);
        let [taken, refused] = self.updates().await?;
        let file = self.process.folder.join(LISTENERS);
        let beside = file.with_extension("new");
        let failed = |error| StartError::Io {
            what: format!("cannot write {}", file.display()),
            error,
        };
        fs::write(&beside, bootstrap.discovered_listeners()).map_err(failed)?;
        fs::rename(&beside, &file).map_err(failed)?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let [now_taken, now_refused] = self.updates().await?;
            if now_refused > refused {
                return Err(StartError::Refused {
                    reasons: reasons(&self.log()),
                });
            }
            if now_taken > taken {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(StartError::NotReady {
                    log: last_lines(&self.log(), 20),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// How many updates of listeners Envoy has taken and refused; one that still warms is not
    /// taken.
    async fn updates(&self) -> Result<[u64; 2], AdminError> {
        let stats = self.admin("/stats?filter=^listener_manager").await?;
        let count = |name: &str| {
            let value = stats.lines().find_map(|line| line.strip_prefix(name));
            value.and_then(|value| value.trim().parse::<u64>().ok())
        };
        let warming = count("listener_manager.total_listeners_warming:").unwrap_or_default();
        let taken = count("listener_manager.lds.update_success:").unwrap_or_default();
        let refused = count("listener_manager.lds.update_rejected:").unwrap_or_default();
        Ok([if warming > 0 { 0 } else { taken }, refused])
    }
}
