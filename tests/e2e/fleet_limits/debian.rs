//! Redis and webdis: those on PATH, else Debian's packages, unpacked under `target/` without root.
//!
//! Webdis is in no registry but Debian's (and its descendants'). `apt-get --simulate` says which packages a machine
//! lacks, libraries included; they are downloaded into a folder and unpacked there, and nothing is installed: the
//! programs are run where they lie, with their libraries by name.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::install::{self, written};

/// The programs that are wanted; Debian's packages have their names.
const PROGRAMS: [&str; 2] = ["redis-server", "webdis"];

/// The command that starts `program`, one of these, installed first where this machine does not have it.
pub fn command(program: &str) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return Command::new(program);
    }
    let root = unpacked();
    let mut command = Command::new(root.join("usr/bin").join(program));
    let folders = libraries(&root);
    command.env(
        "LD_LIBRARY_PATH",
        env::join_paths(folders).expect("folders without colons"),
    );
    command
}

/// The folder that the packages are unpacked in.
fn unpacked() -> PathBuf {
    let root = install::once("debian", &PROGRAMS.join(" "), |folder| {
        eprintln!(
            "installing Redis and webdis into {} (once)",
            folder.display()
        );
        let mut apt = Apt::of_the_machine(folder)?;
        // Its lists may be absent, or older than what the mirrors still have.
        if apt.download(&PROGRAMS).is_err() {
            apt.make_lists(folder)?;
            apt.download(&PROGRAMS)
                .unwrap_or_else(|error| panic!("{error}"));
        }
        for entry in written(folder, fs::read_dir(folder))? {
            let file = written(folder, entry)?.path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                let mut unpack = Command::new("dpkg-deb");
                unpack.arg("--extract").arg(&file).arg(folder);
                said(&mut unpack).unwrap_or_else(|error| panic!("{error}"));
                written(&file, fs::remove_file(&file))?;
            }
        }
        Ok::<(), install::Error>(())
    });
    root.unwrap_or_else(|error| panic!("{error}"))
}

/// Where packages put libraries: `usr/lib/<machine>`, and `lib/<machine>` before Debian 13.
fn libraries(root: &Path) -> Vec<PathBuf> {
    let folders = ["usr/lib", "lib"].map(|folder| root.join(folder));
    let machines = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    machines
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect()
}

/// An apt that writes nothing outside a folder.
struct Apt {
    folder: PathBuf,
    options: Vec<String>,
}

impl Apt {
    /// With the machine's lists of packages.
    fn of_the_machine(folder: &Path) -> Result<Apt, install::Error> {
        let cache = folder.join("apt/cache");
        written(&cache, fs::create_dir_all(cache.join("archives/partial")))?;
        Ok(Apt {
            folder: folder.to_owned(),
            options: vec![
                format!("Dir::Cache={}", cache.display()),
                "Debug::NoLocking=true".to_owned(),
                // Otherwise it would bring what a server is managed with.
                "APT::Install-Recommends=false".to_owned(),
                // As root it would hand its downloads to a user who may not enter the folder.
                "APT::Sandbox::User=".to_owned(),
            ],
        })
    }

    /// Goes on with lists of its own, as new as the mirrors'.
    fn make_lists(&mut self, folder: &Path) -> Result<(), install::Error> {
        let lists = folder.join("apt/lists");
        written(&lists, fs::create_dir_all(lists.join("partial")))?;
        self.options
            .push(format!("Dir::State::Lists={}", lists.display()));
        self.run(&["update"])
            .unwrap_or_else(|error| panic!("{error}"));
        Ok(())
    }

    /// Downloads those of `packages`, and of all that they need, that the machine does not have.
    fn download(&self, packages: &[&str]) -> Result<(), String> {
        let plan = self.run(&[&["install", "--simulate"], packages].concat())?;
        let steps = plan.lines().filter_map(|line| line.strip_prefix("Inst "));
        let names = steps.filter_map(|step| step.split_whitespace().next());
        let names: Vec<_> = ["download"].into_iter().chain(names).collect();
        self.run(&names).map(|_| ())
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let mut apt = Command::new("apt-get");
        apt.args(["--quiet", "--yes"]).current_dir(&self.folder);
        for option in &self.options {
            apt.args(["-o", option]);
        }
        said(apt.args(arguments))
    }
}

/// What a command prints, or why it failed and what may be done about it.
fn said(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let failed =
        |reason: &str| format!("{command:?}: {reason}; put redis-server and webdis on PATH");
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => Err(failed(&String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(failed(&error.to_string())),
    }
}
