//! How fast one link carries blocks between two threads, without trust and with TLS, beside one plain socket in the same
//! run.
//!
//! `cargo run --release -p sluice-transport-tcp --example stream -- [block bytes] [blocks per message] [seconds] [unsent KiB]`
//!
//! Without `unsent KiB` the kernel may hold any number of bytes unsent.

#[path = "../tests/certificates/mod.rs"]
mod certificates;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, clock_gettime};
use sluice_memory::{Arena, ArenaOptions, BufferPool, HugePages, Memory, PoolSpec, SizeClass};
use sluice_plugin::{Address, Connect, Device, LinkId, Message, Payload, Setup, Transport, TransportEvent, Wait};
use sluice_protocol::wire::{Backlog, Block, Frame, HeadBuilder, Placement};
use sluice_protocol::{ChannelId, Incarnation, Lane, Limits, LinkEpoch, NodeId, Time};
use sluice_transport_tcp::{Engine, Tcp, TcpConfig, TcpTransport, TlsTrust, Trust};

use certificates::{Authority, Folder, GOOD, LOOPBACK};

const CHANNEL: ChannelId = ChannelId(1);
/// Messages that may be sent and not yet acknowledged: their payload is the credit.
const WINDOW: usize = 8;

#[derive(Clone, Copy)]
struct Load {
    block_bytes: usize,
    blocks: usize,
    time: Duration,
    not_sent_low_water: Option<u32>,
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().expect("a number"));
    let block_bytes = arguments.next().unwrap_or(32 << 10);
    let blocks = arguments.next().unwrap_or(16);
    let time = Duration::from_secs(arguments.next().unwrap_or(2) as u64);
    let not_sent_low_water = arguments.next().map(|kib| (kib << 10) as u32);
    let load = Load { block_bytes, blocks, time, not_sent_low_water };
    let tls = tls();
    for _ in 0..3 {
        report("plain socket", plain(load));
        for engine in [Engine::Epoll, Engine::IoUring] {
            report(&format!("{engine:?}"), link(load, engine, &Trust::Off));
            report(&format!("{engine:?}, TLS"), link(load, engine, &tls));
        }
    }
}

fn tls() -> Trust {
    let authority = Authority::new();
    let folder = Folder::of(&authority.issue(LOOPBACK, GOOD), &authority);
    Trust::Tls(TlsTrust::load(folder.files()).expect("good files"))
}

struct Figures {
    bytes: usize,
    wall: f64,
    cpu: f64,
}

fn report(name: &str, Figures { bytes, wall, cpu }: Figures) {
    let gigabytes = bytes as f64 / 1e9;
    println!("{name:13} {:6.2} GB/s  {:5.3} CPU s/GB", gigabytes / wall, cpu / gigabytes);
}

fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn plain(load: Load) -> Figures {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let (started, cpu_before) = (Instant::now(), cpu());
    let sender = thread::spawn(move || {
        let mut socket = TcpStream::connect(address).expect("connects");
        let block = vec![1; 256 << 10];
        while started.elapsed() < load.time {
            socket.write_all(&block).expect("sends");
        }
    });
    let (mut socket, _) = listener.accept().expect("accepts");
    let mut block = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        match socket.read(&mut block).expect("receives") {
            0 => break,
            read => bytes += read,
        }
    }
    sender.join().expect("sender");
    Figures { bytes, wall: started.elapsed().as_secs_f64(), cpu: cpu() - cpu_before }
}

struct Worker {
    transport: TcpTransport,
    pool: BufferPool,
    events: VecDeque<TransportEvent>,
    started: Instant,
}

impl Worker {
    fn new(node: u64, engine: Engine, trust: Trust, load: Load) -> Self {
        let bytes = 64 << 20;
        let arena = Arena::map(ArenaOptions { bytes, huge_pages: HugePages::Try }).expect("64 MiB");
        let memory = Memory::new(arena);
        let spec = PoolSpec { owner: "stream".into(), unit: SizeClass::MAX, floor_units: 1, bytes_max: bytes };
        let setup = Setup {
            node: NodeId(node),
            incarnation: Incarnation(1),
            cluster: "stream".into(),
            limits: Limits::default(),
            arena: memory.arena().clone(),
            waker: std::task::Waker::noop().clone(),
        };
        let config = TcpConfig { engine, trust, not_sent_low_water: load.not_sent_low_water, ..TcpConfig::default() };
        let transport = Tcp::new(config).build_tcp(setup).expect("builds");
        let pool = memory.pool(spec).expect("an empty arena");
        Self { transport, pool, events: VecDeque::new(), started: Instant::now() }
    }

    fn now(&self) -> Time {
        Time::default().after(self.started.elapsed())
    }

    fn next(&mut self) -> TransportEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            self.turn();
        }
    }

    fn turn(&mut self) {
        if let Wait::On(file) = self.transport.prepare_to_wait().expect("waits") {
            poll(&mut [PollFd::from_borrowed_fd(file, PollFlags::IN)], None).expect("polls");
        }
        let now = self.now();
        let mut events = Vec::new();
        self.transport.poll(now, &mut events);
        self.events.extend(events);
    }
}

fn link(load: Load, engine: Engine, trust: &Trust) -> Figures {
    let (tell, told) = mpsc::channel::<Address>();
    let (started, cpu_before) = (Instant::now(), cpu());
    let there = trust.clone();
    let receiver = thread::spawn(move || {
        let mut worker = Worker::new(2, engine, there, load);
        tell.send(worker.transport.address().clone()).expect("the sender listens");
        consume(&mut worker, load)
    });
    produce(&mut Worker::new(1, engine, trust.clone(), load), told.recv().expect("an address"), load);
    let bytes = receiver.join().expect("receiver");
    Figures { bytes, wall: started.elapsed().as_secs_f64(), cpu: cpu() - cpu_before }
}

fn produce(worker: &mut Worker, address: Address, load: Load) {
    let now = worker.now();
    let wish = Connect { address, node: NodeId(2), session: 1, epoch: LinkEpoch(1), lane: Lane(0) };
    let link = worker.transport.connect(now, wish);
    let class = SizeClass::fitting(load.block_bytes).expect("a block fits a segment");
    let buffers: Vec<_> = (0..load.blocks * WINDOW)
        .map(|_| {
            let mut buffer = worker.pool.try_acquire(class).expect("the arena is large enough");
            buffer.truncate(load.block_bytes);
            buffer.freeze()
        })
        .collect();
    let mut messages = buffers.chunks(load.blocks).cycle();
    let started = Instant::now();
    let (mut window, mut number) = (0, 0);
    loop {
        match worker.next() {
            TransportEvent::Connected { .. } => window = WINDOW,
            TransportEvent::Received { .. } => window += 1,
            TransportEvent::Closed { cause, .. } => panic!("{cause}"),
            _ => {}
        }
        if started.elapsed() >= load.time {
            break;
        }
        while window > 0 {
            number += 1;
            let blocks = messages.next().expect("a cycle");
            let mut head = HeadBuilder::new(Vec::new());
            let mut payloads = Vec::new();
            for buffer in blocks {
                let length = buffer.len() as u32;
                let block = Block { sequence: 0, length, crc: 0, codec: 0, backlog: Backlog::default() };
                head.push(&Frame::Data(CHANNEL, block, Placement::Body));
                payloads.push(Payload { buffer: buffer.clone(), slot: None });
            }
            let head = head.finish(LinkEpoch(1), number, 0, false);
            if worker.transport.send(link, Message { head, payloads }).is_err() {
                break;
            }
            window -= 1;
        }
    }
    worker.transport.close(link);
    while !matches!(worker.next(), TransportEvent::Closed { .. }) {}
}

fn consume(worker: &mut Worker, load: Load) -> usize {
    let mut bytes = 0;
    loop {
        match worker.next() {
            TransportEvent::Accepted { link, .. } => (0..WINDOW).for_each(|_| post(worker, link, load)),
            TransportEvent::Received { link, payloads, .. } => {
                bytes += payloads.len() * load.block_bytes;
                drop(payloads);
                post(worker, link, load);
                let mut head = HeadBuilder::new(Vec::new());
                head.push(&Frame::Grant { channel: CHANNEL, granted: 0, events: 0, keep: 0 });
                let head = head.finish(LinkEpoch(1), 1, 1, false);
                let _ = worker.transport.send(link, Message { head, payloads: Vec::new() });
            }
            TransportEvent::Closed { .. } => return bytes,
            _ => {}
        }
    }
}

fn post(worker: &mut Worker, link: LinkId, load: Load) {
    let mut left = load.block_bytes * load.blocks;
    while left > 0 {
        let mut buffer = worker.pool.try_acquire(SizeClass::UNIT).expect("the arena is large enough");
        buffer.truncate(left);
        left -= buffer.len();
        worker.transport.post_receive(link, CHANNEL, buffer);
    }
}
