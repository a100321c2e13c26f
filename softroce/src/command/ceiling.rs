//! Plain UDP with the same packets and batches: what no transport above it can exceed.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use socket2::SockRef;

use super::Result;
use super::conversation::{Conversation, Line};
use super::session::cpu_time;

/// As the driver's: in each call as many datagrams as one could hold.
const BATCH_BYTES: usize = 63_000;
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
const SLEEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// What arrived.
pub(super) struct Throughput {
    pub(super) bytes_per_second: f64,
    /// CPU of both sides for a datagram that arrived.
    pub(super) cpu_per_packet: Duration,
}

fn open(conversation: &Conversation) -> Result<(UdpSocket, UdpSocketState)> {
    let socket = UdpSocket::bind(SocketAddr::new(conversation.address()?, 0))?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    // Past the system's limits if that is allowed, as the device does.
    if set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER_BYTES).is_err() {
        SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    }
    SockRef::from(&socket).set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    Ok((socket, state))
}

/// Sends as fast as it can; what counts is what arrives. `batches` are the packets of a call, call by call, again and
/// again; more than a call takes are sent by several.
pub(super) fn flood(
    conversation: &mut Conversation,
    packet_bytes: usize,
    batches: &[usize],
    time: Duration,
) -> Result<Throughput> {
    let (socket, state) = open(conversation)?;
    conversation.say("udp")?;
    let destination: SocketAddr = conversation.hear()?.value("device")?;
    let most = (BATCH_BYTES / packet_bytes).min(state.max_gso_segments()).max(1);
    let contents = vec![0; most * packet_bytes];
    let mut calls = batches.iter().copied().cycle();
    let mut left = 0;
    let (started, cpu) = (Instant::now(), cpu_time());
    while started.elapsed() < time {
        if left == 0 {
            left = calls.next().ok_or("there is a batch")?;
        }
        let packets = left.min(most);
        let contents = &contents[..packets * packet_bytes];
        let segment_size = (packets > 1).then_some(packet_bytes);
        let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
        match state.try_send(UdpSockRef::from(&socket), &transmit) {
            Ok(()) => left -= packets,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&SLEEP)).map_err(io::Error::from)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let cpu = cpu_time() - cpu;
    conversation.say("done")?;
    let line = conversation.hear()?;
    let (bytes, packets): (f64, u32) = (line.value("bytes")?, line.value("packets")?);
    let (nanos, theirs): (f64, u64) = (line.value("nanos")?, line.value("cpu")?);
    let cpu_per_packet = (cpu + Duration::from_nanos(theirs)) / packets.max(1);
    Ok(Throughput { bytes_per_second: bytes / nanos.max(1.0) * 1e9, cpu_per_packet })
}

/// The other side of [`flood`].
pub(super) fn drain(conversation: &mut Conversation) -> Result<()> {
    let (socket, state) = open(conversation)?;
    conversation.say(&format!("ok device={}", socket.local_addr()?))?;
    const BUFFERS: usize = 8;
    let mut memory = vec![0; BUFFERS << 16];
    let (mut bytes, mut packets, cpu) = (0, 0u32, cpu_time());
    let mut first_and_last: Option<(Instant, Instant)> = None;
    loop {
        let mut chunks = memory.chunks_mut(1 << 16).map(IoSliceMut::new);
        let mut buffers: [IoSliceMut<'_>; BUFFERS] =
            std::array::from_fn(|_| chunks.next().expect("there is memory for each"));
        let mut meta = [RecvMeta::default(); BUFFERS];
        match state.recv(UdpSockRef::from(&socket), &mut buffers, &mut meta) {
            Ok(filled) => {
                for meta in &meta[..filled] {
                    bytes += meta.len;
                    packets += meta.len.div_ceil(meta.stride.max(1)) as u32;
                }
                let now = Instant::now();
                first_and_last = Some((first_and_last.map_or(now, |(first, _)| first), now));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let ready = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&SLEEP)).map_err(io::Error::from)?;
                if ready == 0 && conversation.has_spoken()? {
                    break;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    conversation.hear()?;
    let nanos = first_and_last.map_or(0, |(first, last)| (last - first).as_nanos());
    let cpu = (cpu_time() - cpu).as_nanos();
    conversation.say(&format!("ok bytes={bytes} packets={packets} nanos={nanos} cpu={cpu}"))
}

/// The time of each round trip of a datagram.
pub(super) fn round_trips(conversation: &mut Conversation, bytes: u32, count: u32) -> Result<Vec<Duration>> {
    let socket = UdpSocket::bind(SocketAddr::new(conversation.address()?, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    conversation.say(&format!("udp-echo count={count}"))?;
    socket.connect(conversation.hear()?.value::<SocketAddr>("device")?)?;
    let (message, mut received) = (vec![0; bytes as usize], vec![0; bytes as usize]);
    let mut times = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let started = Instant::now();
        socket.send(&message)?;
        socket.recv(&mut received)?;
        times.push(started.elapsed());
    }
    Ok(times)
}

/// The other side of [`round_trips`].
pub(super) fn echo(conversation: &mut Conversation, line: &Line) -> Result<()> {
    let socket = UdpSocket::bind(SocketAddr::new(conversation.address()?, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    conversation.say(&format!("ok device={}", socket.local_addr()?))?;
    let mut buffer = [0; 1 << 16];
    for _ in 0..line.value("count")? {
        let (bytes, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..bytes], from)?;
    }
    Ok(())
}
