//! A task that reads one subpartition of each of its job's producers, and compares.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sluice_core::{ChannelLocation, Delivery, InputGate, ReadError, ShuffleEnvironment, Time};

use super::{Content, Desk, Outcome};
use crate::coverage::Sight;
use crate::journal::Rule;
use crate::plan::Pace;

/// What a consumer needs to know.
pub(crate) struct Reading {
    pub(crate) name: String,
    pub(crate) environment: Arc<ShuffleEnvironment>,
    pub(crate) locations: Vec<ChannelLocation>,
    pub(crate) contents: Vec<Content>,
    pub(crate) pace: Pace,
    /// Between the locations that it learns.
    pub(crate) learns: Duration,
    pub(crate) cancels_after: Option<u64>,
}

/// A gate, and the channels whose locations it has not been told yet.
struct Gate {
    gate: InputGate,
    untold: Vec<(u32, ChannelLocation)>,
    next_at: Time,
    learns: Duration,
}

/// Reads it.
pub(crate) async fn consume(desk: Desk, reading: Reading) -> Outcome {
    let Reading { name, environment, locations, mut contents, pace, learns, cancels_after } = reading;
    let locations: Vec<_> = locations.into_iter().enumerate().map(|(index, at)| (index as u32, at)).collect();
    let count = locations.len() as u32;
    let (told, mut untold) = if learns.is_zero() { (locations, Vec::new()) } else { (Vec::new(), locations) };
    untold.reverse();
    let gate = match environment.create_gate(&name, count, &told) {
        Ok(gate) => gate,
        Err(error) => return Outcome::NotCreated(error.to_string()),
    };
    let mut gate = Gate { gate, untold, next_at: desk.now(), learns };
    let mut deliveries = 0;
    let mut ends = 0;
    let mut stopped = false;
    loop {
        if cancels_after.is_some_and(|after| deliveries >= after) {
            return Outcome::Cancelled;
        }
        let open: Vec<_> = contents.iter().map(Content::words).collect();
        let doing = format!("reading ({})", open.join(" "));
        let delivery = match desk.wait(&doing, |context| gate.poll_next(context, &desk)).await {
            None => {
                desk.journal.saw(Sight::Success);
                if ends != contents.len() {
                    let text = format!("{name} is complete with the ends of {ends} of {} channels", contents.len());
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
        deliveries += 1;
        ends += usize::from(matches!(delivery, Delivery::End { .. }));
        desk.journal
            .note(&[21, desk.number, deliveries, bytes_of(&delivery)], || format!("{name} gets {}", words(&delivery)));
        if let Err((channel, wrong)) = check(&mut contents, &delivery) {
            desk.journal.fail(Rule::Delivery, format!("{name}, channel {channel}: {wrong}"));
        }
        match pace {
            Pace::Slow(every, pause) if deliveries % every == 0 => desk.sleep(pause).await,
            Pace::Stops(after, pause) if deliveries > after && !stopped => {
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
