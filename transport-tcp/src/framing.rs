//! Turns a stream of bytes into messages, and says where its next bytes go.
//!
//! The bytes of a link arrive into a [`ReadPlan`]: what is missing of the current message's bodies, each straight
//! into memory that the consumer has posted, and behind it a place for the next head. One scattering read so brings
//! the end of one message and the beginning of the next. What comes into the head's place and is not of the head
//! belongs to the next bodies and is copied there: that is why the place is small while messages carry bodies.

mod arriving;
mod partial_head;
mod plan;

use std::collections::VecDeque;

use sluice_protocol::Limits;
use sluice_protocol::wire::{DecodeError, Head};

use self::arriving::Arriving;
use self::partial_head::PartialHead;
use self::plan::Scratch;
use crate::posted::Posted;
use sluice_plugin::Landed;

pub(crate) use self::plan::ReadPlan;

/// A whole message.
pub(crate) struct Arrived {
    pub(crate) head: Head,
    pub(crate) payloads: VecDeque<Landed>,
}

/// The receiving half of a link: no IO.
///
/// One plan is out at a time. Bounds: one head, the bodies of one message, and 132 KiB of scratch.
pub(crate) struct Framing {
    limits: Limits,
    head: PartialHead,
    /// The message whose bodies are being received.
    message: Option<Arriving>,
    scratch: Scratch,
}

impl Framing {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, head: PartialHead::default(), message: None, scratch: Scratch::default() }
    }

    /// Where the next bytes of the stream go.
    pub(crate) fn plan(&mut self) -> ReadPlan {
        let mut plan = self.scratch.empty_plan();
        let bodies_end = match &mut self.message {
            Some(message) => message.lend(&mut plan, &mut self.scratch),
            None => true,
        };
        if bodies_end {
            plan.push_bytes(self.scratch.lend_head_place());
        }
        plan
    }

    /// Takes a plan back, with the number of bytes that arrived into it.
    pub(crate) fn arrived(
        &mut self,
        mut plan: ReadPlan,
        bytes: usize,
        posted: &mut Posted,
        out: &mut Vec<Arrived>,
    ) -> Result<(), DecodeError> {
        let mut of_head = bytes;
        if let Some(message) = &mut self.message {
            of_head -= message.take_back(&mut plan, bytes, &mut self.scratch, posted);
        }
        self.emit_whole(out);
        let place = plan.pop_bytes();
        self.scratch.recycle(plan);
        let Some(place) = place else {
            assert_eq!(of_head, 0, "bytes behind the end of a plan");
            return Ok(());
        };
        let fed = self.feed(&place[..of_head], posted, out);
        self.scratch.give_back_head_place(place);
        fed
    }

    /// Goes on with bytes that were read elsewhere.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        posted: &mut Posted,
        out: &mut Vec<Arrived>,
    ) -> Result<(), DecodeError> {
        while !bytes.is_empty() {
            match &mut self.message {
                Some(message) => message.copy_in(&mut bytes, posted),
                None => {
                    let Some(head) = self.head.fill(&mut bytes, &self.limits)? else { return Ok(()) };
                    self.scratch.note_message(head.prefix().body_bytes);
                    self.message = Some(Arriving::begin(head, posted));
                }
            }
            self.emit_whole(out);
        }
        Ok(())
    }

    /// Whether the stream may end here.
    #[cfg(test)]
    pub(crate) fn is_between_messages(&self) -> bool {
        self.message.is_none() && self.head.is_empty()
    }

    fn emit_whole(&mut self, out: &mut Vec<Arrived>) {
        if let Some(message) = self.message.take_if(|message| message.is_whole()) {
            out.push(message.finish());
        }
    }
}

#[cfg(test)]
mod tests;
