//! What a reactor does later: flushes, and the deadlines of consumers that wait for a partition.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use sluice_protocol::{ChannelId, PartitionId, Ticket, Time};

use super::incoming::Subscription;
use crate::gate::{ChannelLocation, GateId};
use crate::mailbox::SessionId;
use crate::partition::{FlushOutcome, WriterEnd};

/// A writer that was busy when its flush was due is asked again after this.
const FLUSH_AGAIN: Duration = Duration::from_millis(1);

/// Who waits for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waiter {
    Remote(SessionId, ChannelId, Ticket),
    Here(GateId, u32, Box<ChannelLocation>),
}

/// A consumer whose partition is not here yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) waiter: Waiter,
    pub(super) partition: PartitionId,
    pub(super) subpartition: u32,
}

/// Everything that has a time.
#[derive(Default)]
pub(super) struct Timers {
    /// In the order in which they are due; the number tells those of one moment apart.
    flushes: BTreeMap<(Time, u64), WriterEnd>,
    /// By partition: a thousand writers that appear one after the other each find theirs at once.
    waiting: HashMap<PartitionId, Vec<(Time, Waiting)>>,
    /// No deadline of those is earlier.
    earliest: Option<Time>,
    count: u64,
    /// Channels that are to be opened anew.
    again: BTreeMap<(Time, u64), Subscription>,
}

impl Timers {
    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    pub(super) fn flush_later(&mut self, now: Time, writer: WriterEnd) {
        if let Some(interval) = writer.interval() {
            let number = self.number();
            self.flushes.insert((now.after(interval), number), writer);
        }
    }

    /// Flushes what is due. True if there was anything.
    pub(super) fn flush_due(&mut self, now: Time) -> bool {
        let mut busy = false;
        while let Some(entry) = self.flushes.first_entry().filter(|entry| entry.key().0 <= now) {
            let writer = entry.remove();
            busy = true;
            if writer.flush() == FlushOutcome::Again {
                let number = self.number();
                self.flushes.insert((now.after(FLUSH_AGAIN), number), writer);
            }
        }
        busy
    }

    pub(super) fn subscribe_later(&mut self, at: Time, subscription: Subscription) {
        let number = self.number();
        self.again.insert((at, number), subscription);
    }

    /// The next channel that is to be opened anew by now.
    pub(super) fn subscription_due(&mut self, now: Time) -> Option<Subscription> {
        let entry = self.again.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    pub(super) fn wait_until(&mut self, deadline: Time, waiting: Waiting) {
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        self.waiting.entry(waiting.partition).or_default().push((deadline, waiting));
    }

    /// Those whose time is over.
    pub(super) fn overdue(&mut self, now: Time) -> Vec<Waiting> {
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return Vec::new();
        }
        let mut overdue = Vec::new();
        self.retain(|deadline, waiting| {
            let in_time = deadline > now;
            if !in_time {
                overdue.push(waiting.clone());
            }
            in_time
        });
        overdue.sort_unstable_by_key(|waiting| (waiting.partition, waiting.subpartition));
        self.earliest = self.waiting.values().flatten().map(|(deadline, _)| *deadline).min();
        overdue
    }

    /// Takes out those who wait for a partition.
    pub(super) fn take_waiting(&mut self, partition: PartitionId) -> Vec<Waiting> {
        let waiting = self.waiting.remove(&partition).unwrap_or_default();
        waiting.into_iter().map(|(_, waiting)| waiting).collect()
    }

    fn retain(&mut self, mut keep: impl FnMut(Time, &Waiting) -> bool) {
        self.waiting.retain(|_, of_partition| {
            of_partition.retain(|(deadline, waiting)| keep(*deadline, waiting));
            !of_partition.is_empty()
        });
    }

    /// A channel of this worker waits for a partition of this worker.
    pub(super) fn wait_here(&mut self, deadline: Time, gate: GateId, channel: u32, location: ChannelLocation) {
        let (partition, subpartition) = (location.partition, location.subpartition);
        let waiter = Waiter::Here(gate, channel, Box::new(location));
        self.wait_until(deadline, Waiting { waiter, partition, subpartition });
    }

    /// The channel, or all of a session if there is none, waits no more.
    pub(super) fn forget(&mut self, session: SessionId, channel: Option<ChannelId>) {
        self.retain(|_, waiting| match waiting.waiter {
            Waiter::Remote(other, waits, _) => other != session || channel.is_some_and(|channel| channel != waits),
            Waiter::Here(..) => true,
        });
    }

    /// The gate waits no more.
    pub(super) fn forget_gate(&mut self, gate: GateId) {
        self.again.retain(|_, subscription| subscription.gate != gate);
        self.retain(|_, waiting| !matches!(waiting.waiter, Waiter::Here(waits, ..) if waits == gate));
    }

    /// When the next thing is due.
    pub(super) fn next(&self) -> Option<Time> {
        let flush = self.flushes.first_key_value().map(|((time, _), _)| *time);
        let again = self.again.first_key_value().map(|((time, _), _)| *time);
        flush.into_iter().chain(again).chain(self.earliest).min()
    }
}
