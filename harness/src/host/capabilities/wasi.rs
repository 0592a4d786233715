//! WASI preview 1, as much of it as proxy-wasm-cpp-host offers (`exports.cc`): a log, a clock, random bytes.
//!
//! There are no files and no arguments. The two module names, `wasi_unstable` and `wasi_snapshot_preview1`,
//! lead to the same functions. Random bytes come from the VM's seed, so that a run can be repeated.

use wasmtime::{Caller, Linker};

use crate::host::abi::Level;
use crate::host::calls;
use crate::host::limits;
use crate::host::marshal::{Answer, Guest};
use crate::host::state::State;
use crate::host::trap::HostEnd;

/// What can be imported.
pub(super) const NAMES: [&str; 17] = [
    "fd_write",
    "fd_read",
    "fd_seek",
    "fd_close",
    "fd_fdstat_get",
    "fd_filestat_get",
    "environ_get",
    "environ_sizes_get",
    "args_get",
    "args_sizes_get",
    "clock_time_get",
    "random_get",
    "proc_exit",
    "path_open",
    "fd_prestat_get",
    "fd_prestat_dir_name",
    "sched_yield",
];

const SUCCESS: u32 = 0;
const BADF: u32 = 8;
const INVAL: u32 = 28;
const NOENT: u32 = 44;
const NOSYS: u32 = 52;
const NOTSUP: u32 = 58;

type C<'a> = Caller<'a, State>;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for module in ["wasi_unstable", "wasi_snapshot_preview1"] {
        link_working(linker, module)?;
        link_absent(linker, module)?;
    }
    linker.func_wrap("env", "pthread_equal", |left: u32, right: u32| {
        u32::from(left == right)
    })?;
    linker.func_wrap("env", "emscripten_notify_memory_growth", |_memory: u32| ())?;
    Ok(())
}

fn link_working(linker: &mut Linker<State>, module: &str) -> wasmtime::Result<()> {
    let index = calls::index("fd_write");
    linker.func_wrap(
        module,
        "fd_write",
        move |c: C<'_>, fd: u32, parts: u32, count: u32, written_at: u32| {
            Guest::enter_wasi(c, index, |guest| {
                fd_write(guest, fd, (parts, count), written_at)
            })
        },
    )?;
    let index = calls::index("clock_time_get");
    linker.func_wrap(
        module,
        "clock_time_get",
        move |c: C<'_>, clock: u32, _precision: u64, time_at: u32| {
            Guest::enter_wasi(c, index, |guest| clock_time_get(guest, clock, time_at))
        },
    )?;
    let index = calls::index("random_get");
    linker.func_wrap(module, "random_get", move |c: C<'_>, at: u32, len: u32| {
        Guest::enter_wasi(c, index, |guest| random_get(guest, at, len))
    })?;
    let index = calls::index("environ_get");
    linker.func_wrap(
        module,
        "environ_get",
        move |c: C<'_>, pointers: u32, text: u32| {
            Guest::enter_wasi(c, index, |guest| environ_get(guest, pointers, text))
        },
    )?;
    let index = calls::index("environ_sizes_get");
    linker.func_wrap(
        module,
        "environ_sizes_get",
        move |c: C<'_>, count_at: u32, size_at: u32| {
            Guest::enter_wasi(c, index, |guest| {
                let variables = environment(guest);
                guest.write_u32(count_at, u32::try_from(variables.len()).unwrap_or(u32::MAX))?;
                let size = variables.iter().map(Vec::len).sum::<usize>();
                guest.write_u32(size_at, u32::try_from(size).unwrap_or(u32::MAX))?;
                Ok(SUCCESS)
            })
        },
    )?;
    linker.func_wrap(
        module,
        "args_sizes_get",
        |c: C<'_>, count_at: u32, size_at: u32| {
            Guest::enter_wasi(c, calls::NAMES.len(), |guest| {
                guest.write_u32(count_at, 0)?;
                guest.write_u32(size_at, 0)?;
                Ok(SUCCESS)
            })
        },
    )?;
    linker.func_wrap(module, "fd_fdstat_get", |c: C<'_>, fd: u32, at: u32| {
        Guest::enter_wasi(c, calls::NAMES.len(), |guest| fd_fdstat_get(guest, fd, at))
    })?;
    linker.func_wrap(module, "proc_exit", |code: u32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(HostEnd::Exit(code)))
    })?;
    Ok(())
}

/// What answers without doing anything.
fn link_absent(linker: &mut Linker<State>, module: &str) -> wasmtime::Result<()> {
    linker.func_wrap(module, "fd_read", |_: u32, _: u32, _: u32, _: u32| NOSYS)?;
    linker.func_wrap(module, "fd_seek", |_: u32, _: i64, _: u32, _: u32| SUCCESS)?;
    linker.func_wrap(module, "fd_close", |_: u32| SUCCESS)?;
    linker.func_wrap(module, "fd_filestat_get", |_: u32, _: u32| BADF)?;
    linker.func_wrap(module, "args_get", |_: u32, _: u32| SUCCESS)?;
    linker.func_wrap(
        module,
        "path_open",
        |_: u32, _: u32, _: u32, _: u32, _: u32, _: i64, _: i64, _: u32, _: u32| NOENT,
    )?;
    linker.func_wrap(module, "fd_prestat_get", |_: u32, _: u32| BADF)?;
    linker.func_wrap(module, "fd_prestat_dir_name", |_: u32, _: u32, _: u32| {
        NOSYS
    })?;
    linker.func_wrap(module, "sched_yield", || SUCCESS)?;
    Ok(())
}

fn fd_write(
    guest: &mut Guest<'_>,
    fd: u32,
    (parts, count): (u32, u32),
    written_at: u32,
) -> Answer<u32> {
    let level = match fd {
        1 => Level::Info,
        2 => Level::Error,
        _ => return Ok(BADF),
    };
    let mut text = Vec::new();
    for nth in 0..count {
        let part = guest.read(parts.saturating_add(nth.saturating_mul(8)), 8)?;
        let (at, len) = part.split_at(4);
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| (sum << 8) | u32::from(*byte))
        };
        text.extend(guest.read(number(at), number(len))?);
        if text.len() > limits::WRITE_BYTES {
            return Ok(INVAL);
        }
    }
    let written = u32::try_from(text.len()).unwrap_or(u32::MAX);
    if !text.is_empty() {
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        guest
            .state()
            .write_log(level, String::from_utf8_lossy(text).into_owned());
    }
    guest.write_u32(written_at, written)?;
    Ok(SUCCESS)
}

fn clock_time_get(guest: &mut Guest<'_>, clock: u32, time_at: u32) -> Answer<u32> {
    let time = match clock {
        0 => guest.state().wall_nanos(),
        1 => guest.state().shared.options.clock.monotonic_nanos(),
        _ => return Ok(NOTSUP),
    };
    guest.write_u64(time_at, time)?;
    Ok(SUCCESS)
}

fn random_get(guest: &mut Guest<'_>, at: u32, len: u32) -> Answer<u32> {
    if len > limits::RANDOM_BYTES {
        return Ok(INVAL);
    }
    let mut bytes = vec![0; len as usize];
    guest.state().rng.fill(&mut bytes);
    guest.write(at, &bytes)?;
    Ok(SUCCESS)
}

fn environ_get(guest: &mut Guest<'_>, mut pointers: u32, mut text: u32) -> Answer<u32> {
    for variable in environment(guest) {
        guest.write_u32(pointers, text)?;
        guest.write(text, &variable)?;
        pointers = pointers.saturating_add(4);
        text = text.saturating_add(u32::try_from(variable.len()).unwrap_or(u32::MAX));
    }
    Ok(SUCCESS)
}

/// The variables as `name=value\0`.
fn environment(guest: &mut Guest<'_>) -> Vec<Vec<u8>> {
    let variables = &guest.state().shared.options.environment;
    variables
        .iter()
        .map(|(name, value)| format!("{name}={value}\0").into_bytes())
        .collect()
}

/// Only the two outputs are there, and can be written to.
fn fd_fdstat_get(guest: &mut Guest<'_>, fd: u32, at: u32) -> Answer<u32> {
    const RIGHT_TO_WRITE: u64 = 64;
    if fd != 1 && fd != 2 {
        return Ok(BADF);
    }
    let stat = [0, RIGHT_TO_WRITE, 0];
    guest.write(at, &stat.map(u64::to_le_bytes).concat())?;
    Ok(SUCCESS)
}
