//! What a device has seen, and why it has dropped what it dropped.

use crate::packet::ParseError;
use crate::queue_pair::Dropped;

/// The counters of a device. They only ever grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeviceCounters {
    /// Packets that were given to the socket.
    pub packets_sent: u64,
    /// Calls of the socket that sent them: with segmentation offload one call sends many.
    pub send_calls: u64,
    /// Datagrams that came out of the socket.
    pub packets_received: u64,
    /// Calls of the socket that brought them.
    pub receive_calls: u64,
    /// Times that the socket took no more and sending had to wait.
    pub send_waits: u64,
    /// Packets that the socket refused for another reason: they are lost, and sent again as lost ones are.
    pub send_failures: u64,
    /// Dropped: the invariant CRC is wrong.
    pub dropped_icrc: u64,
    /// Dropped: no packet, by its length.
    pub dropped_length: u64,
    /// Dropped: another version of the transport header.
    pub dropped_version: u64,
    /// Dropped: another service than the reliable connection.
    pub dropped_class: u64,
    /// Dropped: there is no such queue pair.
    pub dropped_unknown: u64,
    /// Dropped: the queue pair takes no packets in its state.
    pub dropped_state: u64,
    /// Dropped: not from the address of the queue pair's peer.
    pub dropped_source: u64,
    /// Dropped: of another partition.
    pub dropped_partition: u64,
}

impl DeviceCounters {
    /// All datagrams that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped_icrc
            + self.dropped_length
            + self.dropped_version
            + self.dropped_class
            + self.dropped_unknown
            + self.dropped_state
            + self.dropped_source
            + self.dropped_partition
    }

    pub(crate) fn malformed(&mut self, error: ParseError) {
        match error {
            ParseError::Short { .. } | ParseError::Unaligned { .. } => self.dropped_length += 1,
            ParseError::Version { .. } => self.dropped_version += 1,
            ParseError::Class { .. } => self.dropped_class += 1,
        }
    }

    pub(crate) fn unwanted(&mut self, dropped: Dropped) {
        match dropped {
            Dropped::State => self.dropped_state += 1,
            Dropped::Source => self.dropped_source += 1,
            Dropped::Partition => self.dropped_partition += 1,
        }
    }
}
