//! What the requester makes of acknowledgements and of responses to READs.

use super::{RNR_RETRIES_FOR_EVER, Requester};
use crate::memory::{RemoteMemory, scatter};
use crate::packet::{Nak, Opcode, Packet, Position, Psn, RnrTimer, Syndrome};
use crate::queue_pair::Core;
use crate::time::Time;
use crate::work::Status;

impl Requester {
    /// Understands a packet of the responder.
    ///
    /// # Errors
    ///
    /// If the oldest request has failed for good.
    pub(in crate::queue_pair) fn handle_answer<M: RemoteMemory>(
        &mut self,
        now: Time,
        packet: &Packet<'_>,
        core: &mut Core<M>,
    ) -> Result<(), Status> {
        let psn = packet.base().psn;
        // IBTA vol. 1, 9.7.6.1: an answer to what was answered before, or never asked, is dropped without a trace.
        if psn.is_before(self.unacknowledged) || !psn.is_before(self.sent_through) {
            core.counters.stale_answers += 1;
            return Ok(());
        }
        self.understand(now, packet, core)?;
        self.fail_if_broken()
    }

    fn understand<M: RemoteMemory>(
        &mut self,
        now: Time,
        packet: &Packet<'_>,
        core: &mut Core<M>,
    ) -> Result<(), Status> {
        let psn = packet.base().psn;
        let syndrome = packet.headers.acknowledge.map_or(Syndrome::ACK, |acknowledge| acknowledge.syndrome);
        match (packet.base().opcode, syndrome) {
            (Opcode::ReadResponse(position), Syndrome::Ack(_)) => {
                self.read_response(now, psn, position, packet.payload, core)
            }
            // A reserved syndrome (IBTA vol. 1, 9.7.5.2), or a response that is a NAK.
            (Opcode::ReadResponse(_), _) | (_, Syndrome::Reserved(_)) => Err(Status::BadResponse),
            (_, Syndrome::Ack(_)) => self.acknowledged_before(now, psn.plus(1), core).map(|_of_use| ()),
            (_, Syndrome::ReceiverNotReady(timer)) => self.receiver_not_ready(now, psn, timer, core),
            (_, Syndrome::Nak(nak)) => self.refused(now, psn, nak, core),
        }
    }

    /// An answer to `psn` acknowledges everything before it (IBTA vol. 1, 9.7.2), but a READ only by its responses: if
    /// one of those is missing it is asked for again, and the answer is of no use. Says whether it is of use.
    fn acknowledged_before<M>(&mut self, now: Time, psn: Psn, core: &mut Core<M>) -> Result<bool, Status> {
        while self.unacknowledged.is_before(psn) {
            let front = self.queue.front().expect("what was sent and not acknowledged is in the queue");
            if front.is_read() {
                return self.response_missing(core).map(|()| false);
            }
            let left = front.packets - self.progress();
            let packets = psn.distance_from(self.unacknowledged).cast_unsigned().min(left);
            self.advance(now, packets, core);
        }
        Ok(true)
    }

    /// The oldest request has come `packets` further.
    fn advance<M>(&mut self, now: Time, packets: u32, core: &mut Core<M>) {
        self.unacknowledged = self.unacknowledged.plus(packets);
        self.window.advance(packets);
        self.retries_left = self.attributes.retries_max;
        self.rnr_retries_left = self.attributes.rnr_retries_max;
        (self.asked_again, self.not_ready_until) = (None, None);
        let progress = self.progress();
        if self.queue.front().is_some_and(|front| progress >= front.packets) {
            let done = self.queue.pop_front().expect("it was looked at just now");
            core.complete(done.completion(Status::Success));
            match self.cursor.entry.checked_sub(1) {
                Some(entry) => self.cursor.entry = entry,
                // It was to be sent again, and need not be.
                None => self.cursor.packet = 0,
            }
        } else if self.cursor.entry == 0 {
            self.cursor.packet = self.cursor.packet.max(progress);
        }
        let waiting = self.unacknowledged.is_before(self.cursor_psn());
        self.deadline = self.attributes.timeout.filter(|_| waiting).map(|timeout| now.after(timeout));
    }

    /// A response to a READ is missing: an implied NAK (IBTA vol. 1, 9.7.2 and 9.9.2.1).
    fn response_missing<M>(&mut self, core: &mut Core<M>) -> Result<(), Status> {
        if self.asked_again == Some(self.unacknowledged) {
            return Ok(());
        }
        self.asked_again = Some(self.unacknowledged);
        core.counters.responses_missing += 1;
        self.window.shrink();
        self.retry(core)
    }

    fn read_response<M: RemoteMemory>(
        &mut self,
        now: Time,
        psn: Psn,
        position: Position,
        payload: &[u8],
        core: &mut Core<M>,
    ) -> Result<(), Status> {
        if !self.acknowledged_before(now, psn, core)? {
            return Ok(());
        }
        let progress = self.progress();
        let front = self.queue.front().expect("its number was sent and is not acknowledged");
        if !front.is_read() {
            return Err(Status::BadResponse);
        }
        let piece_end = front.piece_end(progress);
        let (offset, bytes) = front.payload(progress, core.mtu());
        // IBTA vol. 1, 9.7.6.1: lengths must be those that were asked for. Where a response starts is not looked at:
        // what was asked for again starts in the middle.
        if payload.len() != bytes || position.ends() != (progress + 1 == piece_end) {
            return Err(Status::BadResponse);
        }
        if bytes > 0 {
            scatter(&core.memory, &front.request.local, u64::from(offset), payload)
                .map_err(|_| Status::LocalProtection)?;
        }
        if progress + 1 == piece_end && self.reads.front() == Some(&psn.plus(1)) {
            self.reads.pop_front();
        }
        self.advance(now, 1, core);
        Ok(())
    }

    fn receiver_not_ready<M>(
        &mut self,
        now: Time,
        psn: Psn,
        timer: RnrTimer,
        core: &mut Core<M>,
    ) -> Result<(), Status> {
        if !self.acknowledged_before(now, psn, core)? || self.not_ready_until.is_some() {
            return Ok(());
        }
        core.counters.rnr_naks_received += 1;
        if self.attributes.rnr_retries_max < RNR_RETRIES_FOR_EVER {
            self.rnr_retries_left = self.rnr_retries_left.checked_sub(1).ok_or(Status::RnrRetryExceeded)?;
        }
        // IBTA vol. 1, 9.7.5.2.8: not before the time that the responder says.
        self.wait_for_receiver(now, timer.delay());
        Ok(())
    }

    fn refused<M>(&mut self, now: Time, psn: Psn, nak: Nak, core: &mut Core<M>) -> Result<(), Status> {
        if !self.acknowledged_before(now, psn, core)? {
            return Ok(());
        }
        match nak {
            Nak::SequenceError => {
                core.counters.sequence_naks_received += 1;
                self.window.shrink();
                self.retry(core)
            }
            Nak::InvalidRequest => Err(Status::RemoteInvalidRequest),
            Nak::RemoteAccess => Err(Status::RemoteAccess),
            Nak::RemoteOperation => Err(Status::RemoteOperation),
        }
    }
}
