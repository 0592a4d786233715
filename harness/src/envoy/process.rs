//! One running Envoy: started from a [`Bootstrap`], watched until it serves, stopped when dropped.
//!
//! Ports are the system's to choose, so any number of Envoys run side by side: the admin's comes
//! through Envoy's `--admin-address-path`, the listener's through the admin. Each start gets a folder
//! of its own for the bootstrap and the log, removed with the process unless a test is failing.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::admin::{self, AdminError, Metrics};
use super::{Bootstrap, LocateError, locate};
use crate::artifact;

mod reasons;
mod update;

use reasons::{last_lines, reasons};

/// Time for Envoy to compile the module and bind; on a quiet machine it takes 0.2 s.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Time for Envoy to end by itself once asked to.
const STOPPED_WITHIN: Duration = Duration::from_secs(3);
/// Between two looks at something that will happen.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How to start an Envoy.
#[derive(Debug, Clone)]
pub struct EnvoyOptions {
    /// The configuration. Its admin is moved to a free port of the loopback.
    pub bootstrap: Bootstrap,
    /// Worker threads; each runs a VM of its own.
    pub concurrency: u32,
    /// `trace`, `debug`, `info`, `warning`, `error`.
    pub log_level: &'static str,
    /// A command, with its arguments, that is to run Envoy, such as a profiler; none as a rule.
    pub run_by: Vec<String>,
    /// Whether listeners are read from a file, so that [`Envoy::update`] can replace them.
    pub listeners_from_file: bool,
    /// How long connections of a replaced listener may go on; Envoy's own is ten minutes.
    pub drain: Option<Duration>,
}

impl EnvoyOptions {
    /// Two workers, so that what they share is shared, and a log of warnings.
    pub fn new(bootstrap: Bootstrap) -> Self {
        Self {
            bootstrap,
            concurrency: 2,
            log_level: "warning",
            run_by: Vec::new(),
            listeners_from_file: false,
            drain: None,
        }
    }
}

/// Why Envoy does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no Envoy.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// Another program has the port.
    #[error(
        "{address} is taken by another program; choose another port with --port (0: any that is free)"
    )]
    PortTaken {
        /// The listener's address.
        address: String,
    },
    /// Envoy read the configuration and ended, giving these reasons.
    #[error("Envoy refused to start: {}", reasons.join("; "))]
    Refused {
        /// What the module or Envoy itself said, most telling first.
        reasons: Vec<String>,
    },
    /// Envoy runs, but does not serve.
    #[error("Envoy was not ready within {} s; its log: {log}", READY_WITHIN.as_secs())]
    NotReady {
        /// The end of the log.
        log: String,
    },
    /// A file could not be written or a process not be started.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// The admin stopped answering.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// A running Envoy, killed on drop.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    listener: SocketAddr,
    admin: SocketAddr,
}

impl Envoy {
    /// Starts an Envoy and returns once it serves.
    pub async fn start(mut options: EnvoyOptions) -> Result<Self, StartError> {
        if options.listeners_from_file {
            options.bootstrap.choose_port();
        }
        let asked = options.bootstrap.listens_on().unwrap_or_default();
        if is_taken(&asked) {
            return Err(StartError::PortTaken { address: asked });
        }
        let mut process = Process::spawn(options)?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if process.ended()?.is_some() {
                return Err(process.why_it_ended(&asked));
            }
            if let Some(admin) = process.admin_address()
                && admin::get(admin, "/ready").await.is_ok()
                && let Some(listener) =
                    listener_address(&admin::get(admin, "/listeners?format=json").await?)
            {
                return Ok(Self {
                    process,
                    listener,
                    admin,
                });
            }
            if Instant::now() > deadline {
                return Err(StartError::NotReady {
                    log: last_lines(&process.log(), 20),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Where clients connect. A listener on every address is named by the loopback's.
    pub fn listener_address(&self) -> SocketAddr {
        self.listener
    }

    /// Where the admin listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The process, for signals and `/proc`.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// What Envoy and the module have logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The file that the log is in, for as long as this Envoy runs.
    pub fn log_path(&self) -> PathBuf {
        self.process.log_path()
    }

    /// Asks the admin for a path such as `/stats`.
    pub async fn admin(&self, path: &str) -> Result<String, AdminError> {
        admin::get(self.admin, path).await
    }

    /// All metrics as Prometheus would scrape them.
    pub async fn metrics(&self) -> Result<Metrics, AdminError> {
        Ok(Metrics::parse(self.admin("/stats/prometheus").await?))
    }
}

/// Whether somebody listens there. Envoy would not say: it shares a port with whoever shares it, another Envoy above all, and
/// each gets some of the connections.
fn is_taken(address: &str) -> bool {
    let address: Option<SocketAddr> = address.parse().ok();
    let tried = address.map(TcpListener::bind);
    tried.is_some_and(|tried| tried.is_err_and(|error| error.kind() == ErrorKind::AddrInUse))
}

#[derive(Debug)]
struct Process {
    child: Child,
    folder: PathBuf,
}

impl Process {
    fn spawn(options: EnvoyOptions) -> Result<Self, StartError> {
        let EnvoyOptions {
            mut bootstrap,
            concurrency,
            log_level,
            run_by,
            listeners_from_file,
            drain,
        } = options;
        let binary = locate()?;
        let folder = fresh_folder();
        let failed = |what: &str, path: &Path, error| StartError::Io {
            what: format!("{what} {}", path.display()),
            error,
        };
        fs::create_dir_all(&folder).map_err(|error| failed("cannot make", &folder, error))?;
        bootstrap.admin_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        if listeners_from_file {
            let file = folder.join(LISTENERS);
            fs::write(&file, bootstrap.take_listeners(&file))
                .map_err(|error| failed("cannot write", &file, error))?;
        }
        let config = folder.join("bootstrap.json");
        fs::write(&config, bootstrap.to_json())
            .map_err(|error| failed("cannot write", &config, error))?;
        let log = folder.join(LOG);
        let log_file =
            fs::File::create(&log).map_err(|error| failed("cannot write", &log, error))?;
        let also = log_file
            .try_clone()
            .map_err(|error| failed("cannot write", &log, error))?;
        let mut command = command(&run_by, &binary);
        if let Some(drain) = drain {
            let seconds = drain.as_secs().to_string();
            // All connections at once: what `gradual` closes is a matter of chance.
            command.args(["--drain-time-s", &seconds, "--drain-strategy", "immediate"]);
        }
        let child = command
            .arg("--config-path")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(folder.join(ADMIN))
            .args([
                "--concurrency",
                &concurrency.to_string(),
                "--log-level",
                log_level,
            ])
            // Several Envoys side by side are no generations of one.
            .arg("--disable-hot-restart")
            .stdin(Stdio::null())
            .stdout(log_file)
            .stderr(also)
            .spawn()
            .map_err(|error| {
                let started = run_by.first().map_or(binary.as_path(), Path::new);
                failed("cannot start", started, error)
            })?;
        Ok(Self { child, folder })
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, StartError> {
        self.child.try_wait().map_err(|error| StartError::Io {
            what: "cannot watch Envoy".into(),
            error,
        })
    }

    fn why_it_ended(&self, asked: &str) -> StartError {
        let log = self.log();
        if log.contains("Address already in use") {
            return StartError::PortTaken {
                address: asked.to_owned(),
            };
        }
        StartError::Refused {
            reasons: reasons(&log),
        }
    }

    /// Known once Envoy has written the file, whole.
    fn admin_address(&self) -> Option<SocketAddr> {
        fs::read_to_string(self.folder.join(ADMIN))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join(LOG)
    }

    fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = libc::pid_t::try_from(self.child.id()).unwrap_or_default();
        let deadline = Instant::now() + STOPPED_WITHIN;
        if pid > 0 && matches!(self.child.try_wait(), Ok(None)) {
            // SAFETY: a signal to a child that has not been waited for, so its pid is still its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(LOOK_EVERY);
            }
        }
        // Both fail only where the process is gone already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        if !std::thread::panicking() {
            let _left_behind = fs::remove_dir_all(&self.folder);
        }
    }
}

/// `binary`, or the command that runs it.
fn command(run_by: &[String], binary: &Path) -> Command {
    let Some((program, arguments)) = run_by.split_first() else {
        return Command::new(binary);
    };
    let mut command = Command::new(program);
    command.args(arguments).arg(binary);
    command
}

const LOG: &str = "envoy.log";
const ADMIN: &str = "admin.address";
const LISTENERS: &str = "listeners.json";

fn fresh_folder() -> PathBuf {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    artifact::target_dir().join(format!("envoy/{}-{number}", std::process::id()))
}

fn listener_address(listeners: &str) -> Option<SocketAddr> {
    let listeners: Value = serde_json::from_str(listeners).ok()?;
    let bound = listeners.pointer("/listener_statuses/0/local_address/socket_address")?;
    let ip: IpAddr = bound.get("address")?.as_str()?.parse().ok()?;
    let port = u16::try_from(bound.get("port_value")?.as_u64()?)
        .ok()
        .filter(|port| *port != 0)?;
    Some(SocketAddr::new(
        if ip.is_unspecified() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            ip
        },
        port,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_over_the_loopback() {
        let listeners = r#"{"listener_statuses":[{"local_address":{"socket_address":{"address":"0.0.0.0","port_value":4711}}}]}"#;
        assert_eq!(
            listener_address(listeners),
            Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 4711)))
        );
    }
}
