//! Answers to consumers that ask for a subpartition: here, gone, or wait until it comes.

use std::time::Duration;

use sluice_protocol::wire::Open;
use sluice_protocol::{ChannelId, PartitionId, ReasonCode, Time};

use super::Reactor;
use super::sessions::Subscription;
use super::timers::{Waiter, Waiting};
use crate::gate::Arrived;
use crate::mailbox::SessionId;
use crate::partition::Found;

impl Reactor {
    /// A peer asks for a subpartition. This side owns the wait: one answer, at the latest at the deadline.
    pub(super) fn channel_opened(&mut self, now: Time, session: SessionId, channel: ChannelId, open: Open) {
        match self.manager.find(open.partition) {
            Found::Here(_) => self.serve(session, channel, open.partition, open.subpartition.0),
            Found::Gone => {
                let text = format!("{} is released", open.partition);
                self.refuse(session, channel, ReasonCode::PartitionGone, &text);
            }
            Found::Unknown => {
                let deadline = now.after(Duration::from_millis(open.deadline_ms.into()));
                let waiter = Waiter::Remote(session, channel);
                self.timers.wait_until(
                    deadline,
                    Waiting { waiter, partition: open.partition, subpartition: open.subpartition.0 },
                );
            }
        }
    }

    fn serve(&mut self, session: SessionId, channel: ChannelId, partition: PartitionId, subpartition: u32) {
        let Found::Here(found) = self.manager.find(partition) else { return };
        if let Err(failure) = found.attach_remote(subpartition, session, channel) {
            return self.refuse(session, channel, failure.code, &failure.text);
        }
        if let Some(entry) = self.sessions.touch(session) {
            entry.source.attach(channel, found, subpartition);
            entry.session.serve(channel);
        }
    }

    pub(super) fn refuse(&mut self, session: SessionId, channel: ChannelId, code: ReasonCode, text: &str) {
        if let Some(entry) = self.sessions.touch(session) {
            entry.session.fail(channel, code, text);
        }
    }

    /// A partition has appeared.
    pub(super) fn serve_waiting(&mut self, now: Time, partition: PartitionId) {
        for waiting in self.timers.take_waiting(partition) {
            match waiting.waiter {
                Waiter::Remote(session, channel) => self.serve(session, channel, partition, waiting.subpartition),
                Waiter::Here(gate, channel, location) => {
                    self.subscribe(now, Subscription { gate, channel, location: *location, attempts: 0 });
                }
            }
        }
    }

    /// A partition will not come, or not again.
    pub(super) fn fail_waiting(&mut self, partition: PartitionId) {
        for waiting in self.timers.take_waiting(partition) {
            self.tell(&waiting.waiter, ReasonCode::PartitionGone, &format!("{partition} is released"));
        }
    }

    pub(super) fn partition_overdue(&mut self, waiting: &Waiting) {
        let text = format!(
            "{} did not appear on node {} in time (shuffle.partition_deadline)",
            waiting.partition, self.settings.node
        );
        self.tell(&waiting.waiter, ReasonCode::PartitionNotFound, &text);
    }

    fn tell(&mut self, waiter: &Waiter, code: ReasonCode, text: &str) {
        match waiter {
            Waiter::Remote(session, channel) => self.refuse(*session, *channel, code, text),
            Waiter::Here(gate, channel, _) => {
                if let Some(served) = self.gates.get(gate) {
                    served.inbox.deliver(*channel, Arrived::Failed { code, text: text.into() });
                }
            }
        }
    }
}
