//! The packets that wait in this process, in the order in which they leave.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use chaos_common::abi::MAX_HELD_BYTES;

use super::Frame;

/// Packets that may wait, of all namespaces together.
const PACKETS: usize = 1_000_000;
/// Bytes that they may take.
const BYTES: usize = MAX_HELD_BYTES as usize;
/// What the memory of a packet costs besides its bytes.
const OVERHEAD: usize = 64;

/// The packets that wait.
#[derive(Default)]
pub(super) struct Waiting {
    queue: BinaryHeap<Reverse<Held>>,
    /// How many wait, by namespace.
    counts: HashMap<u64, usize>,
    bytes: usize,
    came: u64,
    /// For which there was no room, or which could not be sent back.
    pub(super) lost: u64,
}

/// A packet that waits. They are ordered by departure, and then by the number of those that came before.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    departure_ns: u64,
    number: u64,
    pub(super) namespace: u64,
    pub(super) bytes: Box<[u8]>,
}

impl Held {
    fn size(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

impl Waiting {
    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.queue.len() as u64
    }

    pub(super) fn put(&mut self, namespace: u64, Frame { departure_ns, bytes }: Frame) {
        let held = Held { departure_ns, number: self.came, namespace, bytes };
        if self.queue.len() >= PACKETS || self.bytes + held.size() > BYTES {
            self.lost += 1;
            return;
        }
        self.came += 1;
        self.bytes += held.size();
        *self.counts.entry(namespace).or_default() += 1;
        self.queue.push(Reverse(held));
    }

    /// The next that may leave by now.
    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<Held> {
        if self.next_departure()? > now_ns {
            return None;
        }
        let Reverse(held) = self.queue.pop()?;
        self.bytes -= held.size();
        if let Some(count) = self.counts.get_mut(&held.namespace) {
            *count -= 1;
        }
        Some(held)
    }

    pub(super) fn next_departure(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse(held)| held.departure_ns)
    }

    pub(super) fn has(&self, namespace: u64) -> bool {
        self.counts.get(&namespace).is_some_and(|count| *count > 0)
    }

    pub(super) fn forget(&mut self, namespace: u64) {
        self.lost += self.counts.remove(&namespace).unwrap_or(0) as u64;
        self.queue.retain(|Reverse(held)| held.namespace != namespace);
        self.bytes = self.queue.iter().map(|Reverse(held)| held.size()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(departure_ns: u64, name: u8, length: usize) -> Frame {
        Frame { departure_ns, bytes: vec![name; length].into() }
    }

    fn leave(waiting: &mut Waiting, now_ns: u64) -> Vec<u8> {
        std::iter::from_fn(|| waiting.take_due(now_ns)).map(|held| held.bytes[0]).collect()
    }

    #[test]
    fn packets_leave_in_the_order_of_their_times_and_then_of_their_coming() {
        let mut waiting = Waiting::default();
        for (departure, name) in [(30, b'd'), (10, b'a'), (20, b'b'), (20, b'c')] {
            waiting.put(1, frame(departure, name, 1));
        }
        assert_eq!(waiting.next_departure(), Some(10));
        assert_eq!(leave(&mut waiting, 9), b"");
        assert_eq!(leave(&mut waiting, 20), b"abc");
        assert!(waiting.has(1));
        assert_eq!(leave(&mut waiting, 30), b"d");
        assert!(!waiting.has(1) && waiting.bytes == 0 && waiting.next_departure().is_none());
    }

    #[test]
    fn what_there_is_no_room_for_is_lost_and_counted() {
        let mut waiting = Waiting::default();
        for _ in 0..10_000 {
            waiting.put(1, frame(60_000_000_000, 0, 1_500));
        }
        assert_eq!(waiting.lost, 0);
        let room = (BYTES - waiting.bytes) / (60_000 + OVERHEAD);
        for _ in 0..room + 3 {
            waiting.put(1, frame(1, 0, 60_000));
        }
        assert_eq!(waiting.lost, 3);
        assert_eq!(leave(&mut waiting, 1).len(), room);
    }

    #[test]
    fn a_namespace_that_is_forgotten_has_nothing_that_waits() {
        let mut waiting = Waiting::default();
        waiting.put(1, frame(1, b'a', 10));
        waiting.put(2, frame(2, b'b', 10));
        waiting.forget(1);
        assert!(!waiting.has(1) && waiting.has(2));
        assert_eq!(waiting.lost, 1);
        assert_eq!(leave(&mut waiting, 5), b"b");
        assert_eq!(waiting.bytes, 0);
    }
}
