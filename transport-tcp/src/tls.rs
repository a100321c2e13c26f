//! TLS between a link's stream and its connection: no IO.
//!
//! Inbound, ciphertext arrives in a place of its own; what it holds is decrypted and copied to where it belongs: the
//! copy that a link without TLS does not have. Outbound, what is queued is encrypted a batch at a time, when the kernel
//! has all of the batch before. A batch's buffers are released as soon as it is encrypted, yet it counts as queued until
//! its ciphertext is sent. So the bound of a link stays what it is without TLS: `send_queue_bytes` in plaintext and
//! ciphertext, 22 bytes for each 16 KiB of the latter, and one place for what arrives.

use std::io::IoSlice;
use std::mem;

use sluice_handshake::{HandshakeError, TlsLink};
use sluice_uring::Outgoing;

use crate::framing::ReadPlan;
use crate::send_queue::{SendQueue, WritePlan};

/// A flight of a TLS handshake is some KiB.
const HELLO_PLACE: usize = 4 * 1024;
/// Four of TLS's largest records. More would leave the cache before it is decrypted.
const PLACE: usize = 64 * 1024;
/// Encrypted at a time: from so much on the cost of a submission no longer shows, and it still is in the cache when the
/// kernel copies it.
const BATCH_BYTES: usize = 256 * 1024;
/// What the TLS library holds of it at a time, in memory of its own: four of its largest records. With much more the
/// allocator returns that memory to the system, and gets it back page by page: a tenth of the time.
const PART_BYTES: usize = 64 * 1024;

pub(crate) struct Tls {
    session: TlsLink,
    /// Where ciphertext arrives; empty while a plan has it.
    place: Vec<u8>,
    /// The submission whose ciphertext the kernel has not taken.
    lent: Lent,
    batch: Option<Batch>,
    /// For the next ciphertext.
    spare: Vec<u8>,
    /// It is said, behind all else, that nothing follows.
    is_closed: bool,
    is_over: bool,
}

enum Lent {
    Nothing,
    Out,
    /// With a part unsent.
    Back(WritePlan),
}

/// What of the queue is encrypted and not all sent.
struct Batch {
    bytes: usize,
    /// Where its pieces stood: kept for its capacity.
    emptied: Vec<Outgoing>,
}

impl Tls {
    pub(crate) fn new(session: TlsLink) -> Self {
        let (place, spare) = (Vec::new(), Vec::new());
        Self { session, place, lent: Lent::Nothing, batch: None, spare, is_closed: false, is_over: false }
    }

    /// Where ciphertext goes.
    pub(crate) fn read_plan(&mut self, is_up: bool) -> ReadPlan {
        let mut place = mem::take(&mut self.place);
        place.resize(if is_up { PLACE } else { HELLO_PLACE }, 0);
        ReadPlan::bytes(place)
    }

    /// Decrypts what has arrived. Also after a mistake of the peer there may be plaintext, and something to send.
    pub(crate) fn open(
        &mut self,
        mut plan: ReadPlan,
        bytes: usize,
        plaintext: &mut Vec<u8>,
    ) -> Result<(), HandshakeError> {
        let place = plan.pop_bytes().expect("ciphertext has one place");
        plaintext.clear();
        let opened = self.session.read(&place[..bytes], plaintext);
        self.place = place;
        opened
    }

    /// Nothing more comes from the peer.
    pub(crate) fn peer_has_closed(&self) -> bool {
        self.session.peer_has_closed()
    }

    /// The next submission. `is_last`: nothing follows what is queued.
    pub(crate) fn write_plan(&mut self, queue: &mut SendQueue, is_last: bool) -> Option<WritePlan> {
        if self.is_over {
            return None;
        }
        match mem::replace(&mut self.lent, Lent::Out) {
            Lent::Back(plan) => return Some(plan),
            Lent::Out => return None,
            Lent::Nothing => {}
        }
        let mut ciphertext = mem::take(&mut self.spare);
        self.seal(queue, is_last, &mut ciphertext);
        self.session.take_ciphertext(&mut ciphertext);
        if ciphertext.is_empty() {
            self.lent = Lent::Nothing;
            return None;
        }
        Some(WritePlan { pieces: vec![Outgoing::Bytes(ciphertext)], skip: 0 })
    }

    /// Encrypts the next batch of the queue; behind the last one, that it was the last.
    fn seal(&mut self, queue: &mut SendQueue, is_last: bool, ciphertext: &mut Vec<u8>) {
        if !self.session.is_established() || self.is_closed {
            return;
        }
        if let Some(WritePlan { mut pieces, .. }) = queue.plan_of(BATCH_BYTES) {
            let bytes = pieces.iter().map(|piece| piece.as_slice().len()).sum::<usize>();
            ciphertext.reserve(bytes + bytes / 64);
            for part in parts(&pieces) {
                self.session.write(&part);
                self.session.take_ciphertext(ciphertext);
            }
            // Encrypted: the memory may be used again.
            pieces.clear();
            self.batch = Some(Batch { bytes, emptied: pieces });
        } else if is_last {
            self.session.close();
            self.is_closed = true;
        }
    }

    /// Takes a submission back of which the kernel has taken so many bytes.
    pub(crate) fn sent(&mut self, mut plan: WritePlan, bytes: usize, queue: &mut SendQueue) {
        plan.skip += bytes;
        if plan.bytes() > 0 {
            self.lent = Lent::Back(plan);
            return;
        }
        self.lent = Lent::Nothing;
        if let Some(Batch { bytes, emptied }) = self.batch.take() {
            queue.sent_whole(bytes, emptied);
        }
        // For the batch that follows at once. Links that pause do not each keep one.
        if queue.bytes() > 0
            && let Some(Outgoing::Bytes(mut ciphertext)) = plan.pieces.pop()
        {
            ciphertext.clear();
            self.spare = ciphertext;
        }
    }

    /// Nothing can be sent any more.
    pub(crate) fn end_sending(&mut self) {
        (self.lent, self.batch, self.spare) = (Lent::Nothing, None, Vec::new());
        self.is_over = true;
    }

    /// Whether there is ciphertext to send, or the kernel has some.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.is_over && (!matches!(self.lent, Lent::Nothing) || self.session.has_ciphertext())
    }

    /// Whether the peer is told that nothing follows, or never will be.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed || self.is_over || !self.session.is_established()
    }
}

/// The same bytes in parts of `PART_BYTES`, and what is left.
fn parts(pieces: &[Outgoing]) -> Vec<Vec<IoSlice<'_>>> {
    let (mut parts, mut part, mut room) = (Vec::new(), Vec::new(), PART_BYTES);
    for piece in pieces {
        let mut bytes = piece.as_slice();
        while !bytes.is_empty() {
            let (taken, left) = bytes.split_at(bytes.len().min(room));
            part.push(IoSlice::new(taken));
            (bytes, room) = (left, room - taken.len());
            if room == 0 {
                parts.push(mem::take(&mut part));
                room = PART_BYTES;
            }
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests;
