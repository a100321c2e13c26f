//! A reliable-connected queue pair, without IO: packets in, packets out, and time as an argument.
//!
//! ```text
//! post_send, post_receive ─▶ ┌────────────┐ ─▶ poll_completion
//!           handle_packet ─▶ │ QueuePair  │ ─▶ poll_transmit
//!          handle_timeout ─▶ └────────────┘ ─▶ next_timeout
//!                               │      ▲
//!                               ▼      │  keys, bounds, bytes
//!                             RemoteMemory
//! ```
//!
//! Two halves that know nothing of each other: the requester sends what was posted here, the responder executes what
//! the peer has posted. The rules are those of the InfiniBand Architecture Specification, volume 1 ("IBTA vol. 1"),
//! chapter 9, with the RoCEv2 annex A17; where one is applied it is named.

mod attributes;
mod core;
mod requester;
mod responder;

use std::collections::VecDeque;
use std::net::IpAddr;

pub use attributes::{
    Capabilities, PathMtu, PostError, READS_MAX, ReceiveAttributes, Rights, SendAttributes, State, TransitionError,
    ack_timeout,
};
use core::Core;
pub use core::Counters;
use requester::Requester;
use responder::{Responder, received};

use crate::memory::{RemoteMemory, length_of};
use crate::packet::{Packet, QueuePairNumber};
use crate::time::Time;
use crate::work::{Completion, CompletionKind, MESSAGE_BYTES_MAX, Operation, ReceiveRequest, SendRequest, Status};

/// A queue pair of the reliable connection service.
#[derive(Debug)]
pub struct QueuePair<M> {
    core: Core<M>,
    state: State,
    capabilities: Capabilities,
    rights: Rights,
    receives: VecDeque<ReceiveRequest>,
    requester: Option<Requester>,
    responder: Option<Responder>,
    /// Whose turn it is to send, so that neither half waits for the other.
    responder_next: bool,
}

/// Why a packet for a queue pair was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// The queue pair takes no packets, or none of this kind, in its state.
    State,
    /// It is not from the peer's address.
    Source,
    /// It is of another partition.
    Partition,
}

impl<M: RemoteMemory> QueuePair<M> {
    /// A queue pair in the state [`State::Reset`], with this number on its device.
    pub fn new(number: QueuePairNumber, capabilities: Capabilities, memory: M) -> QueuePair<M> {
        let (counters, completions) = (Counters::default(), VecDeque::new());
        QueuePair {
            core: Core { number, memory, counters, completions, path: None },
            state: State::Reset,
            capabilities,
            rights: Rights::default(),
            receives: VecDeque::new(),
            requester: None,
            responder: None,
            // A request and the short acknowledgement behind it make one call of the socket; the other way round they
            // do not.
            responder_next: false,
        }
    }

    /// Its number.
    pub fn number(&self) -> QueuePairNumber {
        self.core.number
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// What it has seen.
    pub fn counters(&self) -> Counters {
        self.core.counters
    }

    /// From [`State::Reset`] to [`State::Init`].
    ///
    /// # Errors
    ///
    /// From another state.
    pub fn to_init(&mut self, rights: Rights) -> Result<(), TransitionError> {
        self.step(State::Reset, State::Init)?;
        self.rights = rights;
        Ok(())
    }

    /// From [`State::Init`] to [`State::ReadyToReceive`].
    ///
    /// # Errors
    ///
    /// From another state, or if an attribute is out of range. Nothing has then changed.
    pub fn to_ready_to_receive(&mut self, attributes: ReceiveAttributes) -> Result<(), TransitionError> {
        in_range("reads_max", attributes.reads_max.into(), READS_MAX.into())?;
        self.step(State::Init, State::ReadyToReceive)?;
        self.core.path = Some(attributes);
        self.responder = Some(Responder::new(attributes, self.rights));
        Ok(())
    }

    /// From [`State::ReadyToReceive`] to [`State::ReadyToSend`].
    ///
    /// # Errors
    ///
    /// From another state, or if an attribute is out of range. Nothing has then changed.
    pub fn to_ready_to_send(&mut self, attributes: SendAttributes) -> Result<(), TransitionError> {
        in_range("reads_max", attributes.reads_max.into(), READS_MAX.into())?;
        in_range("retries_max", attributes.retries_max.into(), 7)?;
        in_range("rnr_retries_max", attributes.rnr_retries_max.into(), 7)?;
        self.step(State::ReadyToReceive, State::ReadyToSend)?;
        self.requester = Some(Requester::new(attributes, self.core.mtu()));
        Ok(())
    }

    fn step(&mut self, from: State, to: State) -> Result<(), TransitionError> {
        if self.state != from {
            return Err(TransitionError::State { from: self.state, to });
        }
        self.state = to;
        Ok(())
    }

    /// From any state to [`State::Error`]: everything posted is flushed. The peer hears nothing of it.
    pub fn to_error(&mut self) {
        self.fail(Status::Flushed);
        if let Some(responder) = &mut self.responder {
            responder.fall_silent();
        }
    }

    /// From any state to [`State::Reset`]: everything posted and every completion is forgotten (IBTA vol. 1, 10.3.1.1).
    pub fn reset(&mut self) {
        (self.requester, self.responder, self.core.path) = (None, None, None);
        self.receives.clear();
        self.core.completions.clear();
        self.state = State::Reset;
    }

    /// Adds a request to the send queue. In the error state it is flushed at once.
    ///
    /// # Errors
    ///
    /// If it is not taken; there is then no completion.
    pub fn post_send(&mut self, request: SendRequest) -> Result<(), PostError> {
        self.check_request(&request.local, length_of(&request.local))?;
        match (self.state, &mut self.requester) {
            (State::ReadyToSend, Some(requester)) => {
                let most = self.capabilities.sends_max;
                if requester.posted() >= most {
                    return Err(PostError::Full { most });
                }
                if matches!(request.operation, Operation::Read { .. }) && !requester.may_read() {
                    return Err(PostError::NoReads);
                }
                requester.post(request, self.core.mtu());
                Ok(())
            }
            (State::Error, _) => {
                // IBTA vol. 1, 10.3.1.7.
                self.core.complete(requester::flushed(request));
                Ok(())
            }
            _ => Err(PostError::State { state: self.state }),
        }
    }

    /// Adds a request to the receive queue. In the error state it is flushed at once.
    ///
    /// # Errors
    ///
    /// If it is not taken; there is then no completion.
    pub fn post_receive(&mut self, request: ReceiveRequest) -> Result<(), PostError> {
        self.check_request(&request.local, 0)?;
        match self.state {
            State::Reset => Err(PostError::State { state: self.state }),
            State::Error => {
                self.core.complete(Some(received(&request, Status::Flushed, CompletionKind::Receive)));
                Ok(())
            }
            _ if self.receives.len() >= self.capabilities.receives_max => {
                Err(PostError::Full { most: self.capabilities.receives_max })
            }
            _ => {
                self.receives.push_back(request);
                Ok(())
            }
        }
    }

    fn check_request(&self, local: &[crate::memory::Segment], bytes: u64) -> Result<(), PostError> {
        let (segments, most) = (local.len(), self.capabilities.segments_max);
        if segments > most {
            return Err(PostError::Segments { segments, most });
        }
        if bytes > MESSAGE_BYTES_MAX {
            return Err(PostError::Length { bytes });
        }
        Ok(())
    }

    /// Takes a packet whose CRC is right and that is addressed to this queue pair.
    ///
    /// # Errors
    ///
    /// If it was dropped; nothing has then changed.
    pub fn handle_packet(&mut self, now: Time, source: IpAddr, packet: &Packet<'_>) -> Result<(), Dropped> {
        let path = self.core.path.as_ref().filter(|_| self.state != State::Error).ok_or(Dropped::State)?;
        if source != path.peer {
            return Err(Dropped::Source);
        }
        // IBTA vol. 1, 10.9.3: the lower 15 bits are the key, and one side must be a full member.
        let (theirs, ours) = (packet.base().partition, path.partition);
        if (theirs ^ ours) & 0x7FFF != 0 || (theirs | ours) & 0x8000 == 0 {
            return Err(Dropped::Partition);
        }
        if packet.base().opcode.is_request() {
            let responder = self.responder.as_mut().ok_or(Dropped::State)?;
            self.core.counters.packets_received += 1;
            if responder.handle_request(packet, &mut self.receives, &mut self.core).is_err() {
                self.fail(Status::Flushed);
            }
        } else {
            let requester = self.requester.as_mut().ok_or(Dropped::State)?;
            self.core.counters.packets_received += 1;
            if let Err(status) = requester.handle_answer(now, packet, &mut self.core) {
                self.fail(status);
                self.fall_silent();
            }
        }
        Ok(())
    }

    /// The queue pair is in error, because of the oldest request in the send queue if `status` says more than flushed.
    fn fail(&mut self, status: Status) {
        if let Some(requester) = &mut self.requester {
            requester.flush(status, &mut self.core);
        }
        if let Some(responder) = &mut self.responder {
            responder.flush(&mut self.core);
        }
        for receive in std::mem::take(&mut self.receives) {
            self.core.complete(Some(received(&receive, Status::Flushed, CompletionKind::Receive)));
        }
        self.state = State::Error;
    }

    fn fall_silent(&mut self) {
        if let Some(responder) = &mut self.responder {
            responder.fall_silent();
        }
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) has something to send.
    pub fn wants_to_transmit(&self) -> bool {
        self.responder.as_ref().is_some_and(Responder::wants_to_transmit)
            || self.state == State::ReadyToSend && self.requester.as_ref().is_some_and(Requester::wants_to_transmit)
    }

    /// Appends the next packet to `buffer`, all but its invariant CRC; `false` if there is none to send now.
    pub fn poll_transmit(&mut self, now: Time, buffer: &mut Vec<u8>) -> bool {
        let first = self.responder_next;
        let sent = first && self.transmit_answer(buffer)
            || self.transmit_request(now, buffer)
            || !first && self.transmit_answer(buffer);
        self.responder_next ^= sent;
        self.core.counters.packets_sent += u64::from(sent);
        sent
    }

    fn transmit_answer(&mut self, buffer: &mut Vec<u8>) -> bool {
        let Some(responder) = &mut self.responder else { return false };
        match responder.transmit(&mut self.core, buffer) {
            Ok(sent) => sent,
            Err(()) => {
                self.fail(Status::Flushed);
                // The NAK that says why.
                self.responder.as_mut().is_some_and(|responder| responder.transmit(&mut self.core, buffer) == Ok(true))
            }
        }
    }

    fn transmit_request(&mut self, now: Time, buffer: &mut Vec<u8>) -> bool {
        if self.state != State::ReadyToSend {
            return false;
        }
        let Some(requester) = &mut self.requester else { return false };
        match requester.transmit(now, &mut self.core, buffer) {
            Ok(sent) => sent,
            Err(status) => {
                self.fail(status);
                self.fall_silent();
                false
            }
        }
    }

    /// The next completion of either queue.
    pub fn poll_completion(&mut self) -> Option<Completion> {
        self.core.completions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if no packet comes before.
    pub fn next_timeout(&self) -> Option<Time> {
        self.requester.as_ref().and_then(Requester::next_timeout)
    }

    /// Does what is due. Too early a call does nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        let Some(requester) = &mut self.requester else { return };
        if let Err(status) = requester.handle_timeout(now, &mut self.core) {
            self.fail(status);
            self.fall_silent();
        }
    }
}

fn in_range(attribute: &'static str, value: u64, most: u64) -> Result<(), TransitionError> {
    if value <= most { Ok(()) } else { Err(TransitionError::Attribute { attribute, value, most }) }
}
