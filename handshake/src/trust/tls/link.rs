//! One TLS connection without IO.

use std::fmt;
use std::io::{BufRead, ErrorKind, IoSlice, Write};

use rustls::{ClientConnection, Connection, ServerConnection};

use super::identity::ALPN;
use super::opening::{self, Opening};
use super::reason;
use crate::error::HandshakeError;
use crate::piece::Role;

/// What a peer may send until both sides have shown their certificates: many times what honest ones need.
pub const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;

/// One TLS connection without IO: ciphertext in, ciphertext out. Made by [`TlsTrust`](crate::TlsTrust).
///
/// A transport passes what it reads from the socket to [`TlsLink::read`], and after each call of this type sends what
/// [`TlsLink::take_ciphertext`] gives: answers of the TLS handshake, alerts, and what was written. After an error as
/// well: the last bytes tell the peer why. Inside, [`Handshake`](crate::Handshake) runs as it does without TLS.
pub struct TlsLink {
    connection: Connection,
    role: Role,
    opening: Opening,
    /// Ciphertext read before the TLS handshake was over.
    handshake_bytes: usize,
    is_established: bool,
    peer_has_closed: bool,
    /// Plain bytes for a peer that does not speak TLS.
    plain: Vec<u8>,
    failed: Option<HandshakeError>,
}

impl TlsLink {
    pub(super) fn connecting(connection: ClientConnection) -> Self {
        Self::new(Connection::Client(connection), Role::Connecting)
    }

    pub(super) fn accepting(connection: ServerConnection) -> Self {
        Self::new(Connection::Server(connection), Role::Accepting)
    }

    fn new(mut connection: Connection, role: Role) -> Self {
        // What is written here is already bounded, by the transport's queue.
        connection.set_buffer_limit(None);
        Self {
            connection,
            role,
            opening: Opening::Unclear(Vec::new()),
            handshake_bytes: 0,
            is_established: false,
            peer_has_closed: false,
            plain: Vec::new(),
            failed: None,
        }
    }

    /// Takes ciphertext, all of it, and appends the plaintext that it completes. What came in front of an error is
    /// appended as well. An error is final, and is returned again by every later call.
    pub fn read(&mut self, ciphertext: &[u8], plaintext: &mut Vec<u8>) -> Result<(), HandshakeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let read = self.advance(ciphertext, plaintext);
        if let Err(error) = &read {
            if *error == HandshakeError::WantsTls && self.role == Role::Accepting {
                self.plain = opening::refusal(error);
            }
            self.failed = Some(error.clone());
        }
        read
    }

    /// Encrypts the pieces, one behind the other, as one text: many small ones share a record. Ciphertext then lies in
    /// [`TlsLink::take_ciphertext`]. Only once the link [is established](TlsLink::is_established).
    pub fn write(&mut self, plaintext: &[IoSlice<'_>]) {
        assert!(self.is_established, "nothing is said before the peer has shown its certificate");
        let bytes: usize = plaintext.iter().map(|piece| piece.len()).sum();
        let written = self.connection.writer().write_vectored(plaintext);
        assert_eq!(written.ok(), Some(bytes), "a writer without limit takes everything");
    }

    /// Moves all ciphertext that is to be sent to the end of `into`.
    pub fn take_ciphertext(&mut self, into: &mut Vec<u8>) {
        into.append(&mut self.plain);
        while self.speaks_tls() && self.connection.wants_write() {
            self.connection.write_tls(into).expect("writing to a vector does not fail");
        }
    }

    /// Whether there is anything to send.
    pub fn has_ciphertext(&self) -> bool {
        !self.plain.is_empty() || (self.speaks_tls() && self.connection.wants_write())
    }

    /// Whether both TLS handshakes are done as seen from here, so that [`TlsLink::write`] may be called. The accepting
    /// side may still refuse the connecting side's certificate: that arrives as an error of [`TlsLink::read`].
    pub fn is_established(&self) -> bool {
        self.is_established && self.failed.is_none()
    }

    /// Says that nothing follows. Without it the peer cannot tell an end from a cut.
    pub fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// Whether the peer has said that nothing follows. A connection that ends without it was cut off.
    pub fn peer_has_closed(&self) -> bool {
        self.peer_has_closed
    }

    /// A peer that speaks plainly is not answered in TLS.
    fn speaks_tls(&self) -> bool {
        self.failed.is_none() || matches!(self.opening, Opening::Tls)
    }

    fn advance(&mut self, ciphertext: &[u8], plaintext: &mut Vec<u8>) -> Result<(), HandshakeError> {
        if matches!(self.opening, Opening::Tls) {
            return self.feed(ciphertext, plaintext);
        }
        match self.opening.take(self.role, ciphertext)? {
            Some(opening) => self.feed(&opening, plaintext),
            None => Ok(()),
        }
    }

    fn feed(&mut self, mut ciphertext: &[u8], plaintext: &mut Vec<u8>) -> Result<(), HandshakeError> {
        while !ciphertext.is_empty() && !self.peer_has_closed {
            let before = ciphertext.len();
            // An error is a message that is longer than any: the library's own bound, which differs little from ours.
            self.connection.read_tls(&mut ciphertext).map_err(|_| HandshakeError::TlsTooLong)?;
            self.count(before - ciphertext.len())?;
            let state = self.connection.process_new_packets();
            self.establish()?;
            self.take_plaintext(plaintext);
            self.peer_has_closed |= state.map_err(|error| reason::of(&error))?.peer_has_closed();
        }
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), HandshakeError> {
        if !self.is_established {
            self.handshake_bytes += bytes;
            if self.handshake_bytes > HANDSHAKE_BYTES_MAX {
                return Err(HandshakeError::TlsTooLong);
            }
        }
        Ok(())
    }

    fn establish(&mut self) -> Result<(), HandshakeError> {
        if !self.is_established && !self.connection.is_handshaking() {
            // TLS itself lets a client through that names no protocol at all.
            if self.connection.alpn_protocol() != Some(ALPN) {
                return Err(HandshakeError::NotWorker);
            }
            self.is_established = true;
        }
        Ok(())
    }

    fn take_plaintext(&mut self, plaintext: &mut Vec<u8>) {
        let mut reader = self.connection.reader();
        loop {
            match reader.fill_buf() {
                Ok([]) => return,
                Ok(chunk) => {
                    let bytes = chunk.len();
                    plaintext.extend_from_slice(chunk);
                    reader.consume(bytes);
                }
                Err(error) => {
                    debug_assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    return;
                }
            }
        }
    }
}

impl fmt::Debug for TlsLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsLink")
            .field("role", &self.role)
            .field("is_established", &self.is_established)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
