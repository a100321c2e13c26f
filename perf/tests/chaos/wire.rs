//! One connection through the relay: forwards both directions until it is cut, or until both ends have closed it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_linger;

use crate::faults::{Cut, Plan};

const PIECE_BYTES: usize = 64 << 10;
/// How soon a wire notices that somebody wants it cut.
const LOOK_EACH: Duration = Duration::from_millis(10);

/// What a relay has done so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) cuts: AtomicU64,
    pub(crate) flips: AtomicU64,
    pub(crate) mute: AtomicU64,
}

/// One direction.
struct Way {
    plan: Plan,
    piece: Vec<u8>,
    /// What of the piece is not forwarded.
    held: Range<usize>,
    /// When it may go.
    due: Instant,
    /// Nothing more comes.
    over: bool,
    /// The other end knows.
    told: bool,
}

pub(crate) struct Wire<'a> {
    ends: [TcpStream; 2],
    ways: [Way; 2],
    /// Nothing arrives any more.
    silent: bool,
    tally: &'a Tally,
}

impl<'a> Wire<'a> {
    pub(crate) fn new(ends: [TcpStream; 2], plans: [Plan; 2], tally: &'a Tally) -> io::Result<Self> {
        for end in &ends {
            end.set_nonblocking(true)?;
            end.set_nodelay(true)?;
        }
        let way =
            |plan| Way { plan, piece: vec![0; PIECE_BYTES], held: 0..0, due: Instant::now(), over: false, told: false };
        Ok(Self { ends, ways: plans.map(way), silent: false, tally })
    }

    /// Until the connection is over. One that `cut` asks for is reset.
    pub(crate) fn run(mut self, cut: impl Fn() -> bool) -> io::Result<()> {
        while self.ways.iter().any(|way| !way.told) {
            if cut() {
                return self.reset();
            }
            self.wait()?;
            for way in 0..2 {
                match self.turn(way) {
                    Ok(None) => {}
                    Ok(Some(how)) => {
                        self.tally.cuts.fetch_add(1, Ordering::Relaxed);
                        match how {
                            Cut::Close => return Ok(()),
                            Cut::Reset => return self.reset(),
                            Cut::Silence => self.silent = true,
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    // Whoever has reset it: the other one hears of it, unless nobody is told anything.
                    Err(_) if self.silent => self.ways[way].told = true,
                    Err(_) => return self.reset(),
                }
            }
        }
        Ok(())
    }

    fn turn(&mut self, number: usize) -> io::Result<Option<Cut>> {
        let (mut from, mut to) = (&self.ends[number], &self.ends[1 - number]);
        let way = &mut self.ways[number];
        if self.silent {
            way.told |= !way.told && from.read(&mut way.piece)? == 0;
            return Ok(None);
        }
        if way.held.is_empty() && !way.over {
            let most = way.plan.room().min(PIECE_BYTES as u64) as usize;
            let read = from.read(&mut way.piece[..most])?;
            self.tally.flips.fetch_add(way.plan.flip(&mut way.piece[..read]), Ordering::Relaxed);
            (way.held, way.over) = (0..read, read == 0);
            way.due = Instant::now() + way.plan.delay(read);
        }
        if !way.held.is_empty() {
            if way.due > Instant::now() {
                return Ok(None);
            }
            let written = to.write(&way.piece[way.held.clone()])?;
            way.held.start += written;
            self.tally.bytes.fetch_add(written as u64, Ordering::Relaxed);
            return Ok(way.plan.forwarded(written));
        }
        if way.over && !way.told {
            way.told = true;
            to.shutdown(Shutdown::Write)?;
        }
        Ok(None)
    }

    /// Until there is something to do for one of the ways.
    fn wait(&self) -> io::Result<()> {
        let now = Instant::now();
        let (mut wanted, mut longest) = (Vec::new(), LOOK_EACH);
        for (number, way) in self.ways.iter().enumerate() {
            if way.held.is_empty() || self.silent {
                let reads = !way.over && !way.told;
                wanted.extend(reads.then(|| PollFd::new(&self.ends[number], PollFlags::IN)));
            } else if way.due <= now {
                wanted.push(PollFd::new(&self.ends[1 - number], PollFlags::OUT));
            } else {
                longest = longest.min(way.due - now);
            }
        }
        let longest = Timespec { tv_sec: 0, tv_nsec: longest.subsec_nanos().into() };
        poll(&mut wanted, Some(&longest))?;
        Ok(())
    }

    /// Both ends see a reset: that is what closing does to a socket that does not linger.
    fn reset(self) -> io::Result<()> {
        for end in &self.ends {
            set_socket_linger(end, Some(Duration::ZERO))?;
        }
        Ok(())
    }
}
