//! Bytes in and out of a guest's memory, and the one door that every hostcall goes through.
//!
//! What is returned to a guest is put where the guest's own allocator says, so returning re-enters the
//! VM. An address that does not lie in the memory is [`Status::InvalidMemoryAccess`], never a trap.

use wasmtime::{AsContext, AsContextMut, Caller};

use super::abi::Status;
use super::headers::Headers;
use super::limits;
use super::state::State;
use super::trap::HostEnd;

/// How a hostcall ends early.
#[derive(Debug)]
pub(super) enum Fail {
    /// The guest is told.
    Status(Status),
    /// The guest is stopped.
    Trap(wasmtime::Error),
}

pub(super) type Answer<T = ()> = Result<T, Fail>;

impl From<Status> for Fail {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<HostEnd> for Fail {
    fn from(end: HostEnd) -> Self {
        Self::Trap(wasmtime::Error::new(end))
    }
}

/// The guest, seen from inside one of its hostcalls.
pub(super) struct Guest<'a> {
    caller: Caller<'a, State>,
}

impl<'a> Guest<'a> {
    /// Runs `body` as the hostcall `name`: counted, refused while the module starts, failed on order.
    pub(super) fn enter(
        caller: Caller<'a, State>,
        (index, name): (usize, &'static str),
        body: impl FnOnce(&mut Self) -> Answer,
    ) -> wasmtime::Result<u32> {
        let mut guest = Self { caller };
        let state = guest.state();
        state.shared.calls.called(index);
        if state.starting && name != "proxy_log" {
            return Err(wasmtime::Error::new(HostEnd::TooEarly(name)));
        }
        if state.shared.snare.springs(index) {
            let order = format!("was caught, on order, at {name}");
            return Err(wasmtime::Error::new(HostEnd::EndsWorker(order)));
        }
        if let Some(fault) = state.faults.strike(index, name) {
            let status = fault.status;
            state.last_fault = Some(fault);
            return Ok(status as u32);
        }
        match body(&mut guest) {
            Ok(()) => Ok(Status::Ok as u32),
            Err(Fail::Status(status)) => Ok(status as u32),
            Err(Fail::Trap(error)) => Err(error),
        }
    }

    /// Runs `body` as a WASI function: counted only. It answers WASI's own numbers.
    pub(super) fn enter_wasi(
        caller: Caller<'a, State>,
        index: usize,
        body: impl FnOnce(&mut Self) -> Result<u32, Fail>,
    ) -> wasmtime::Result<u32> {
        const EFAULT: u32 = 21;
        let mut guest = Self { caller };
        guest.state().shared.calls.called(index);
        match body(&mut guest) {
            Ok(errno) => Ok(errno),
            Err(Fail::Status(_)) => Ok(EFAULT),
            Err(Fail::Trap(error)) => Err(error),
        }
    }

    pub(super) fn state(&mut self) -> &mut State {
        self.caller.data_mut()
    }

    /// The bytes at an address.
    pub(super) fn read(&mut self, at: u32, len: u32) -> Answer<Vec<u8>> {
        let memory = self
            .caller
            .data()
            .memory
            .ok_or(Status::InvalidMemoryAccess)?;
        let bytes = slice(memory.data(self.caller.as_context()), at, len)
            .ok_or(Status::InvalidMemoryAccess)?;
        Ok(bytes.to_vec())
    }

    /// The bytes at an address as text, with replacement characters where they are none.
    pub(super) fn text(&mut self, at: u32, len: u32) -> Answer<String> {
        Ok(String::from_utf8_lossy(&self.read(at, len)?).into_owned())
    }

    /// A serialized map; one that is malformed or beyond the limits is empty.
    pub(super) fn read_pairs(&mut self, at: u32, len: u32) -> Answer<Headers> {
        Ok(decode_pairs(&self.read(at, len)?)
            .unwrap_or_default()
            .into_iter()
            .collect())
    }

    /// Writes to an address that the guest gave.
    pub(super) fn write(&mut self, at: u32, bytes: &[u8]) -> Answer {
        let memory = self
            .caller
            .data()
            .memory
            .ok_or(Status::InvalidMemoryAccess)?;
        let start = at as usize;
        let room = start
            .checked_add(bytes.len())
            .and_then(|end| {
                memory
                    .data_mut(self.caller.as_context_mut())
                    .get_mut(start..end)
            })
            .ok_or(Status::InvalidMemoryAccess)?;
        room.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn write_u32(&mut self, at: u32, value: u32) -> Answer {
        self.write(at, &value.to_le_bytes())
    }

    pub(super) fn write_u64(&mut self, at: u32, value: u64) -> Answer {
        self.write(at, &value.to_le_bytes())
    }

    /// Returns data: allocates in the guest, copies, and writes address and length where it wants them.
    pub(super) fn give(&mut self, bytes: &[u8], at: u32, len_at: u32) -> Answer {
        let mut address = 0;
        let len = u32::try_from(bytes.len()).map_err(|_| Status::InternalFailure)?;
        if len > 0 {
            let allocate = self
                .caller
                .data()
                .allocate
                .clone()
                .ok_or(Status::InvalidMemoryAccess)?;
            address = allocate
                .call(self.caller.as_context_mut(), len)
                .map_err(Fail::Trap)?;
            if address == 0 {
                return Err(Status::InvalidMemoryAccess.into());
            }
            self.write(address, bytes)?;
            self.caller.data().shared.calls.returned_data();
        }
        self.write_u32(at, address)?;
        self.write_u32(len_at, len)
    }

    /// Returns a map; an empty one is a null of no length.
    pub(super) fn give_pairs(&mut self, headers: &Headers, at: u32, len_at: u32) -> Answer {
        let bytes = if headers.is_empty() {
            Vec::new()
        } else {
            encode_pairs(headers.iter())
        };
        self.give(&bytes, at, len_at)
    }
}

fn slice(memory: &[u8], at: u32, len: u32) -> Option<&[u8]> {
    let start = at as usize;
    memory.get(start..start.checked_add(len as usize)?)
}

/// A map as guests read it: the count, then all lengths, then names and values, each with a closing zero.
pub(super) fn encode_pairs<'a>(
    pairs: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone,
) -> Vec<u8> {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = number(pairs.len()).to_vec();
    for (name, value) in pairs.clone() {
        out.extend_from_slice(&number(name.len()));
        out.extend_from_slice(&number(value.len()));
    }
    for (name, value) in pairs {
        for part in [name, value] {
            out.extend_from_slice(part);
            out.push(0);
        }
    }
    out
}

/// Reads what a guest serialized; None for anything that is not exactly such a map within the limits.
pub(super) fn decode_pairs(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    if bytes.len() > limits::PAIRS_BYTES {
        return None;
    }
    let number = |at: usize| {
        let four: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(u32::from_le_bytes(four) as usize)
    };
    let count = number(0)?;
    if count > limits::PAIRS_COUNT {
        return None;
    }
    let mut at = 4 + count * 8;
    let mut part = |len: usize| {
        let end = at.checked_add(len)?;
        let found = bytes.get(at..end)?;
        at = end.checked_add(1)?;
        (*bytes.get(end)? == 0).then_some(found)
    };
    let mut pairs = Vec::with_capacity(count);
    for nth in 0..count {
        pairs.push((part(number(4 + nth * 8)?)?, part(number(8 + nth * 8)?)?));
    }
    (at == bytes.len()).then_some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_survives_the_way_there_and_back() {
        let pairs: Vec<(&[u8], &[u8])> = vec![(b"a", b"1"), (b"", b""), (b"name", b"\0\xff")];
        let bytes = encode_pairs(pairs.iter().copied());
        assert_eq!(decode_pairs(&bytes), Some(pairs));
    }

    #[test]
    fn a_map_cut_short_or_too_long_is_none() {
        let pairs: Vec<(&[u8], &[u8])> = vec![(b"a", b"1")];
        let mut bytes = encode_pairs(pairs.iter().copied());
        for len in 0..bytes.len() {
            assert_eq!(decode_pairs(&bytes[..len]), None, "cut at {len}");
        }
        bytes.push(0);
        assert_eq!(decode_pairs(&bytes), None);
        assert_eq!(decode_pairs(&u32::MAX.to_le_bytes()), None);
    }
}
