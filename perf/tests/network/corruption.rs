//! A line that changes what it carries: a proxy that knows where messages begin flips one bit.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::JoinHandle;

use sluice_core::{Address, NodeId, ReadError, ReasonCode};
use sluice_transport_tcp::Engine;

use crate::stage::{consume, engines, gate, location, partition, produce, start};

const PREFIX_BYTES: usize = 48;

/// What is changed, once: in the first message from the producer that has enough of it.
#[derive(Clone, Copy, Debug)]
enum Flip {
    Nothing,
    /// A bit of a body.
    Body,
    /// A bit of the frames behind a prefix.
    Frames,
    /// A bit at this place of a prefix.
    Prefix(usize),
    /// The connection ends in the middle of a body.
    Cut,
}

/// Stands between a consumer, which connects to it, and a producer.
fn proxy(producer: &Address, flip: Flip) -> (Address, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = Address(listener.local_addr().expect("it listens").to_string());
    let producer = producer.0.clone();
    let handle = std::thread::spawn(move || {
        let (mut consumer, _) = listener.accept().expect("the consumer comes");
        let mut producer = TcpStream::connect(producer).expect("the producer is there");
        let mut back = (consumer.try_clone().expect("a socket"), producer.try_clone().expect("a socket"));
        let upstream = std::thread::spawn(move || {
            let _ = io::copy(&mut back.0, &mut back.1);
            let _ = back.1.shutdown(Shutdown::Both);
        });
        let _ = forward(&mut producer, &mut consumer, flip);
        let _ = consumer.shutdown(Shutdown::Both);
        let _ = producer.shutdown(Shutdown::Both);
        upstream.join().expect("it only copies");
    });
    (address, handle)
}

fn forward(from: &mut TcpStream, to: &mut TcpStream, flip: Flip) -> io::Result<()> {
    let mut flip = Some(flip);
    loop {
        let mut head = vec![0; 16];
        from.read_exact(&mut head)?;
        if head.starts_with(b"SLUH") {
            let length = usize::from(u16::from_le_bytes([head[8], head[9]]));
            head.resize(length, 0);
            from.read_exact(&mut head[16..])?;
            to.write_all(&head)?;
            continue;
        }
        head.resize(PREFIX_BYTES, 0);
        from.read_exact(&mut head[16..])?;
        let field = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes")) as usize;
        let (head_bytes, body_bytes) = (field(12), field(16));
        head.resize(head_bytes, 0);
        from.read_exact(&mut head[PREFIX_BYTES..])?;
        let mut body = vec![0; body_bytes];
        from.read_exact(&mut body)?;
        if body_bytes > 0 {
            match flip.take().unwrap_or(Flip::Nothing) {
                Flip::Nothing => {}
                Flip::Body => body[body_bytes / 2] ^= 0x10,
                Flip::Frames => head[PREFIX_BYTES + (head_bytes - PREFIX_BYTES) / 2] ^= 1,
                Flip::Prefix(at) => head[at] ^= 0x40,
                Flip::Cut => {
                    to.write_all(&head)?;
                    return to.write_all(&body[..body_bytes / 2]);
                }
            }
        }
        to.write_all(&head)?;
        to.write_all(&body)?;
    }
}

/// Two channels over the proxy, in gates of their own, and a worker beside it: what the three consumers say.
fn read_through(engine: Engine, flip: Flip) -> [Result<Vec<u64>, ReadError>; 3] {
    let (producer, consumer, beside) = (start(1, engine), start(2, engine), start(3, engine));
    let (address, handle) = proxy(&producer.location().address, flip);
    let through = |number| {
        let mut location = location(&producer, number);
        location.address = address.clone();
        location
    };
    let results = std::thread::scope(|scope| {
        // One after the other: the first message with a body is the first partition's.
        let first = producer.create_writer(partition(1), 1).expect("there is memory");
        let mut gates = [
            gate(&consumer, vec![through(1)]),
            gate(&consumer, vec![through(2)]),
            gate(&consumer, vec![location(&beside, 3)]),
        ];
        scope.spawn(move || {
            let mut first = first;
            // Its consumer may be gone before it is through.
            let _ = (0..300).try_for_each(|_| first.write(0, &[1; 3000])).and_then(|()| first.finish());
        });
        let one = loop {
            match gates[0].read() {
                Some(Ok(_)) => {}
                Some(Err(error)) => break Err(error),
                None => break Ok(vec![300]),
            }
        };
        let second = producer.create_writer(partition(2), 1).expect("there is memory");
        let third = beside.create_writer(partition(3), 1).expect("there is memory");
        if matches!(flip, Flip::Nothing | Flip::Body) {
            scope.spawn(move || produce(second, 200));
        }
        scope.spawn(move || produce(third, 200));
        let (two, three) = (consume(&mut gates[1]), consume(&mut gates[2]));
        drop(gates);
        [one, two, three]
    });
    for worker in [producer, consumer, beside] {
        worker.stop();
        assert_eq!(worker.memory_statistics().outstanding_bytes, 0, "{flip:?}");
    }
    handle.join().expect("the proxy ends with its connections");
    results
}

#[test]
fn a_line_that_changes_nothing_is_not_noticed() {
    for engine in engines() {
        assert_eq!(read_through(engine, Flip::Nothing), [Ok(vec![300]), Ok(vec![200]), Ok(vec![200])]);
    }
}

#[test]
fn a_flipped_bit_of_a_payload_fails_its_channel_and_no_other() {
    for engine in engines() {
        let [one, two, three] = read_through(engine, Flip::Body);
        match one {
            Err(ReadError::Corrupt { channel, partition: of, node, .. }) => {
                assert_eq!((channel, of, node), (0, partition(1), NodeId(1)));
            }
            other => panic!("a corrupt block was due, not {other:?}"),
        }
        assert_eq!((two, three), (Ok(vec![200]), Ok(vec![200])));
    }
}

#[test]
fn a_flipped_bit_of_a_head_ends_its_link_and_no_other() {
    for engine in engines() {
        // Magic, checksum, lengths, number of frames, message, acknowledgement, epoch.
        let prefix = [0, 5, 9, 12, 15, 17, 19, 20, 24, 32, 40].map(Flip::Prefix);
        for flip in prefix.into_iter().chain([Flip::Frames, Flip::Cut]) {
            let [one, two, three] = read_through(engine, flip);
            for lost in [one, two] {
                match lost {
                    Err(ReadError::Channel { code, node, text, .. }) => {
                        assert_eq!((code, node), (ReasonCode::WorkerLost, NodeId(1)), "{flip:?}: {text}");
                    }
                    other => panic!("the link is lost, not {other:?} ({flip:?})"),
                }
            }
            assert_eq!(three, Ok(vec![200]), "{flip:?}");
        }
    }
}
