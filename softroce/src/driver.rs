//! Queue pairs on a socket: takes datagrams apart, gives them to whom they are for, and sends what is to be sent.

mod counters;
mod outbox;
mod port;
mod raw;
mod udp;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

pub use counters::DeviceCounters;
use outbox::Outbox;
pub(crate) use port::Port;

use crate::memory::RemoteMemory;
use crate::packet::{Envelope, Packet, QueuePairNumber, seal};
use crate::queue_pair::QueuePair;
use crate::time::Time;

/// A queue pair with where its packets go.
#[derive(Debug)]
pub(crate) struct Connection<M, U> {
    pub(crate) queue_pair: QueuePair<M>,
    /// The peer's address and UDP port.
    pub(crate) peer: SocketAddr,
    /// What its user hangs on it.
    pub(crate) user: U,
    /// It is among those that want to send.
    queued: bool,
}

/// All queue pairs of a socket.
#[derive(Debug)]
pub(crate) struct Driver<M, U> {
    port: Port,
    connections: HashMap<QueuePairNumber, Connection<M, U>>,
    /// Who wants to send, in turn.
    senders: VecDeque<QueuePairNumber>,
    /// Whose user has something to look at.
    touched: Vec<QueuePairNumber>,
    outbox: Outbox,
    counters: DeviceCounters,
    may_have_more: bool,
}

/// What a call of the socket has brought.
struct Received {
    some: bool,
    /// There may be more: all buffers were filled.
    more: bool,
}

/// How many calls of the socket a turn makes before it looks at timers and senders.
const RECEIVE_CALLS_MAX: usize = 4;

/// How many packets a queue pair sends before it is another's turn.
const PACKETS_A_TURN: usize = 32;

impl<M: RemoteMemory, U> Driver<M, U> {
    pub(crate) fn new(port: Port) -> Driver<M, U> {
        Driver {
            port,
            connections: HashMap::new(),
            senders: VecDeque::new(),
            touched: Vec::new(),
            outbox: Outbox::default(),
            counters: DeviceCounters::default(),
            may_have_more: false,
        }
    }

    pub(crate) fn counters(&self) -> DeviceCounters {
        self.counters
    }

    /// Whether a queue pair wants to send.
    pub(crate) fn has_senders(&self) -> bool {
        !self.senders.is_empty()
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.port.fd()
    }

    /// Whether it waits for the socket to take more.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub(crate) fn add(&mut self, queue_pair: QueuePair<M>, user: U) {
        let (number, peer) = (queue_pair.number(), self.port.address());
        self.connections.insert(number, Connection { queue_pair, peer, user, queued: false });
    }

    pub(crate) fn contains(&self, number: QueuePairNumber) -> bool {
        self.connections.contains_key(&number)
    }

    pub(crate) fn remove(&mut self, number: QueuePairNumber) {
        self.connections.remove(&number);
        self.senders.retain(|sender| *sender != number);
    }

    pub(crate) fn connection(&mut self, number: QueuePairNumber) -> Option<&mut Connection<M, U>> {
        self.connections.get_mut(&number)
    }

    pub(crate) fn connections(&mut self) -> impl Iterator<Item = &mut Connection<M, U>> {
        self.connections.values_mut()
    }

    /// Something was done to a queue pair: it may want to send, and may have completions.
    pub(crate) fn touch(&mut self, number: QueuePairNumber) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if !connection.queued && connection.queue_pair.wants_to_transmit() {
            connection.queued = true;
            self.senders.push_back(number);
        }
        if self.touched.last() != Some(&number) {
            self.touched.push(number);
        }
    }

    /// The queue pairs whose users have something to look at.
    pub(crate) fn touched(&mut self) -> Vec<QueuePairNumber> {
        std::mem::take(&mut self.touched)
    }

    /// The earliest time that a queue pair waits for.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.connections.values().filter_map(|connection| connection.queue_pair.next_timeout()).min()
    }

    /// Takes what has arrived and does what is due. Says whether anything arrived. What is to be sent for it is not:
    /// [`transmit`](Self::transmit) does that.
    ///
    /// # Errors
    ///
    /// If the socket is of no use any more.
    pub(crate) fn receive(&mut self, now: Time) -> io::Result<bool> {
        let mut arrived = false;
        for _ in 0..RECEIVE_CALLS_MAX {
            let Received { some, more } = self.receive_once(now)?;
            arrived |= some;
            self.may_have_more = more;
            if !more {
                break;
            }
        }
        self.handle_timeouts(now);
        Ok(arrived)
    }

    /// Whether the socket was not seen empty when it was last asked.
    pub(crate) fn may_have_more(&self) -> bool {
        self.may_have_more
    }

    fn receive_once(&mut self, now: Time) -> io::Result<Received> {
        let Driver { port, connections, senders, touched, counters, .. } = self;
        counters.receive_calls += 1;
        let received = port.receive(|envelope, datagram| {
            counters.packets_received += 1;
            let Some((number, connection)) = deliver(now, &envelope, datagram, connections, counters) else { return };
            if !connection.queued && connection.queue_pair.wants_to_transmit() {
                connection.queued = true;
                senders.push_back(number);
            }
            if touched.last() != Some(&number) {
                touched.push(number);
            }
        });
        match received {
            Ok(more) => Ok(Received { some: true, more }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received { some: false, more: false }),
            // An ICMP message about a packet that was sent: the packet is lost, the socket is not.
            Err(error) if is_about_a_peer(&error) => Ok(Received { some: false, more: true }),
            Err(error) => Err(error),
        }
    }

    fn handle_timeouts(&mut self, now: Time) {
        let due = |connection: &Connection<M, U>| connection.queue_pair.next_timeout().is_some_and(|at| at <= now);
        let numbers: Vec<_> =
            self.connections.iter().filter(|(_, connection)| due(connection)).map(|(number, _)| *number).collect();
        for number in numbers {
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.queue_pair.handle_timeout(now);
            }
            self.touch(number);
        }
    }

    /// Sends what the windows of the queue pairs and the socket allow.
    pub(crate) fn transmit(&mut self, now: Time) {
        loop {
            // What the socket did not take goes first.
            self.outbox.flush(&mut self.port, &mut self.counters);
            if !self.outbox.is_empty() || self.senders.is_empty() {
                return;
            }
            while !self.outbox.is_full() {
                let Some(number) = self.senders.pop_front() else { break };
                self.prepare(now, number);
            }
        }
    }

    /// Takes packets of one queue pair, and puts it at the end of the line if it has more.
    fn prepare(&mut self, now: Time, number: QueuePairNumber) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let packets_max = self.port.batch_packets_max();
        connection.queued = false;
        for _ in 0..PACKETS_A_TURN {
            let start = self.outbox.buffer.len();
            if !connection.queue_pair.poll_transmit(now, &mut self.outbox.buffer) {
                break;
            }
            seal(&self.port.envelope(connection.peer), &mut self.outbox.buffer, start);
            self.outbox.push(connection.peer, start, packets_max);
        }
        self.touch(number);
    }
}

/// Gives a datagram to its queue pair, or counts why not.
fn deliver<'c, M: RemoteMemory, U>(
    now: Time,
    envelope: &Envelope,
    datagram: &[u8],
    connections: &'c mut HashMap<QueuePairNumber, Connection<M, U>>,
    counters: &mut DeviceCounters,
) -> Option<(QueuePairNumber, &'c mut Connection<M, U>)> {
    let packet = match Packet::parse(datagram) {
        Ok(packet) => packet,
        Err(error) => {
            counters.malformed(error);
            return None;
        }
    };
    if !envelope.verify(datagram) {
        counters.dropped_icrc += 1;
        return None;
    }
    let number = packet.base().destination;
    let Some(connection) = connections.get_mut(&number) else {
        counters.dropped_unknown += 1;
        return None;
    };
    match connection.queue_pair.handle_packet(now, envelope.ip.source(), &packet) {
        Ok(()) => Some((number, connection)),
        Err(dropped) => {
            counters.unwanted(dropped);
            None
        }
    }
}

fn is_about_a_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}
