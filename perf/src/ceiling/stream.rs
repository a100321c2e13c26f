//! The plain stream: what the socket carries when nothing is made, checked or looked at.
use std::io::{self, Read, Write};

use super::{Limit, job::Clock};

const WRITE_BYTES: usize = 256 * 1024;

/// Writes until the limit; how much.
pub(super) fn send(socket: &mut impl Write, clock: &Clock, limit: Limit) -> io::Result<u64> {
    let bytes = vec![0x5a; WRITE_BYTES];
    let mut sent = 0;
    while !clock.has_reached(limit, sent) {
        socket.write_all(&bytes)?;
        sent += bytes.len() as u64;
    }
    Ok(sent)
}

/// Reads to the end; how much.
pub(super) fn receive(socket: &mut impl Read) -> io::Result<u64> {
    let mut bytes = vec![0; WRITE_BYTES];
    let mut received = 0;
    loop {
        match socket.read(&mut bytes)? {
            0 => return Ok(received),
            length => received += length as u64,
        }
    }
}
