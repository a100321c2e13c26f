//! A channel of a gate: on its way to a session, and open in one.

use std::collections::VecDeque;

use sluice_memory::BufferMut;

use crate::gate::{ChannelLocation, GateId};

/// A channel of a gate that waits for a session.
pub(super) struct Subscription {
    pub(super) gate: GateId,
    pub(super) channel: u32,
    pub(super) location: ChannelLocation,
    /// How often it was opened in vain.
    pub(super) attempts: u8,
}

/// A channel of a gate that is open in a session.
pub(super) struct Incoming {
    pub(super) subscription: Subscription,
    /// With remote placement: the sizes of the slots that are outstanding, oldest first.
    pub(super) slots: VecDeque<u32>,
    /// With remote placement: memory for payloads that stand in heads.
    pub(super) reserve: VecDeque<BufferMut>,
}

impl Incoming {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self { subscription, slots: VecDeque::new(), reserve: VecDeque::new() }
    }

    /// Takes so many bytes of the reserve for a payload, from its front or its end.
    pub(super) fn take_reserve(&mut self, mut bytes: usize, from_front: bool) -> Vec<BufferMut> {
        let mut taken = Vec::new();
        while bytes > 0
            && let Some(mut piece) = if from_front { self.reserve.pop_front() } else { self.reserve.pop_back() }
        {
            if piece.len() > bytes {
                let at = if from_front { bytes } else { piece.len() - bytes };
                let front = piece.split_to(at);
                let (wanted, rest) = if from_front { (front, piece) } else { (piece, front) };
                if from_front {
                    self.reserve.push_front(rest)
                } else {
                    self.reserve.push_back(rest)
                }
                piece = wanted;
            }
            bytes -= piece.len();
            taken.push(piece);
        }
        taken
    }
}
