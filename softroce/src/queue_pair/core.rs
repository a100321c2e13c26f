//! What both halves of a queue pair need, and what they have seen.

use std::collections::VecDeque;

use super::attributes::ReceiveAttributes;
use crate::packet::QueuePairNumber;
use crate::work::Completion;

/// What both halves need.
#[derive(Debug)]
pub(super) struct Core<M> {
    pub(super) number: QueuePairNumber,
    pub(super) memory: M,
    pub(super) counters: Counters,
    pub(super) completions: VecDeque<Completion>,
    /// From [`State::ReadyToReceive`] on.
    pub(super) path: Option<ReceiveAttributes>,
}

impl<M> Core<M> {
    pub(super) fn complete(&mut self, completion: Option<Completion>) {
        let number = self.number;
        self.completions.extend(completion.map(|done| Completion { queue_pair: number, ..done }));
    }

    pub(super) fn path(&self) -> &ReceiveAttributes {
        self.path.as_ref().expect("the halves exist from the ready-to-receive state on")
    }

    pub(super) fn mtu(&self) -> usize {
        self.path().path_mtu.bytes()
    }

    pub(super) fn partition(&self) -> u16 {
        self.path().partition
    }

    pub(super) fn destination(&self) -> QueuePairNumber {
        self.path().destination
    }
}

/// What a queue pair has seen. Only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Packets sent, all kinds.
    pub packets_sent: u64,
    /// Packets taken, all kinds, without those that were dropped.
    pub packets_received: u64,
    /// Request packets that had been sent before.
    pub packets_sent_again: u64,
    /// Acknowledgements sent, NAKs included.
    pub acknowledgements_sent: u64,
    /// Times that no answer came in time.
    pub timeouts: u64,
    /// Times that the requester went back.
    pub retries: u64,
    /// NAKs for a sequence error from the peer.
    pub sequence_naks_received: u64,
    /// NAKs for a sequence error to the peer.
    pub sequence_naks_sent: u64,
    /// Times that the peer had no receive.
    pub rnr_naks_received: u64,
    /// Times that this side had none.
    pub rnr_naks_sent: u64,
    /// Times that a response to a READ was missing.
    pub responses_missing: u64,
    /// Request packets with a later number than expected.
    pub out_of_sequence: u64,
    /// Request packets that were executed before.
    pub repeated: u64,
    /// Answers to what was answered, or not asked.
    pub stale_answers: u64,
    /// Requests that were answered with a NAK that ends the connection.
    pub requests_refused: u64,
}
