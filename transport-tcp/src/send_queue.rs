//! What a link has accepted and the kernel has not taken yet.

use std::collections::VecDeque;
use std::mem;

use sluice_plugin::Message;
use sluice_uring::Outgoing;

/// One submission takes about so much: well over the 256 KiB from which the cost of a submission no longer shows.
const GATHER_BYTES: usize = 1024 * 1024;
/// `IOV_MAX`: more make the kernel refuse the submission.
const GATHER_PIECES: usize = 1024;

/// Pieces to send, in order.
#[derive(Debug, Default)]
pub(crate) struct WritePlan {
    pub(crate) pieces: Vec<Outgoing>,
    /// Bytes at the start of the first piece that have been sent already.
    pub(crate) skip: usize,
}

impl WritePlan {
    /// How many bytes it is to send.
    pub(crate) fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.as_slice().len()).sum::<usize>() - self.skip
    }
}

/// Bounded in bytes. One plan is out at a time; what it holds still counts.
pub(crate) struct SendQueue {
    pieces: VecDeque<Outgoing>,
    /// Bytes of the first piece that are sent.
    skip: usize,
    /// Bytes not sent yet.
    bytes: usize,
    bytes_max: usize,
    planned: bool,
    /// A message was handed back, and nobody has been told yet that one would be taken.
    refused: bool,
    over: bool,
    /// Kept for its capacity.
    spare: Vec<Outgoing>,
}

impl SendQueue {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            pieces: VecDeque::new(),
            skip: 0,
            bytes: 0,
            bytes_max,
            planned: false,
            refused: false,
            over: false,
            spare: Vec::new(),
        }
    }

    /// Accepts the message, or hands it back if the queue is full or over. An empty queue takes one of any size.
    pub(crate) fn push(&mut self, message: Message) -> Result<(), Message> {
        let bytes = message.head.len() + message.payloads.iter().map(|payload| payload.buffer.len()).sum::<usize>();
        if self.over {
            return Err(message);
        }
        if self.bytes > 0 && self.bytes + bytes > self.bytes_max {
            self.refused = true;
            return Err(message);
        }
        self.bytes += bytes;
        self.pieces.push_back(Outgoing::Bytes(message.head));
        self.pieces.extend(message.payloads.into_iter().map(|payload| Outgoing::Buffer(payload.buffer)));
        Ok(())
    }

    /// Accepts bytes that are no message: those of the hello.
    pub(crate) fn push_bytes(&mut self, bytes: Vec<u8>) {
        if !self.over && !bytes.is_empty() {
            self.bytes += bytes.len();
            self.pieces.push_back(Outgoing::Bytes(bytes));
        }
    }

    /// Bytes that the kernel has not taken.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The next submission; none if there is nothing to send or one is out.
    pub(crate) fn plan(&mut self) -> Option<WritePlan> {
        self.plan_of(GATHER_BYTES)
    }

    /// As `plan`: ends with the piece that brings it to so many bytes.
    pub(crate) fn plan_of(&mut self, gather_bytes: usize) -> Option<WritePlan> {
        if self.planned || self.bytes == 0 {
            return None;
        }
        let mut pieces = mem::take(&mut self.spare);
        let mut gathered = 0;
        while gathered < gather_bytes && pieces.len() < GATHER_PIECES {
            let Some(piece) = self.pieces.pop_front() else { break };
            gathered += piece.as_slice().len();
            pieces.push(piece);
        }
        self.planned = true;
        Some(WritePlan { pieces, skip: mem::take(&mut self.skip) })
    }

    /// Takes a plan back of which the kernel has taken so many bytes. Those are dropped, the others queue again.
    pub(crate) fn sent(&mut self, plan: WritePlan, bytes: usize) {
        self.planned = false;
        if self.over {
            return;
        }
        self.bytes -= bytes;
        let mut through = plan.skip + bytes;
        let mut pieces = plan.pieces;
        let whole = pieces
            .iter()
            .take_while(|piece| {
                let length = piece.as_slice().len();
                let taken = length <= through;
                through -= if taken { length } else { 0 };
                taken
            })
            .count();
        self.skip = through;
        for piece in pieces.drain(whole..).rev() {
            self.pieces.push_front(piece);
        }
        pieces.clear();
        self.spare = pieces;
    }

    /// The kernel has taken all of a plan, in another form: its pieces are gone already, but for where they stood.
    pub(crate) fn sent_whole(&mut self, bytes: usize, emptied: Vec<Outgoing>) {
        self.planned = false;
        if !self.over {
            self.bytes -= bytes;
            self.spare = emptied;
        }
    }

    /// Whether to tell now that a message would be taken: one was refused, and half of the queue is free again.
    pub(crate) fn take_writable(&mut self) -> bool {
        self.bytes <= self.bytes_max / 2 && mem::take(&mut self.refused)
    }

    /// Drops everything; nothing more can be sent.
    pub(crate) fn end(&mut self) {
        self.over = true;
        self.refused = false;
        self.bytes = 0;
        self.pieces.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::memory;
    use sluice_plugin::Payload;

    fn message(head: usize, bodies: &[usize]) -> Message {
        let payload = |&bytes: &usize| Payload { buffer: memory(bytes).freeze(), slot: None };
        Message { head: vec![1; head], payloads: bodies.iter().map(payload).collect() }
    }

    fn lengths(plan: &WritePlan) -> Vec<usize> {
        plan.pieces.iter().map(|piece| piece.as_slice().len()).collect()
    }

    #[test]
    fn several_messages_go_with_one_submission() {
        let mut queue = SendQueue::new(10_000);
        queue.push(message(10, &[100, 200])).expect("room");
        queue.push(message(20, &[])).expect("room");
        let plan = queue.plan().expect("something to send");
        assert_eq!(lengths(&plan), [10, 100, 200, 20]);
        assert!(queue.plan().is_none());
        queue.sent(plan, 330);
        assert_eq!(queue.bytes(), 0);
        assert!(queue.plan().is_none());
    }

    #[test]
    fn a_short_submission_goes_on_where_it_stopped() {
        let mut queue = SendQueue::new(10_000);
        queue.push(message(10, &[100, 200])).expect("room");
        let plan = queue.plan().expect("something to send");
        queue.sent(plan, 60);
        let plan = queue.plan().expect("the rest");
        assert_eq!((lengths(&plan), plan.skip), (vec![100, 200], 50));
        queue.sent(plan, 50);
        let plan = queue.plan().expect("the rest");
        assert_eq!((lengths(&plan), plan.skip), (vec![200], 0));
        queue.sent(plan, 200);
        assert!(queue.plan().is_none());
    }

    #[test]
    fn a_full_queue_refuses_and_is_writable_at_its_half() {
        let mut queue = SendQueue::new(1000);
        queue.push(message(600, &[])).expect("room");
        queue.push(message(400, &[])).expect("just room");
        assert_eq!(queue.push(message(1, &[])).expect_err("full").head.len(), 1);
        let plan = queue.plan().expect("something to send");
        queue.sent(plan, 499);
        assert!(!queue.take_writable());
        let plan = queue.plan().expect("the rest");
        queue.sent(plan, 1);
        assert!(queue.take_writable());
        assert!(!queue.take_writable());
    }

    #[test]
    fn an_empty_queue_takes_a_message_of_any_size() {
        let mut queue = SendQueue::new(10);
        queue.push(message(1000, &[])).expect("else it could never be sent");
        queue.push(message(1, &[])).expect_err("full");
    }

    #[test]
    fn submissions_are_bounded() {
        let mut queue = SendQueue::new(usize::MAX);
        (0..GATHER_PIECES + 1).for_each(|_| queue.push(message(1, &[])).expect("room"));
        let plan = queue.plan().expect("something to send");
        assert_eq!(plan.pieces.len(), GATHER_PIECES);
        queue.sent(plan, GATHER_PIECES);
        assert_eq!(queue.bytes(), 1);
    }

    #[test]
    fn an_ended_queue_has_nothing_to_send_and_takes_nothing() {
        let mut queue = SendQueue::new(1000);
        queue.push(message(600, &[])).expect("room");
        let plan = queue.plan().expect("something to send");
        queue.end();
        queue.sent(plan, 10);
        assert!(queue.plan().is_none());
        queue.push(message(1, &[])).expect_err("over");
    }
}
