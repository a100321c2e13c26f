//! The relay: a listener in front of each worker, where the others look for it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::net::{Shutdown, listen, shutdown};

use crate::faults::{Faults, Plan};
use crate::wire::{Tally, Wire};

const BACKLOG: i32 = 128;
/// Magic, and in a hello, the epoch: from 2 on, a link replaces another (docs/protocol.md).
const HELLO: &[u8] = b"SLUH";
const EPOCH_AT: usize = 64;

/// Stands in front of all workers of a run.
pub(crate) struct Relay {
    /// For `--relay`.
    pub(crate) address: SocketAddr,
    line: Arc<Line>,
}

/// What all connections share.
struct Line {
    faults: Faults,
    tally: Tally,
    /// Grows when all connections are cut.
    cut: AtomicU64,
    doors: Mutex<Doors>,
    changed: Condvar,
}

struct Doors {
    listeners: Vec<Arc<TcpListener>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Shut,
    Over,
}

impl Relay {
    pub(crate) fn new(faults: Faults) -> Self {
        let doors = Doors { listeners: Vec::new(), state: State::Open };
        let line = Arc::new(Line {
            faults,
            tally: Tally::default(),
            cut: AtomicU64::new(0),
            doors: Mutex::new(doors),
            changed: Condvar::new(),
        });
        let desk = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = desk.local_addr().expect("it listens");
        let ours = Arc::clone(&line);
        // A question for each worker that is ready. The thread ends with the process of the tests.
        std::thread::spawn(move || {
            for asked in desk.incoming() {
                ours.answer(&asked.expect("the coordinator comes")).expect("the coordinator listens");
            }
        });
        Self { address, line }
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.line.tally
    }

    pub(crate) fn connections(&self) -> u64 {
        self.line.tally.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.line.tally.bytes.load(Ordering::Relaxed)
    }

    /// Where each worker is looked for, once they have asked.
    pub(crate) fn doors(&self) -> Vec<SocketAddr> {
        let doors = self.line.doors.lock().expect("no thread has panicked");
        doors.listeners.iter().map(|listener| listener.local_addr().expect("it is bound")).collect()
    }

    /// Cuts all connections, and refuses others until `admit`.
    pub(crate) fn refuse(&self) {
        let mut doors = self.line.doors.lock().expect("no thread has panicked");
        if std::mem::replace(&mut doors.state, State::Shut) != State::Open {
            return;
        }
        for listener in &doors.listeners {
            // A listener that does not listen any more keeps its port, and whoever connects to it is refused.
            shutdown(listener, Shutdown::Read).expect("it listens");
        }
        self.line.cut.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn admit(&self) {
        let mut doors = self.line.doors.lock().expect("no thread has panicked");
        doors.state = State::Open;
        for listener in &doors.listeners {
            listen(listener, BACKLOG).expect("the port is still ours");
        }
        self.line.changed.notify_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.refuse();
        self.line.doors.lock().expect("no thread has panicked").state = State::Over;
        self.line.changed.notify_all();
    }
}

impl Line {
    /// For each worker's address, the one of the door in front of it.
    fn answer(self: &Arc<Self>, mut coordinator: &TcpStream) -> io::Result<()> {
        for asked in BufReader::new(coordinator.try_clone()?).lines() {
            let worker: SocketAddr = serde_json::from_str(&asked?)?;
            let listener = Arc::new(bind()?);
            writeln!(coordinator, "\"{}\"", listener.local_addr()?)?;
            let (line, ours) = (Arc::clone(self), Arc::clone(&listener));
            std::thread::spawn(move || line.serve(&ours, worker));
            self.doors.lock().expect("no thread has panicked").listeners.push(listener);
        }
        Ok(())
    }

    fn serve(self: Arc<Self>, listener: &TcpListener, worker: SocketAddr) {
        loop {
            let cut = self.cut.load(Ordering::Relaxed);
            match listener.accept() {
                Ok((peer, _)) => {
                    let line = Arc::clone(&self);
                    std::thread::spawn(move || line.forward(peer, worker, cut));
                }
                // It does not listen now.
                Err(_) => {
                    let doors = self.doors.lock().expect("no thread has panicked");
                    let doors = self.changed.wait_while(doors, |doors| doors.state == State::Shut);
                    if doors.expect("no thread has panicked").state == State::Over {
                        return;
                    }
                }
            }
        }
    }

    /// Whatever happens to a connection is what this is for.
    fn forward(&self, mut peer: TcpStream, worker: SocketAddr, cut: u64) {
        let number = self.tally.connections.fetch_add(1, Ordering::Relaxed);
        let [mut there, back] = [0, 1].map(|direction| Plan::new(&self.faults, number, direction));
        if self.faults.mute_one_of.is_some() && replaces_another(&peer) && there.is_mute() {
            self.tally.mute.fetch_add(1, Ordering::Relaxed);
            let _ = io::copy(&mut peer, &mut io::sink());
            return;
        }
        let Ok(worker) = TcpStream::connect(worker) else { return };
        let wire = Wire::new([peer, worker], [there, back], &self.tally);
        let _ = wire.and_then(|wire| wire.run(|| self.cut.load(Ordering::Relaxed) != cut));
    }
}

/// A port of the kernel's choice. It is bound by its number, because only then a socket keeps it when it does not listen.
fn bind() -> io::Result<TcpListener> {
    loop {
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        match TcpListener::bind(free) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
}

fn replaces_another(peer: &TcpStream) -> bool {
    let mut hello = [0; EPOCH_AT + 4];
    let _ = peer.set_read_timeout(Some(Duration::from_secs(1)));
    loop {
        match peer.peek(&mut hello) {
            Ok(length) if length == hello.len() => break,
            Ok(0) | Err(_) => return false,
            Ok(_) => std::thread::yield_now(),
        }
    }
    let epoch = u32::from_le_bytes(hello[EPOCH_AT..].try_into().expect("four bytes"));
    hello.starts_with(HELLO) && epoch > 1
}
