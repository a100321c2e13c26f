//! Packets on their way to the socket, in batches of equal length: one system call sends a batch.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use super::DeviceCounters;
use super::port::Port;

/// Packets one behind the other, with the batches that they make up.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) buffer: Vec<u8>,
    batches: VecDeque<Batch>,
}

/// Packets to one address, all of one length but the last, which may be shorter.
#[derive(Debug)]
struct Batch {
    to: SocketAddr,
    bytes: Range<usize>,
    packet_bytes: usize,
    packets: usize,
}

/// What one datagram could hold bounds a batch as well: the kernel carries it as one until the device.
const BATCH_BYTES_MAX: usize = 63_000;

/// How much is prepared before it is sent: enough for several batches, and still in the cache.
const PREPARED_BYTES_MAX: usize = 256 << 10;

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= PREPARED_BYTES_MAX
    }

    /// The packet from `start` to the end of the buffer is whole.
    pub(super) fn push(&mut self, to: SocketAddr, start: usize, packets_max: usize) {
        let bytes = self.buffer.len() - start;
        if let Some(batch) = self.batches.back_mut() {
            // A batch ends with the first packet that is shorter.
            let open = batch.bytes.len() == batch.packets * batch.packet_bytes;
            let room = batch.packets < packets_max && batch.bytes.len() + bytes <= BATCH_BYTES_MAX;
            if open && room && batch.to == to && bytes <= batch.packet_bytes {
                batch.bytes.end += bytes;
                batch.packets += 1;
                return;
            }
        }
        self.batches.push_back(Batch { to, bytes: start..self.buffer.len(), packet_bytes: bytes, packets: 1 });
    }

    /// Sends what the socket takes. Nothing is left unless it said that it takes no more now.
    pub(super) fn flush(&mut self, port: &mut Port, counters: &mut DeviceCounters) {
        while let Some(batch) = self.batches.front() {
            counters.send_calls += 1;
            match port.send(batch.to, &self.buffer[batch.bytes.clone()], batch.packet_bytes) {
                Ok(()) => counters.packets_sent += batch.packets as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    counters.send_waits += 1;
                    return;
                }
                // A peer that is gone, a route that is not there: to a transport these are losses.
                Err(_) => counters.send_failures += batch.packets as u64,
            }
            self.batches.pop_front();
        }
        self.buffer.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(packets: &[(u16, usize)], packets_max: usize) -> Vec<(usize, usize)> {
        let mut outbox = Outbox::default();
        for &(port, bytes) in packets {
            let start = outbox.buffer.len();
            outbox.buffer.resize(start + bytes, 0);
            outbox.push(SocketAddr::from(([127, 0, 0, 1], port)), start, packets_max);
        }
        outbox.batches.iter().map(|batch| (batch.packets, batch.packet_bytes)).collect()
    }

    #[test]
    fn packets_of_a_length_and_a_shorter_one_make_a_batch() {
        assert_eq!(batches(&[(1, 116), (1, 100), (1, 100), (1, 100)], 64), [(2, 116), (2, 100)]);
        assert_eq!(batches(&[(1, 100), (1, 100), (1, 60), (1, 60)], 64), [(3, 100), (1, 60)]);
    }

    #[test]
    fn a_batch_has_one_address_and_is_bounded() {
        assert_eq!(batches(&[(1, 100), (2, 100), (2, 100)], 64), [(1, 100), (2, 100)]);
        assert_eq!(batches(&[(1, 100); 5], 2), [(2, 100), (2, 100), (1, 100)]);
        assert_eq!(batches(&[(1, 4112); 16], 64), [(15, 4112), (1, 4112)]);
    }
}
