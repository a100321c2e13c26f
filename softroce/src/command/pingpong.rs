//! Messages to and fro, compatible with `ibv_rc_pingpong`: the exchange over TCP before the game is its own.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_softroce::packet::{Psn, QueuePairNumber, ROCE_PORT};
use sluice_softroce::queue_pair::Capabilities;
use sluice_softroce::verbs::{
    CompletionQueue, Connect, Device, DeviceConfig, Drive, Endpoint, HeapMemory, MemoryRegion, Permissions, QueuePair,
};
use sluice_softroce::work::{CompletionKind, Operation, ReceiveRequest, SendRequest, Status};

use super::{Pingpong, Result, print};

/// What the other tool fills its messages with. The first byte of a page can be zero: it is, if that tool is asked to
/// check what it receives.
const CONTENT: u8 = 0x7B;
const PAGE_BYTES: usize = 4096;
const RECEIVES: usize = 64;
const PATIENCE: Duration = Duration::from_secs(20);

/// "lid:qpn:psn:gid" in hexadecimal, with the zero at its end; Ethernet has no LIDs.
const ADDRESS_BYTES: usize = "0000:000000:000000:00000000000000000000000000000000".len() + 1;
const DONE: &[u8] = b"done\0";

struct Player {
    /// Drives the game while it is waited for completions.
    _device: Device,
    queue: CompletionQueue,
    queue_pair: QueuePair,
    memory: Arc<HeapMemory>,
    region: MemoryRegion,
    size: u32,
}

pub(super) fn play(options: &Pingpong) -> Result<()> {
    let player = Player::new(options)?;
    for _ in 0..RECEIVES {
        player.post_receive()?;
    }
    let begins = options.host.is_some();
    let peer = match &options.host {
        Some(host) => {
            let mut stream = TcpStream::connect((host.as_str(), options.port))?;
            stream.write_all(&say(&player.queue_pair.endpoint()))?;
            let peer = hear(&mut stream)?;
            // Before the peer is told, so that it never waits for a lost first packet.
            player.connect(&peer, options)?;
            stream.write_all(DONE)?;
            peer
        }
        None => {
            let listener = TcpListener::bind((options.address, options.port))?;
            let (mut stream, _peer) = listener.accept()?;
            let peer = hear(&mut stream)?;
            player.connect(&peer, options)?;
            stream.write_all(&say(&player.queue_pair.endpoint()))?;
            stream.read_exact(&mut [0; DONE.len()])?;
            peer
        }
    };
    print(&format!("{} with {} at {}", player.queue_pair.number(), peer.number, peer.address.ip()))?;
    let started = Instant::now();
    player.game(begins, options.iterations)?;
    report(options, started.elapsed())
}

fn report(options: &Pingpong, elapsed: Duration) -> Result<()> {
    let seconds = elapsed.as_secs_f64();
    let bytes = u64::from(options.size) * u64::from(options.iterations) * 2;
    print(&format!("{bytes} bytes in {seconds:.2} seconds = {:.2} Mbit/sec", bytes as f64 * 8.0 / seconds / 1e6))?;
    let iterations = options.iterations;
    print(&format!(
        "{iterations} iters in {seconds:.2} seconds = {:.2} usec/iter",
        seconds * 1e6 / f64::from(iterations.max(1))
    ))
}

impl Player {
    fn new(options: &Pingpong) -> Result<Player> {
        let address = SocketAddr::new(options.address, ROCE_PORT);
        let device = Device::open(DeviceConfig { drive: Drive::Caller, ..DeviceConfig::new(address) })?;
        let queue = device.completion_queue(4 * RECEIVES);
        let domain = device.protection_domain();
        let queue_pair = device.queue_pair(&domain, &queue, &queue, Capabilities::default());
        // One half is sent from, the other received into.
        let memory = HeapMemory::zeroed(2 * options.size as usize);
        memory.with_mut(|bytes| {
            bytes[..options.size as usize].fill(CONTENT);
            bytes[..options.size as usize].iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = 0);
        });
        let region = domain.register(Arc::clone(&memory), Permissions::LOCAL);
        Ok(Player { _device: device, queue, queue_pair, memory, region, size: options.size })
    }

    fn connect(&self, peer: &Endpoint, options: &Pingpong) -> Result<()> {
        let connect = Connect { path_mtu: options.mtu, reads_max: 1, ..Connect::default() };
        Ok(self.queue_pair.connect(peer, &connect)?)
    }

    fn post_receive(&self) -> Result<()> {
        let size = u64::from(self.size);
        let request = ReceiveRequest { id: 0, local: vec![self.region.segment(size..2 * size)] };
        Ok(self.queue_pair.post_receive(request)?)
    }

    fn post_send(&self) -> Result<()> {
        let local = vec![self.region.segment(0..self.size.into())];
        let operation = Operation::Send { immediate: None };
        Ok(self.queue_pair.post_send(SendRequest { id: 1, operation, local, signaled: true, solicited: false })?)
    }

    /// Sends the next message when the last one is acknowledged and the peer's has come.
    fn game(&self, begins: bool, iterations: u32) -> Result<()> {
        let (mut sent, mut received) = (0, 0);
        let (mut sending, mut awaiting) = (false, !begins);
        while received < iterations || sent < iterations {
            if sent < iterations && !sending && !awaiting {
                self.post_send()?;
                (sending, awaiting) = (true, true);
            }
            let done = self.queue.wait(PATIENCE)?;
            if done.is_empty() {
                return Err(format!("no answer for {PATIENCE:?} after {received} messages").into());
            }
            for done in done {
                if done.status != Status::Success {
                    return Err(format!("a request failed: {done:?}").into());
                }
                if done.kind == CompletionKind::Receive {
                    self.check(done.bytes)?;
                    self.post_receive()?;
                    (received, awaiting) = (received + 1, false);
                } else {
                    (sent, sending) = (sent + 1, false);
                }
            }
        }
        Ok(())
    }

    fn check(&self, bytes: u32) -> Result<()> {
        if bytes != self.size {
            return Err(format!("a message has {bytes} bytes, should have {}", self.size).into());
        }
        let wrong = self.memory.with(|memory| {
            let message = &memory[self.size as usize..];
            let right = |(at, byte): (usize, &u8)| *byte == CONTENT || *byte == 0 && at % PAGE_BYTES == 0;
            message.iter().enumerate().position(|entry| !right(entry))
        });
        wrong.map_or(Ok(()), |at| Err(format!("byte {at} of a message is wrong").into()))
    }
}

/// The line that says who we are.
fn say(endpoint: &Endpoint) -> [u8; ADDRESS_BYTES] {
    let gid = match endpoint.address.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let (number, psn) = (endpoint.number.value(), endpoint.first_psn.value());
    let text = format!("0000:{number:06x}:{psn:06x}:{:032x}\0", u128::from(gid));
    text.into_bytes().try_into().expect("every part has its width")
}

/// Reads the line of the other.
fn hear(stream: &mut TcpStream) -> Result<Endpoint> {
    let mut line = [0; ADDRESS_BYTES];
    stream.read_exact(&mut line)?;
    let text = String::from_utf8_lossy(&line[..ADDRESS_BYTES - 1]).into_owned();
    let parse = || {
        let parts: Vec<_> = text.split(':').collect();
        let [_lid, number, psn, gid] = parts[..] else { return None };
        let number = u32::from_str_radix(number, 16).ok()?;
        let psn = u32::from_str_radix(psn, 16).ok()?;
        let gid = Ipv6Addr::from(u128::from_str_radix(gid, 16).ok()?);
        let address = SocketAddr::new(gid.to_canonical(), ROCE_PORT);
        Some(Endpoint { address, number: QueuePairNumber::new(number), first_psn: Psn::new(psn) })
    };
    let endpoint = parse().ok_or_else(|| format!("not understood: {text}"))?;
    if endpoint.address.ip().is_unspecified() {
        return Err("the other side has no GID: ibv_rc_pingpong takes it from -g".into());
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_one_of_ibv_rc_pingpong() {
        let endpoint = |address: &str| Endpoint {
            address: address.parse().expect("it is an address"),
            number: QueuePairNumber::new(0x11),
            first_psn: Psn::new(0xABCDE),
        };
        assert_eq!(&say(&endpoint("[fd00::2]:4791")), b"0000:000011:0abcde:fd000000000000000000000000000002\0");
        assert_eq!(&say(&endpoint("10.9.0.2:4791")), b"0000:000011:0abcde:00000000000000000000ffff0a090002\0");
    }
}
