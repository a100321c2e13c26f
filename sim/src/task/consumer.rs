//! A task that reads one subpartition of each of its job's producers, and compares; if it can, again and again.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sluice_core::{
    ChannelLocation, Delivery, DescriptorError, InputGate, PartitionId, ReadError, ShuffleEnvironment, ShuffleMaster,
    Time,
};

use super::{Content, Desk, Outcome, Shared};
use crate::coverage::Sight;
use crate::journal::Rule;
use crate::plan::{Again, Pace};

/// How often a consumer asks the master where its partitions are.
const ASKS: Duration = Duration::from_millis(50);
/// So often a consumer that was told of an error begins again.
const RETRIES: u32 = 3;

/// What a consumer needs to know.
pub(crate) struct Reading {
    pub(crate) name: String,
    pub(crate) environment: Arc<ShuffleEnvironment>,
    pub(crate) places: Places,
    /// What comes of each producer.
    pub(crate) contents: Box<dyn Fn() -> Vec<Content>>,
    pub(crate) pace: Pace,
    /// Between the locations that it learns.
    pub(crate) learns: Duration,
    pub(crate) cancels_after: Option<u64>,
    /// Further readings.
    pub(crate) again: Vec<Again>,
    pub(crate) probes_from: Option<usize>,
}

/// How a consumer finds its partitions.
pub(crate) enum Places {
    /// It was told. What goes wrong is the end of it.
    Told(Vec<ChannelLocation>),
    /// From the master, whom it asks for so long. What goes wrong is tried again.
    Asked(Ask),
}

/// Where a subpartition of each of these partitions is.
pub(crate) struct Ask {
    pub(crate) master: Shared<ShuffleMaster>,
    pub(crate) partitions: Vec<PartitionId>,
    pub(crate) subpartition: u32,
    pub(crate) patience: Duration,
    /// Nobody is going to produce it any more.
    pub(crate) given_up: Rc<Cell<bool>>,
}

/// A gate over some of the producers, and the channels whose locations it has not been told yet.
struct Gate {
    gate: InputGate,
    channels: usize,
    /// The producer of its first channel.
    first: usize,
    untold: Vec<(u32, ChannelLocation)>,
    next_at: Time,
    learns: Duration,
}

/// Reads it, as often as it has to.
pub(crate) async fn consume(desk: Desk, reading: Reading) -> Outcome {
    let first = Again { pause: Duration::ZERO, cancels_after: reading.cancels_after };
    let mut outcome = Outcome::Cancelled;
    for (number, again) in [first].iter().chain(&reading.again).enumerate() {
        if number > 0 {
            desk.journal.saw(Sight::ReadAgain);
        }
        if !again.pause.is_zero() {
            desk.sleep(again.pause).await;
        }
        outcome = read_if_it_can_be(&desk, &reading, again.cancels_after).await;
        if !matches!(outcome, Outcome::Complete | Outcome::Cancelled) {
            return outcome;
        }
    }
    outcome
}

/// Begins anew where an error says that it should, and there is hope.
async fn read_if_it_can_be(desk: &Desk, reading: &Reading, cancels_after: Option<u64>) -> Outcome {
    let mut error = None;
    for retry in 0..=RETRIES {
        let locations = match &reading.places {
            Places::Told(locations) => locations.clone(),
            Places::Asked(ask) => match ask.locations(desk).await {
                Some(locations) => locations,
                None => return error.map_or(Outcome::NowhereFound, Outcome::ReadFailed),
            },
        };
        if retry > 0 {
            desk.journal.saw(Sight::Retry);
        }
        match read(desk, reading, locations, cancels_after).await {
            Outcome::ReadFailed(failed) if matches!(reading.places, Places::Asked(_)) => {
                desk.met(&failed);
                error = Some(failed);
                // Who is told at once that a worker is gone need not be told three times.
                desk.sleep(ASKS * (4 << retry)).await;
            }
            outcome => return outcome,
        }
    }
    error.map_or(Outcome::NowhereFound, Outcome::ReadFailed)
}

impl Ask {
    fn ask(&self) -> Result<Vec<ChannelLocation>, DescriptorError> {
        let master = self.master.borrow();
        let found = self.partitions.iter().map(|partition| master.descriptor(*partition));
        found.map(|descriptor| Ok(descriptor?.channel(self.subpartition))).collect()
    }

    /// When all of them are somewhere. `None` if one is lost, or away for too long.
    async fn locations(&self, desk: &Desk) -> Option<Vec<ChannelLocation>> {
        let until = desk.now().after(self.patience);
        loop {
            match self.ask() {
                Ok(locations) => return Some(locations),
                Err(DescriptorError::Away { .. }) if desk.now() < until && !self.given_up.get() => {}
                Err(_) => return None,
            }
            desk.sleep(ASKS).await;
        }
    }
}

/// Reads it once.
async fn read(desk: &Desk, reading: &Reading, locations: Vec<ChannelLocation>, cancels_after: Option<u64>) -> Outcome {
    let split = reading.probes_from.unwrap_or(locations.len());
    let (build, probe) = locations.split_at(split);
    let mut contents = (reading.contents)();
    let mut gates = Vec::new();
    // All are there from the beginning, whichever is read first.
    for (first, locations) in [(0, build), (split, probe)] {
        if !locations.is_empty() {
            match Gate::open(desk, reading, first, locations) {
                Ok(gate) => gates.push(gate),
                Err(outcome) => return outcome,
            }
        }
    }
    let mut deliveries = 0;
    for gate in &mut gates {
        match read_gate(desk, reading, gate, &mut contents, &mut deliveries, cancels_after).await {
            Outcome::Complete => {}
            outcome => return outcome,
        }
    }
    desk.journal.saw(Sight::Success);
    Outcome::Complete
}

async fn read_gate(
    desk: &Desk,
    reading: &Reading,
    gate: &mut Gate,
    contents: &mut [Content],
    deliveries: &mut u64,
    cancels_after: Option<u64>,
) -> Outcome {
    let (name, first) = (&reading.name, gate.first);
    let channels = gate.channels;
    let (mut ends, mut stopped) = (0, false);
    loop {
        if cancels_after.is_some_and(|after| *deliveries >= after) {
            return Outcome::Cancelled;
        }
        let open: Vec<_> = contents.iter().map(Content::words).collect();
        let doing = format!("reading ({})", open.join(" "));
        let delivery = match desk.wait(&doing, |context| gate.poll_next(context, desk)).await {
            None => {
                if ends != channels {
                    let text = format!("{name} is complete with the ends of {ends} of {channels} channels");
                    desk.journal.fail(Rule::Delivery, text);
                }
                return Outcome::Complete;
            }
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => {
                desk.journal.saw(Sight::ReadError);
                return Outcome::ReadFailed(error);
            }
        };
        *deliveries += 1;
        ends += usize::from(matches!(delivery, Delivery::End { .. }));
        desk.journal
            .note(&[21, desk.number, *deliveries, bytes_of(&delivery)], || format!("{name} gets {}", words(&delivery)));
        if let Err((channel, wrong)) = check(&mut contents[first..], &delivery) {
            desk.journal.fail(Rule::Delivery, format!("{name}, channel {channel}: {wrong}"));
        }
        match reading.pace {
            Pace::Slow(every, pause) if deliveries.is_multiple_of(every) => desk.sleep(pause).await,
            Pace::Stops(after, pause) if *deliveries > after && !stopped => {
                stopped = true;
                desk.sleep(pause).await;
            }
            _ => {}
        }
        // A slow task holds on to what it reads.
        drop(delivery);
        desk.breathe().await;
    }
}

impl Gate {
    fn open(desk: &Desk, reading: &Reading, first: usize, locations: &[ChannelLocation]) -> Result<Self, Outcome> {
        let Reading { name, environment, learns, .. } = reading;
        let locations: Vec<_> = locations.iter().cloned().enumerate().map(|(at, place)| (at as u32, place)).collect();
        let channels = locations.len();
        let (told, mut untold) = if learns.is_zero() { (locations, Vec::new()) } else { (Vec::new(), locations) };
        untold.reverse();
        match environment.create_gate(name, channels as u32, &told) {
            Ok(gate) => Ok(Self { gate, channels, first, untold, next_at: desk.now(), learns: *learns }),
            Err(error) => Err(Outcome::NotCreated(error.to_string())),
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>, desk: &Desk) -> Poll<Option<Result<Delivery, ReadError>>> {
        while !self.untold.is_empty() && desk.poll_until(context, self.next_at).is_ready() {
            self.next_at = desk.now().after(self.learns);
            if let Some((channel, location)) = self.untold.pop()
                && let Err(error) = self.gate.set_location(channel, location)
            {
                desk.journal.fail(Rule::Contract, format!("channel {channel} was not told its location: {error}"));
            }
        }
        self.gate.poll_next(context)
    }
}

fn check(contents: &mut [Content], delivery: &Delivery) -> Result<(), (u32, String)> {
    let (channel, checked) = match delivery {
        Delivery::Buffer { channel, buffer } => (*channel, contents[*channel as usize].bytes(buffer)),
        Delivery::Event { channel, event, overtook } => {
            (*channel, contents[*channel as usize].event(event, overtook.is_some()))
        }
        Delivery::End { channel } => (*channel, contents[*channel as usize].end()),
    };
    checked.map_err(|wrong| (channel, wrong))
}

fn bytes_of(delivery: &Delivery) -> u64 {
    match delivery {
        Delivery::Buffer { channel, buffer } => u64::from(*channel) << 32 | buffer.len() as u64,
        Delivery::Event { channel, event, .. } => u64::from(*channel) << 32 | 1 << 60 | u64::from(event.kind),
        Delivery::End { channel } => u64::from(*channel) << 32 | 1 << 61,
    }
}

fn words(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Buffer { channel, buffer } => format!("{} bytes of channel {channel}", buffer.len()),
        Delivery::Event { channel, event, overtook: None } => format!("event {} of channel {channel}", event.kind),
        Delivery::Event { channel, event, .. } => format!("priority event {} of channel {channel}", event.kind),
        Delivery::End { channel } => format!("the end of channel {channel}"),
    }
}
