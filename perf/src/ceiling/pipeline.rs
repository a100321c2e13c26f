//! The bare pipeline: only what no engine can avoid, between two processes with a blocking socket.
use std::io::{self, IoSlice, Read, Write};

use super::{
    CeilingError, Limit, Records, WriteSize,
    block::BLOCK_BYTES,
    job::Clock,
    pack::{Packer, Sink},
    unpack::Unpacker,
};
use crate::{
    digest::Digest,
    input::{Batch, Input, InputError},
};

impl WriteSize {
    fn blocks(self) -> usize {
        match self {
            WriteSize::KiB32 => 1,
            WriteSize::KiB256 => 8,
        }
    }
}

/// Feeds `packer` from one producer's records, again and again, until the limit; how much payload.
pub(super) fn pump<S: Sink>(
    input: &Input,
    producer: u32,
    packer: &mut Packer<S>,
    clock: &Clock,
    limit: Limit,
) -> Result<u64, CeilingError> {
    let mut batch = Batch::default();
    let mut source = input.source(producer)?;
    let mut sent = 0;
    while !clock.has_reached(limit, sent) {
        if !source.fill(&mut batch)? {
            if sent == 0 {
                return Err(InputError::Setting("the input has no records to measure with".into()).into());
            }
            source = input.source(producer)?;
            continue;
        }
        sent += batch.payload_bytes();
        packer.add(&batch)?;
    }
    Ok(sent)
}

/// Sends until the limit; how much payload, and what went to each target.
pub(super) fn send(
    socket: &mut impl Write,
    input: &Input,
    records: &Records,
    write: WriteSize,
    clock: &Clock,
    limit: Limit,
) -> Result<(u64, Vec<Digest>), CeilingError> {
    let mut packer = Packer::new(records.targets, write.blocks(), SocketSink(socket));
    let sent = pump(input, 0, &mut packer, clock, limit)?;
    let (_, digests) = packer.finish()?;
    Ok((sent, digests))
}

/// Receives to the end; what came for each target.
pub(super) fn receive(
    socket: &mut impl Read,
    records: &Records,
    write: WriteSize,
) -> Result<Vec<Digest>, CeilingError> {
    let mut unpacker = Unpacker::new(records.targets);
    let mut bytes = vec![0; write.blocks() * BLOCK_BYTES];
    let (mut filled, mut checked) = (0, 0);
    loop {
        let length = socket.read(&mut bytes[filled..])?;
        if length == 0 && filled == checked {
            return Ok(unpacker.finish());
        }
        if length == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        filled += length;
        while filled - checked >= BLOCK_BYTES {
            unpacker.block(&bytes[checked..][..BLOCK_BYTES]).map_err(io::Error::other)?;
            checked += BLOCK_BYTES;
        }
        if checked == bytes.len() {
            (filled, checked) = (0, 0);
        }
    }
}

/// Writes all blocks with one call, where the socket takes them.
struct SocketSink<'a, W>(&'a mut W);

impl<W: Write> Sink for SocketSink<'_, W> {
    fn take(&mut self, blocks: &[Vec<u8>]) -> io::Result<()> {
        let mut slices: Vec<_> = blocks.iter().map(|block| IoSlice::new(block)).collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            match self.0.write_vectored(rest)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => IoSlice::advance_slices(&mut rest, written),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        thread,
    };

    use super::*;
    use crate::input::InputSpec;

    #[test]
    fn both_ends_agree_for_both_sizes_of_writes() {
        let input = InputSpec::Random { bytes: 100_000, record_bytes: 777, skew: 1.0, seed: 3 };
        let records = Records { input, targets: 5 };
        for write in [WriteSize::KiB32, WriteSize::KiB256] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut peer = listener.accept().unwrap().0;
            thread::scope(|scope| {
                let receiver = scope.spawn(|| receive(&mut peer, &records, write).unwrap());
                let input = Input::prepare(&records.input, 1, records.targets).unwrap();
                let limit = Limit::Bytes(3_000_000);
                let (bytes, sent) = send(&mut socket, &input, &records, write, &Clock::start(), limit).unwrap();
                drop(socket);
                assert!(bytes >= 3_000_000);
                assert_eq!(receiver.join().unwrap(), sent);
            });
        }
    }

    #[test]
    fn an_empty_input_is_an_error_and_not_an_endless_loop() {
        let input = InputSpec::Random { bytes: 0, record_bytes: 100, skew: 0.0, seed: 3 };
        let records = Records { input, targets: 1 };
        let input = Input::prepare(&records.input, 1, 1).unwrap();
        let sent = send(&mut io::sink(), &input, &records, WriteSize::KiB32, &Clock::start(), Limit::Bytes(1));
        assert!(sent.unwrap_err().to_string().contains("no records"));
    }
}
