//! One server on the loopback that a test can kill, start again where it was, and hold.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use harness::artifact;

use crate::world::eventually;

/// How many free ports may be another's by the time that they are used before something else must be wrong.
const TRIES: usize = 5;

/// The command that serves on a port of the loopback, and may keep files in a folder.
pub type Start = Box<dyn Fn(u16, &Path) -> Command + Send + Sync>;

/// How a server is started.
pub struct Program {
    pub name: &'static str,
    pub command: Start,
    /// What it prints once it serves, and does not where the port is another's.
    pub ready: &'static str,
}

/// A running server, killed on drop. It lives in a folder of its own under `target/`, where its log is, removed with it
/// unless a test is failing.
pub struct Server {
    program: Program,
    address: SocketAddr,
    folder: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// Starts `program` on a free port and returns once it serves.
    pub async fn start(program: Program) -> Server {
        let folder = fresh_folder(program.name);
        fs::create_dir_all(&folder).expect("a folder under target/");
        let mut server = Server {
            program,
            address: free_address(),
            folder,
            child: None,
        };
        for _ in 0..TRIES {
            if server.serves().await {
                return server;
            }
            server.address = free_address();
        }
        panic!("{} does not start: {}", server.program.name, server.log());
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it as a crash would: nothing is said or saved.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only where the process is gone already.
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }

    /// Starts it again where it was, with nothing of what it knew, and returns once it serves.
    pub async fn restart(&mut self) {
        self.kill();
        let serves = self.serves().await;
        assert!(
            serves,
            "{} does not restart: {}",
            self.program.name,
            self.log()
        );
    }

    /// Holds it: from here on the system makes its connections and takes in what it is sent, and nothing is answered
    /// until it goes on.
    pub fn hold(&self) {
        let pid = self.signal(libc::SIGSTOP);
        // SAFETY: `siginfo_t` is plain numbers, and the call fills it; WNOWAIT leaves the child for `kill` to reap.
        let waited = unsafe {
            let mut seen = std::mem::zeroed();
            let changes = libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT;
            libc::waitid(libc::P_PID, pid, &raw mut seen, changes)
        };
        assert_eq!(waited, 0, "{} is gone: {}", self.program.name, self.log());
    }

    /// Ends a hold.
    pub fn go_on(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: libc::c_int) -> libc::id_t {
        let pid = self.child.as_ref().expect("it runs").id();
        // SAFETY: a signal to a child that has not been waited for, so its pid is still its own.
        let sent = unsafe { libc::kill(pid.cast_signed(), signal) };
        assert_eq!(sent, 0, "{} is gone: {}", self.program.name, self.log());
        pid
    }

    /// Starts the program and waits until it serves; false if it ends instead.
    async fn serves(&mut self) -> bool {
        let log = File::create(self.folder.join(LOG)).expect("a file under target/");
        let errors = log.try_clone().expect("a file");
        let mut command = (self.program.command)(self.address.port(), &self.folder);
        command.current_dir(&self.folder).stdin(Stdio::null());
        let child = command.stdout(log).stderr(errors).spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let state = eventually(
            "started or ended",
            async || self.state(),
            |state| *state != State::Starting,
        )
        .await;
        state == State::Serving
    }

    fn state(&mut self) -> State {
        let child = self.child.as_mut().expect("it was started");
        let ended = child.try_wait().expect("a child").is_some();
        match self.log().contains(self.program.ready) {
            _ if ended => State::Ended,
            true => State::Serving,
            false => State::Starting,
        }
    }

    fn log(&self) -> String {
        let log = fs::read(self.folder.join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            let _left_behind = fs::remove_dir_all(&self.folder);
        }
    }
}

#[derive(Debug, PartialEq)]
enum State {
    Starting,
    Serving,
    Ended,
}

const LOG: &str = "log";

fn fresh_folder(name: &str) -> PathBuf {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    artifact::target_dir().join(format!("fleet_limits/{name}-{pid}-{number}"))
}

/// Free now: none of these servers can be told to choose a port and say which.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}
