//! What registered memory saves: random direct reads, fixed against plain, in turns. `fixed_buffers FILE [seconds]`.
//!
//! The file is large, written (not only allocated), and on the disk in question.

use std::env;
use std::error::Error;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::time::{ClockId, clock_gettime};
use sluice_memory::{Arena, ArenaOptions, BufferMut, BufferPool, HugePages, Memory, PoolSpec, SizeClass};
use sluice_uring::{Done, Incoming, Operation, Ring, RingOptions, probe_io_poll};

const DEPTH: usize = 32;
const PAIRS: usize = 5;

/// How the memory of a request is given to the kernel.
struct Way {
    name: &'static str,
    registered: bool,
    pieces: usize,
}

const WAYS: [Way; 4] = [
    Way { name: "fixed", registered: true, pieces: 1 },
    Way { name: "plain", registered: false, pieces: 1 },
    Way { name: "fixed, 4 pieces", registered: true, pieces: 4 },
    Way { name: "plain, 4 pieces", registered: false, pieces: 4 },
];

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("the first argument is the file to read")?;
    let seconds = env::args().nth(2).map_or(Ok(1.0), |seconds| seconds.parse())?;
    let file = File::options().read(true).custom_flags(OFlags::DIRECT.bits() as i32).open(&path)?;
    let file_bytes = file.metadata()?.len();
    let file = Arc::new(OwnedFd::from(file));
    match probe_io_poll(&file) {
        Ok(()) => println!("polled: works"),
        Err(error) => println!("polled: no, {error}"),
    }
    for request_bytes in [512 << 10, 32 << 10] {
        for pair in 0..PAIRS {
            for way in &WAYS {
                let reads = Reads { file: &file, file_bytes, request_bytes };
                let (moved, wall, cpu) = reads.run(way, Duration::from_secs_f64(seconds))?;
                let rate = moved as f64 / wall.as_secs_f64() / (1 << 20) as f64;
                let per_gib = cpu.as_secs_f64() * 1000.0 / (moved as f64 / (1 << 30) as f64);
                let kib = request_bytes >> 10;
                println!("{kib:4} KiB  {pair}  {:16} {rate:7.0} MiB/s  {per_gib:6.1} ms of CPU per GiB", way.name);
            }
        }
    }
    Ok(())
}

struct Reads<'a> {
    file: &'a Arc<OwnedFd>,
    file_bytes: u64,
    request_bytes: usize,
}

impl Reads<'_> {
    fn run(&self, way: &Way, length: Duration) -> Result<(u64, Duration, Duration), Box<dyn Error>> {
        let mut ring = Ring::new(RingOptions { entries: DEPTH as u32, operations_max: DEPTH as u32 })?;
        let (arena, pool) =
            memory(DEPTH, SizeClass::fitting(self.request_bytes).ok_or("a request has up to 512 KiB")?)?;
        if way.registered {
            ring.register(&arena)?;
        }
        let mut places = Places { state: 1, count: self.file_bytes / self.request_bytes as u64 };
        for _ in 0..DEPTH {
            let pieces = (0..way.pieces).map(|_| Incoming::Buffer(piece(&pool, self.request_bytes / way.pieces)));
            ring.push(0, self.read(pieces.collect(), &mut places)).expect("as many as the ring takes");
        }
        let (begun, cpu_before) = (Instant::now(), cpu());
        let (mut moved, mut done) = (0, Vec::new());
        while ring.in_flight() > 0 {
            ring.wait(None, &mut done)?;
            for completion in done.drain(..) {
                let (Done::Read(bytes), Operation::Read { pieces, .. }) = (completion.result?, completion.operation)
                else {
                    unreachable!("only reads are in flight")
                };
                moved += bytes as u64;
                if begun.elapsed() < length {
                    ring.push(0, self.read(pieces, &mut places)).expect("one has just come back");
                }
            }
        }
        Ok((moved, begun.elapsed(), cpu() - cpu_before))
    }

    fn read(&self, pieces: Vec<Incoming>, places: &mut Places) -> Operation {
        let offset = places.next() * self.request_bytes as u64;
        Operation::Read { file: Arc::clone(self.file), offset, pieces, skip: 0 }
    }
}

/// Requests' places in the file, in an order that no disk can guess (xorshift).
struct Places {
    state: u64,
    count: u64,
}

impl Places {
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % self.count
    }
}

fn memory(units: usize, unit: SizeClass) -> Result<(Arena, BufferPool), Box<dyn Error>> {
    let bytes = units * unit.bytes();
    let arena = Arena::map(ArenaOptions { bytes, huge_pages: HugePages::Never })?;
    let spec = PoolSpec { owner: "reads".into(), unit, floor_units: 0, bytes_max: bytes };
    let pool = Memory::new(arena.clone()).pool(spec)?;
    Ok((arena, pool))
}

fn piece(pool: &BufferPool, bytes: usize) -> BufferMut {
    let mut piece = pool.acquire(SizeClass::fitting(bytes).expect("no more than the pool's unit"));
    // Resident before the clock runs, as registered memory is.
    piece.fill(0);
    piece
}

/// What this process has used so far; work that the kernel does in its interrupts is not all in it.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
