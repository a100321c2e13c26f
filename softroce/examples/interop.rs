//! One side of the interoperation tests: obeys a driver on the other side of a TCP connection, which has the whole
//! plan.
//!
//!     interop --address fd00::2 [--listen 18515] [--mtu 4096]
//!
//! Lines over TCP, the protocol of `testbed/peer`: both sides tell their `endpoint`, connect, say `ready`; then each
//! command (`expect`, `perform`, `check`) is answered by `ok` or `error` and why.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use sluice_softroce::memory::{Key, Segment};
use sluice_softroce::packet::{Psn, QueuePairNumber, ROCE_PORT};
use sluice_softroce::queue_pair::{Capabilities, PathMtu};
use sluice_softroce::verbs::{
    CompletionQueue, Connect, Device, DeviceConfig, Endpoint, HeapMemory, MemoryRegion, Permissions, QueuePair,
};
use sluice_softroce::work::{
    Completion, CompletionKind, Operation, ReceiveRequest, RemoteAddress, SendRequest, Status,
};

#[derive(Parser)]
struct Options {
    /// This side's address; IPv4 takes a raw socket.
    #[arg(long)]
    address: IpAddr,
    /// The TCP port of the conversation with the driver.
    #[arg(long, default_value_t = 18515)]
    listen: u16,
    /// The largest path MTU.
    #[arg(long, default_value_t = 4096)]
    mtu: usize,
}

const AREA: usize = 4 << 20;
const GUARD: usize = 4096;
const UNTOUCHED: u8 = 0xA5;
const GUARD_LOOKED_AT: usize = 64;
const COUNT_MAX: usize = 64;
const PATIENCE: Duration = Duration::from_secs(20);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Area {
    memory: Arc<HeapMemory>,
    region: MemoryRegion,
}

/// What the driver says of a command.
struct Step {
    operation: String,
    size: usize,
    count: usize,
    seed: u32,
}

struct Side {
    _device: Device,
    queue: CompletionQueue,
    queue_pair: QueuePair,
    target: Area,
    source: Area,
    remote: RemoteAddress,
}

/// The value of a `word=value` in a line.
fn value<'a>(line: &'a str, word: &str) -> Result<&'a str> {
    let values = line.split_whitespace().filter_map(|part| part.split_once('='));
    let found = values.into_iter().find(|(name, _)| *name == word).map(|(_, value)| value);
    found.ok_or_else(|| format!("no {word} in: {line}").into())
}

fn hex(line: &str, word: &str) -> Result<u64> {
    Ok(u64::from_str_radix(value(line, word)?, 16)?)
}

fn decimal<T: FromStr<Err: Error + 'static>>(line: &str, word: &str) -> Result<T> {
    Ok(value(line, word)?.parse::<T>()?)
}

/// Differs between messages, and between the packets of a message at every path MTU.
fn pattern(seed: u32, at: usize) -> u8 {
    let at = at as u32;
    seed.wrapping_mul(101).wrapping_add(at.wrapping_mul(31)).wrapping_add((at >> 8) * 7).wrapping_add((at >> 16) * 3)
        as u8
}

impl Area {
    fn new(domain: &sluice_softroce::verbs::ProtectionDomain) -> Area {
        let memory = HeapMemory::zeroed(AREA + GUARD);
        let region = domain.register(Arc::clone(&memory), Permissions::ALL);
        Area { memory, region }
    }

    fn fill_untouched(&self, step: &Step) {
        self.memory.with_mut(|bytes| bytes[..step.size * step.count + GUARD_LOOKED_AT].fill(UNTOUCHED));
    }

    fn fill(&self, step: &Step) {
        self.memory.with_mut(|bytes| {
            for message in 0..step.count {
                for at in 0..step.size {
                    bytes[message * step.size + at] = pattern(step.seed.wrapping_add(message as u32), at);
                }
            }
        });
    }

    fn compare(&self, step: &Step) -> Result<()> {
        self.memory.with(|bytes| {
            for message in 0..step.count {
                for at in 0..step.size {
                    let (is, should) =
                        (bytes[message * step.size + at], pattern(step.seed.wrapping_add(message as u32), at));
                    if is != should {
                        return Err(
                            format!("byte {at} of message {message} is {is:02x}, should be {should:02x}").into()
                        );
                    }
                }
            }
            match bytes[step.size * step.count..][..GUARD_LOOKED_AT].iter().position(|byte| *byte != UNTOUCHED) {
                Some(at) => Err(format!("byte {at} behind the last message was written").into()),
                None => Ok(()),
            }
        })
    }

    /// The part of a message, if it has any.
    fn segments(&self, message: usize, size: usize) -> Vec<Segment> {
        let start = (message * size) as u64;
        if size == 0 { vec![] } else { vec![self.region.segment(start..start + size as u64)] }
    }
}

impl Step {
    fn parse(line: &str) -> Result<Step> {
        let step = Step {
            operation: value(line, "op")?.to_owned(),
            size: decimal(line, "size")?,
            count: decimal(line, "count")?,
            seed: decimal(line, "seed")?,
        };
        if step.count > COUNT_MAX || step.size.saturating_mul(step.count) > AREA {
            return Err(format!("too much: {line}").into());
        }
        Ok(step)
    }

    fn takes_receives(&self) -> bool {
        matches!(&*self.operation, "send" | "send_imm" | "write_imm")
    }

    fn immediate(&self, message: usize) -> Option<u32> {
        self.operation.ends_with("_imm").then(|| self.seed.wrapping_add(message as u32))
    }
}

impl Side {
    fn open(
        options: &Options,
        stream: &mut TcpStream,
        lines: &mut impl Iterator<Item = Result<String>>,
    ) -> Result<Side> {
        let address = SocketAddr::new(options.address, ROCE_PORT);
        let device = Device::open(DeviceConfig::new(address))?;
        let domain = device.protection_domain();
        let queue = device.completion_queue(4 * COUNT_MAX);
        let queue_pair = device.queue_pair(&domain, &queue, &queue, Capabilities::default());
        let (target, source) = (Area::new(&domain), Area::new(&domain));
        let own = queue_pair.endpoint();
        let gid = match options.address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let RemoteAddress { address, key } = target.region.remote_address();
        writeln!(
            stream,
            "endpoint qpn={:06x} psn={:06x} gid={gid} mtu={} address={address:016x} rkey={:08x} length={}",
            own.number.value(),
            own.first_psn.value(),
            options.mtu,
            key.0,
            target.region.length()
        )?;
        let line = lines.next().ok_or("the driver has gone")??;
        let gid: Ipv6Addr = decimal(&line, "gid")?;
        let mtu = options.mtu.min(decimal(&line, "mtu")?);
        let peer = Endpoint {
            address: SocketAddr::new(gid.to_canonical(), ROCE_PORT),
            number: QueuePairNumber::new(hex(&line, "qpn")? as u32),
            first_psn: Psn::new(hex(&line, "psn")? as u32),
        };
        let path_mtu = PathMtu::of_bytes(mtu).ok_or_else(|| format!("no path MTU of {mtu}"))?;
        // An emulated machine pauses now and then; that is no loss.
        let timeout = Some(Duration::from_secs(1));
        queue_pair.connect(&peer, &Connect { path_mtu, timeout, ..Connect::default() })?;
        let remote = RemoteAddress { address: hex(&line, "address")?, key: Key(hex(&line, "rkey")? as u32) };
        Ok(Side { _device: device, queue, queue_pair, target, source, remote })
    }

    /// The next completions, which must be of the requests 0 to `count`, in order.
    fn done(&self, count: usize) -> Result<Vec<Completion>> {
        let mut done = Vec::new();
        while done.len() < count {
            let more = self.queue.wait(PATIENCE)?;
            if more.is_empty() {
                return Err(format!("completion {} did not come within {PATIENCE:?}", done.len()).into());
            }
            done.extend(more);
        }
        for (index, completion) in done.iter().enumerate() {
            if completion.status != Status::Success || completion.id != index as u64 || done.len() > count {
                return Err(format!("completion {index} of {count} is {completion:?}").into());
            }
        }
        Ok(done)
    }

    fn expect(&self, step: &Step) -> Result<()> {
        self.target.fill_untouched(step);
        if step.operation == "read" {
            self.target.fill(step);
        }
        for message in (0..step.count).filter(|_| step.takes_receives()) {
            let size = if step.operation == "write_imm" { 0 } else { step.size };
            let local = self.target.segments(message, size);
            self.queue_pair.post_receive(ReceiveRequest { id: message as u64, local })?;
        }
        Ok(())
    }

    fn check(&self, step: &Step) -> Result<()> {
        if step.takes_receives() {
            let kind = match &*step.operation {
                "write_imm" => CompletionKind::ReceiveWrite,
                _ => CompletionKind::Receive,
            };
            for (message, done) in self.done(step.count)?.into_iter().enumerate() {
                let is = (done.kind, done.bytes as usize, done.immediate);
                if is != (kind, step.size, step.immediate(message)) {
                    return Err(format!("receive {message} is {done:?}").into());
                }
            }
        }
        if step.operation == "read" { Ok(()) } else { self.target.compare(step) }
    }

    fn perform(&self, step: &Step) -> Result<()> {
        self.source.fill_untouched(step);
        if step.operation != "read" {
            self.source.fill(step);
        }
        let request = |message: usize| {
            let offset = (message * step.size) as u64;
            let remote = RemoteAddress { address: self.remote.address + offset, key: self.remote.key };
            let immediate = step.immediate(message);
            let operation = match &*step.operation {
                "send" | "send_imm" => Operation::Send { immediate },
                "write" | "write_imm" => Operation::Write { remote, immediate },
                _ => Operation::Read { remote },
            };
            let local = self.source.segments(message, step.size);
            SendRequest { id: message as u64, operation, local, signaled: true, solicited: false }
        };
        self.queue_pair.post_sends((0..step.count).map(request))?;
        self.done(step.count)?;
        if step.operation == "read" { self.source.compare(step) } else { Ok(()) }
    }

    fn obey(&self, line: &str) -> Result<()> {
        let step = Step::parse(line)?;
        match line.split_whitespace().next() {
            Some("expect") => self.expect(&step),
            Some("check") => self.check(&step),
            Some("perform") => self.perform(&step),
            _ => Err(format!("not understood: {line}").into()),
        }
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let listener = TcpListener::bind((options.address, options.listen))?;
    let (mut stream, _driver) = listener.accept()?;
    let mut lines = BufReader::new(stream.try_clone()?).lines().map(|line| line.map_err(Into::into));
    let side = Side::open(&options, &mut stream, &mut lines)?;
    writeln!(stream, "ready")?;
    for line in lines {
        match line?.trim() {
            "ready" => {}
            "quit" => break,
            command => match side.obey(command) {
                Ok(()) => writeln!(stream, "ok")?,
                Err(error) => writeln!(stream, "error {error}")?,
            },
        }
    }
    Ok(())
}
