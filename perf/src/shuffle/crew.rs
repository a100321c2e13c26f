//! The workers of a run as their coordinator sees them: starts them, tells them, hears what they say, ends them.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use super::control::{Answer, Done, Held, Location, Order, Totals, hear, hear_digests, tell};
use super::launch::{Hub, Worker};
use super::relay::redirect;
use super::run::ShuffleError;
use crate::digest::Digest;
use crate::host::DiskInUse;
use crate::interrupt::{Interrupted, Interrupts};
use crate::scenario::Scenario;

/// How long after a complaint a worker that is gone is waited for: its pipe closes at once.
const BLAME_WAIT: Duration = Duration::from_millis(200);
/// A worker that shuffles says ten times a second how far it is: one that has not for so long stands still.
const STANDS_STILL_AFTER: Duration = Duration::from_secs(1);

/// How long workers that are threads may take to notice that nobody wants them any more, and how often it is looked.
const END_WAIT: Duration = Duration::from_secs(10);
const END_LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a worker says, without what ends the run.
pub(super) enum Said {
    Ready(Ready),
    Progress { written: u64, read: u64 },
    Halted,
    Done(Finished),
    Released(Totals),
}

/// A worker is ready to go.
pub(super) struct Ready {
    pub(super) location: Location,
    pub(super) engine: String,
    pub(super) disk: Option<DiskInUse>,
    pub(super) bytes_estimate: u64,
    pub(super) held: Vec<Held>,
}

/// A worker's tasks of a phase are through.
pub(super) struct Finished {
    pub(super) done: Done,
    /// Of each of its producers for each consumer.
    pub(super) sent: Vec<Digest>,
    /// Of each of its consumers for each producer.
    pub(super) received: Vec<Digest>,
}

/// What comes from one life of a worker.
enum Heard {
    Said(Said),
    Failed(String),
    /// Its pipe is closed, or what came is no answer.
    Gone(Option<io::Error>),
    /// Nobody of the crew: whoever has started it wants no more of it.
    Interrupted(Interrupted),
}

/// Which worker, and which life of it, counted from 0.
type Speaker = (usize, u32);

pub(super) struct Crew<'a> {
    scenario: &'a Scenario,
    hub: Hub,
    workers: Vec<Worker>,
    lives: Vec<u32>,
    /// Of every life of every worker, for whose files are looked: its number and incarnation.
    incarnations: Vec<(u64, u64)>,
    tell_us: Sender<(Speaker, Heard)>,
    heard: Receiver<(Speaker, Heard)>,
    heard_at: Vec<Instant>,
}

impl<'a> Crew<'a> {
    /// Starts a worker for each that the scenario asks for, and has them prepare.
    pub(super) fn start(scenario: &'a Scenario, interrupts: &Interrupts) -> Result<Self, ShuffleError> {
        let (tell_us, heard) = channel();
        let tell = tell_us.clone();
        interrupts.tell(move |signal| drop(tell.send(((0, 0), Heard::Interrupted(signal)))));
        let hub = Hub::of(scenario);
        let workers = (0..scenario.workers).map(|_| hub.start()).collect::<io::Result<Vec<_>>>();
        let workers = workers.map_err(ShuffleError::Launch)?;
        let count = workers.len();
        let (lives, heard_at) = (vec![0; count], vec![Instant::now(); count]);
        let incarnations = Vec::new();
        let mut crew = Self { scenario, hub, workers, lives, incarnations, tell_us, heard, heard_at };
        (0..count).for_each(|number| crew.prepare(number));
        Ok(crew)
    }

    /// Kills a worker's process, as a machine that fails would, and starts another one in its place.
    pub(super) fn replace(&mut self, number: usize) -> Result<(), ShuffleError> {
        // What the old life has yet to say is not listened to.
        self.lives[number] += 1;
        // The old one is killed as it is dropped.
        self.workers[number].end_now();
        self.workers[number] = self.hub.start().map_err(ShuffleError::Launch)?;
        self.prepare(number);
        Ok(())
    }

    fn prepare(&mut self, number: usize) {
        let answers = self.workers[number].answers.take().expect("nobody listens to it yet");
        let (speaker, tell_us) = ((number, self.lives[number]), self.tell_us.clone());
        std::thread::spawn(move || listen(speaker, answers, &tell_us));
        let scenario = Box::new(self.scenario.clone());
        // Another run on this machine is another, later incarnation.
        let incarnation = nanoseconds_of_day();
        self.incarnations.push((number as u64, incarnation));
        let (worker, again) = (number as u32, self.lives[number] > 0);
        self.tell(number, &Order::Prepare { worker, incarnation, scenario, again });
    }

    /// A worker that is gone already says why, or its end does.
    pub(super) fn tell(&mut self, number: usize, order: &Order) {
        let _ = tell(&mut self.workers[number].orders, order);
    }

    pub(super) fn tell_all(&mut self, order: &Order) {
        (0..self.workers.len()).for_each(|number| self.tell(number, order));
    }

    /// As relays between the workers, if there are any, want a worker to be looked for.
    pub(super) fn redirect(&self, location: &mut Location) -> Result<(), ShuffleError> {
        let Some(relay) = self.scenario.relay else { return Ok(()) };
        redirect(relay, std::slice::from_mut(location)).map_err(|error| ShuffleError::Relay(relay, error))
    }

    /// The next that somebody says, and who. `is_waited_for` tells whose silence would be worth a word if this run fails.
    pub(super) fn hear(&mut self, is_waited_for: impl Fn(usize) -> bool) -> Result<(usize, Said), ShuffleError> {
        loop {
            let ((number, life), heard) = self.heard.recv().expect("this crew has a sender itself");
            if let Heard::Interrupted(signal) = heard {
                return Err(signal.into());
            }
            if life != self.lives[number] {
                continue;
            }
            self.heard_at[number] = Instant::now();
            match heard {
                Heard::Said(said) => return Ok((number, said)),
                Heard::Failed(mut error) => {
                    for other in (0..self.workers.len()).filter(|other| *other != number && is_waited_for(*other)) {
                        error += &self.stands_still(other);
                    }
                    return Err(self.blame(number, error));
                }
                Heard::Gone(error) => return Err(self.gone(number, error)),
                Heard::Interrupted(_) => unreachable!("looked at above"),
            }
        }
    }

    /// All end, and are waited for.
    pub(super) fn stop(&mut self) {
        self.tell_all(&Order::Stop);
        for worker in &mut self.workers {
            worker.epitaph();
        }
    }

    /// All end where they are, and leave what they have. Those that are threads are waited for, but not for ever: one of
    /// them may be the reason.
    pub(super) fn abandon(&mut self) {
        self.workers.iter_mut().for_each(Worker::end_now);
        let until = Instant::now() + END_WAIT;
        while self.workers.iter().any(Worker::still_runs) && Instant::now() < until {
            // What is said meanwhile is of no use to anybody, but some of it comes as somebody ends.
            let _ = self.heard.recv_timeout(END_LOOK_EVERY);
        }
    }

    /// Of every life that a worker has had so far: the worker's number, and its incarnation.
    pub(super) fn incarnations(&self) -> &[(u64, u64)] {
        &self.incarnations
    }

    fn gone(&mut self, number: usize, error: Option<io::Error>) -> ShuffleError {
        let how = match error {
            Some(error) => format!("its answer cannot be read: {error}"),
            None => self.workers[number].epitaph(),
        };
        self.error_of(number, how)
    }

    fn error_of(&self, number: usize, error: String) -> ShuffleError {
        ShuffleError::Worker { worker: number as u32, process: self.workers[number].process_id(), error }
    }

    /// A worker that complains may only be the first to notice that another one is gone: then that one is named.
    fn blame(&mut self, number: usize, error: String) -> ShuffleError {
        let mut complained = vec![number];
        let until = Instant::now() + BLAME_WAIT;
        while let Ok(((other, life), heard)) = self.heard.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            match heard {
                _ if life != self.lives[other] => {}
                // Gone without a word: killed, or out of memory.
                Heard::Gone(cause) if !complained.contains(&other) => return self.gone(other, cause),
                Heard::Failed(_) => complained.push(other),
                _ => {}
            }
        }
        self.error_of(number, error)
    }

    /// What there is to say of a worker that was last heard so long ago.
    fn stands_still(&self, number: usize) -> String {
        let silence = self.heard_at[number].elapsed();
        if silence < STANDS_STILL_AFTER {
            return String::new();
        }
        let process = self.workers[number].process_id().map_or_else(String::new, |id| format!(" (process {id})"));
        format!("; worker {number}{process} has not been heard for {:.1} s", silence.as_secs_f64())
    }
}

/// No two shuffles of a machine begin in the same, nor two lives of a worker.
pub(super) fn nanoseconds_of_day() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

fn listen(speaker: Speaker, mut answers: impl io::BufRead, tell_us: &Sender<(Speaker, Heard)>) {
    loop {
        let heard = match hear(&mut answers) {
            Ok(Some(answer)) => understand(answer, &mut answers).unwrap_or_else(|error| Heard::Gone(Some(error))),
            Ok(None) => Heard::Gone(None),
            Err(error) => Heard::Gone(Some(error)),
        };
        let gone = matches!(heard, Heard::Gone(_));
        if tell_us.send((speaker, heard)).is_err() || gone {
            return;
        }
    }
}

fn understand(answer: Answer, from: &mut impl io::BufRead) -> io::Result<Heard> {
    Ok(Heard::Said(match answer {
        Answer::Ready { location, engine, disk, bytes_estimate, held } => {
            Said::Ready(Ready { location, engine, disk, bytes_estimate, held })
        }
        Answer::Progress { written, read } => Said::Progress { written, read },
        Answer::Halted => Said::Halted,
        Answer::Done(done) => {
            let sent = hear_digests(from, done.sent_digests)?;
            let received = hear_digests(from, done.received_digests)?;
            Said::Done(Finished { done: *done, sent, received })
        }
        Answer::Released(totals) => Said::Released(totals),
        Answer::Failed { error } => return Ok(Heard::Failed(error)),
    }))
}
