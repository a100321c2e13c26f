//! One handshake, from the first byte to what both sides agree on.

mod offer;
mod proof;

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use sluice_protocol::{Incarnation, Lane, Limits, LinkEpoch, NodeId};

use crate::error::HandshakeError;
use crate::local::{Features, LocalNode};
use crate::piece::{self, Challenge, Content, Hello, Piece, Role};
use crate::refusal::RefusalCode;
use crate::trust::Nonce;

/// What both sides have agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Who is at the other end.
    pub peer: NodeId,
    /// Which life of it.
    pub peer_incarnation: Incarnation,
    /// The session that the link belongs to; the connecting side has chosen it.
    pub session: u64,
    /// Which connection of the session it is.
    pub epoch: LinkEpoch,
    /// Which of the parallel links it is.
    pub lane: Lane,
    /// What both sides can keep.
    pub limits: Limits,
    /// The version of the wire: the highest that both speak.
    pub version: u16,
    /// The features that both offer.
    pub features: u64,
}

/// The set-up of one connection. See the crate's documentation for the loop that runs it.
#[derive(Debug)]
pub struct Handshake {
    local: LocalNode,
    role: Role,
    /// What this side asks for; the accepting side takes it from the peer.
    asked: Option<Asked>,
    nonce: Nonce,
    /// What proofs of the shared secret cover, as far as it was said: both hellos, the connecting side's first.
    transcript: Vec<u8>,
    received: Vec<u8>,
    transmits: VecDeque<Vec<u8>>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    expected: Option<NodeId>,
    session: u64,
    epoch: LinkEpoch,
    lane: Lane,
}

#[derive(Debug)]
enum Stage {
    Hello,
    /// Accepting: answered; the connecting side may still refuse.
    Ready(Agreed),
    Done(Agreed),
    Failed(HandshakeError),
}

impl Handshake {
    /// The side that opened the connection. With `expected_peer`, any other node that answers is refused.
    pub fn connect(
        local: &LocalNode,
        expected_peer: Option<NodeId>,
        session: u64,
        epoch: LinkEpoch,
        lane: Lane,
        nonce: Nonce,
    ) -> Self {
        assert!(epoch.0 > 0, "link epochs count from 1");
        let asked = Asked { expected: expected_peer, session, epoch, lane };
        let mut handshake = Self::new(local, Role::Connecting, Some(asked), nonce);
        let hello =
            offer::hello(local, asked, local.limits, local.features, nonce).encode(Role::Connecting, &local.versions);
        handshake.note(Role::Connecting, &hello);
        handshake.transmits.push_back(hello);
        handshake
    }

    /// The side that the connection was opened to. Nothing goes out before the peer has said its hello.
    pub fn accept(local: &LocalNode, nonce: Nonce) -> Self {
        Self::new(local, Role::Accepting, None, nonce)
    }

    fn new(local: &LocalNode, role: Role, asked: Option<Asked>, nonce: Nonce) -> Self {
        let (transcript, received, transmits) = (Vec::new(), Vec::new(), VecDeque::new());
        Self { local: local.clone(), role, asked, nonce, transcript, received, transmits, stage: Stage::Hello }
    }

    /// How many bytes to read next: exactly these belong to the handshake. 0 when it is over.
    pub fn bytes_wanted(&self) -> usize {
        match self.stage {
            Stage::Done(_) | Stage::Failed(_) => 0,
            Stage::Hello | Stage::Ready(_) => {
                piece::length(&self.received).unwrap_or(piece::PREFIX_BYTES).saturating_sub(self.received.len())
            }
        }
    }

    /// Takes bytes from the peer and says how many: at most to the end of one piece, never what belongs to the first
    /// message. While `bytes_wanted` is not 0, what is left is to be passed again.
    ///
    /// An error is final, and is returned again by every later call. `poll_transmit` may then have a refusal.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<usize, HandshakeError> {
        let consumed = self.advance(bytes);
        if let Err(error) = &consumed
            && !matches!(self.stage, Stage::Failed(_))
        {
            self.fail(error.clone());
        }
        consumed
    }

    /// Bytes to send, in order.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// What both sides have agreed on, once both have said so.
    pub fn outcome(&self) -> Option<&Agreed> {
        if let Stage::Done(agreed) = &self.stage { Some(agreed) } else { None }
    }

    /// What is agreed unless the connecting side refuses. Accepting, this is the moment to [`Handshake::decline`]:
    /// before `poll_transmit`.
    pub fn proposal(&self) -> Option<&Agreed> {
        if let Stage::Ready(agreed) | Stage::Done(agreed) = &self.stage { Some(agreed) } else { None }
    }

    /// The engine does not want this link: a second one between the same nodes, an old epoch, a node that shuts down.
    /// Tells the peer `text` in place of whatever was not sent yet.
    pub fn decline(&mut self, text: &str) {
        if !matches!(self.stage, Stage::Failed(_)) {
            self.fail(HandshakeError::Declined { text: text.to_owned() });
        }
    }

    fn fail(&mut self, error: HandshakeError) {
        if let Some(code) = error.refusal() {
            let text = if let HandshakeError::Declined { text } = &error { text.clone() } else { error.to_string() };
            self.transmits.clear();
            self.transmits.push_back(piece::encode_refused(self.role, &self.local.versions, code, &text));
        }
        self.stage = Stage::Failed(error);
        self.received = Vec::new();
    }

    fn advance(&mut self, bytes: &[u8]) -> Result<usize, HandshakeError> {
        let mut consumed = 0;
        loop {
            if let Stage::Failed(error) = &self.stage {
                return Err(error.clone());
            }
            let wanted = self.bytes_wanted().min(bytes.len() - consumed);
            if wanted == 0 {
                return Ok(consumed);
            }
            self.received.extend_from_slice(&bytes[consumed..consumed + wanted]);
            consumed += wanted;
            let length = piece::length(&self.received)?;
            if self.received.len() >= piece::PREFIX_BYTES && self.received.len() == length {
                let received = std::mem::take(&mut self.received);
                self.handle_piece(&piece::decode(&received)?, &received)?;
                return Ok(consumed);
            }
        }
    }

    fn handle_piece(&mut self, piece: &Piece<'_>, received: &[u8]) -> Result<(), HandshakeError> {
        match (&piece.content, &self.stage) {
            (Content::Refused(RefusalCode::Version, _), _) if self.common_version(&piece.versions).is_none() => {
                // Said by its fixed part, which any version can read.
                let (local, peer) = (self.local.versions.clone(), piece.versions.clone());
                let error = HandshakeError::Version { local, peer };
                // Not by `fail`: who has refused need not be told.
                self.stage = Stage::Failed(error.clone());
                Err(error)
            }
            (Content::Refused(code, text), _) => Err(HandshakeError::Refused { code: *code, text: text.clone() }),
            (Content::Hello(bytes), Stage::Hello) => {
                let version = self.common_version(&piece.versions).ok_or_else(|| HandshakeError::Version {
                    local: self.local.versions.clone(),
                    peer: piece.versions.clone(),
                })?;
                let other = if self.role == Role::Connecting { Role::Accepting } else { Role::Connecting };
                if !piece.is_from(other) {
                    return Err(HandshakeError::Role);
                }
                let hello = Hello::decode(bytes)?;
                match self.asked {
                    Some(asked) => self.handle_answer(&hello, asked, &piece.versions, received),
                    None => self.handle_question(&hello, version, received),
                }
            }
            (Content::Ready(proof), Stage::Ready(agreed)) => {
                self.check_proof(Role::Connecting, proof.as_ref())?;
                self.stage = Stage::Done(agreed.clone());
                Ok(())
            }
            _ => Err(HandshakeError::Corrupt { what: "a piece out of turn" }),
        }
    }

    fn common_version(&self, peer: &RangeInclusive<u16>) -> Option<u16> {
        let (min, max) = (*self.local.versions.start(), *self.local.versions.end());
        let highest = max.min(*peer.end());
        (highest >= min.max(*peer.start())).then_some(highest)
    }

    fn handle_question(&mut self, hello: &Hello, version: u16, question: &[u8]) -> Result<(), HandshakeError> {
        self.check_peer(hello, hello.expected.map(|expected| (expected, self.local.node)))?;
        self.check_offer(hello)?;
        let asked = Asked { expected: Some(hello.node), session: hello.session, epoch: hello.epoch, lane: hello.lane };
        let agreed = self.agreed(hello, self.local.limits.both(hello.limits), version);
        let features = Features { offered: agreed.features, ..self.local.features };
        let mut answer = offer::hello(&self.local, asked, agreed.limits, features, self.nonce);
        let versions = version..=version;
        self.note(Role::Connecting, question);
        self.note(Role::Accepting, &answer.encode(Role::Accepting, &versions));
        answer.challenge.proof = self.proof().unwrap_or(Challenge::NONE.proof);
        self.transmits.push_back(answer.encode(Role::Accepting, &versions));
        self.stage = Stage::Ready(agreed);
        Ok(())
    }

    fn handle_answer(
        &mut self,
        hello: &Hello,
        asked: Asked,
        versions: &RangeInclusive<u16>,
        answer: &[u8],
    ) -> Result<(), HandshakeError> {
        self.check_peer(hello, asked.expected.map(|expected| (expected, hello.node)))?;
        // Before anything is shown to the peer, and before what it says is looked at any closer.
        self.note(Role::Accepting, answer);
        self.check_proof(Role::Accepting, Some(&hello.challenge.proof))?;
        self.check_offer(hello)?;
        let answered = |right: bool, what| if right { Ok(()) } else { Err(HandshakeError::Answer { what }) };
        answered(versions.start() == versions.end(), "version")?;
        answered(hello.expected == Some(self.local.node), "node")?;
        answered(hello.session == asked.session, "session")?;
        answered(hello.epoch == asked.epoch, "link epoch")?;
        answered(hello.lane == asked.lane, "lane")?;
        answered(hello.limits == hello.limits.both(self.local.limits), "limits")?;
        answered(hello.features.offered & !self.local.features.offered == 0, "features")?;
        self.stage = Stage::Done(self.agreed(hello, hello.limits, *versions.start()));
        self.transmits.push_back(piece::encode_ready(Role::Connecting, versions, self.proof()));
        Ok(())
    }
}
