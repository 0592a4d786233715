//! Streams whose headers have come and whose first event is awaited, with the time it has.
//!
//! Envoy's time-out of an attempt ends with the response's headers. Servers on Starlette, vLLM and
//! SGLang among them, send those at once, so a server that hangs with its model is not seen there.
//! It is seen here, on the tick: too late for its request, in time for the next ones.

use crate::values::clock::Instant;

/// The streams of a worker that are awaited.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    awaited: Vec<(u32, Instant)>,
}

/// The most streams that are awaited at once, 64 KiB of them. Each tick looks at all; a stream
/// beyond is not judged by its time.
const STREAMS: usize = 4096;

impl Overdue {
    /// Whether no stream is awaited.
    pub fn is_empty(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Awaits the first event of `stream` until `deadline`; whether there was room.
    pub fn enter(&mut self, stream: u32, deadline: Instant) -> bool {
        let fits = self.awaited.len() < STREAMS;
        if fits {
            self.awaited.push((stream, deadline));
        }
        fits
    }

    /// The stream has begun, or is over.
    pub fn leave(&mut self, stream: u32) {
        if let Some(place) = self.awaited.iter().position(|(known, _)| *known == stream) {
            self.awaited.swap_remove(place);
        }
    }

    /// Takes the streams whose time is over.
    pub fn take(&mut self, now: Instant) -> Vec<u32> {
        let over = |(_, deadline): &mut (u32, Instant)| *deadline <= now;
        let over = self.awaited.extract_if(.., over);
        over.map(|(stream, _)| stream).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_overdue_once_and_only_while_it_is_awaited() {
        let mut overdue = Overdue::default();
        let at = Instant::from_nanos;
        for (stream, deadline) in [(1, 5), (2, 7), (3, 5)] {
            assert!(overdue.enter(stream, at(deadline)));
        }
        overdue.leave(3);
        overdue.leave(9);
        assert!(overdue.take(at(4)).is_empty());
        assert_eq!(overdue.take(at(5)), [1]);
        assert!(overdue.take(at(6)).is_empty());
        assert_eq!(overdue.take(at(9)), [2]);
        assert!(overdue.is_empty());
    }

    #[test]
    fn no_more_streams_are_awaited_than_there_is_room_for() {
        let mut overdue = Overdue::default();
        let entered = (0..5000).filter(|stream| overdue.enter(*stream, Instant::from_nanos(1)));
        assert_eq!(entered.count(), STREAMS);
        assert_eq!(overdue.take(Instant::from_nanos(1)).len(), STREAMS);
        assert!(overdue.enter(1, Instant::from_nanos(1)));
    }
}
