//! Answers to consumers that ask for a subpartition: here, gone, or wait until it comes.

use std::sync::Arc;
use std::time::Duration;

use sluice_protocol::wire::Open;
use sluice_protocol::{ChannelId, PartitionId, ReasonCode, Ticket, Time};

use super::Reactor;
use super::incoming::Subscription;
use super::timers::{Waiter, Waiting};
use crate::gate::Arrived;
use crate::job_token::Request;
use crate::mailbox::SessionId;
use crate::partition::{BlockLog, Found};

impl Reactor {
    /// A peer asks for a subpartition. This side owns the wait: one answer, at the latest at the deadline.
    pub(super) fn channel_opened(&mut self, now: Time, session: SessionId, channel: ChannelId, open: Open) {
        // Before anything is told of the partition, be it only that there is none.
        let (partition, subpartition) = (open.partition, open.subpartition.0);
        if !self.may_read(session, channel, partition, subpartition, open.ticket) {
            return;
        }
        match self.manager.find(partition) {
            Found::Here(found) if found.is_open_to_readers() => self.serve(session, channel, found, subpartition),
            Found::Gone => {
                let text = format!("{partition} is released");
                self.refuse(session, channel, ReasonCode::PartitionGone, &text);
            }
            Found::Here(_) | Found::Unknown => {
                let deadline = now.after(Duration::from_millis(open.deadline_ms.into()));
                let waiter = Waiter::Remote(session, channel, open.ticket);
                self.timers.wait_until(deadline, Waiting { waiter, partition, subpartition });
            }
        }
    }

    /// Whether the consumer has shown the token of the partition's job; if not, it is told so.
    fn may_read(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        partition: PartitionId,
        subpartition: u32,
        ticket: Ticket,
    ) -> bool {
        let Some(entry) = self.sessions.get(session) else { return false };
        let request = Request {
            consumer: (entry.peer.node, entry.peer.incarnation),
            producer: (self.settings.node, self.settings.incarnation),
            session: entry.peer.session,
            lane: entry.peer.lane,
            partition,
            subpartition,
        };
        let Err(refusal) = self.settings.tokens.check(&request, ticket) else { return true };
        let text = refusal.text(partition.job);
        tracing::warn!(node = %entry.peer.node, %partition, "a request is refused: {text}");
        metrics::counter!("sluice_requests_refused_total", "reason" => refusal.label()).increment(1);
        self.refuse(session, channel, ReasonCode::NotAuthorized, &text);
        false
    }

    /// A partition that was there a moment ago.
    fn serve_or_refuse(&mut self, session: SessionId, channel: ChannelId, partition: PartitionId, subpartition: u32) {
        match self.manager.find(partition) {
            Found::Here(found) => {
                debug_assert!(found.is_open_to_readers(), "its consumers are called when it is");
                self.serve(session, channel, found, subpartition);
            }
            Found::Gone | Found::Unknown => {
                self.refuse(session, channel, ReasonCode::PartitionGone, &format!("{partition} is released"));
            }
        }
    }

    fn serve(&mut self, session: SessionId, channel: ChannelId, found: Arc<BlockLog>, subpartition: u32) {
        if self.read_from(session, channel, found, subpartition, 0)
            && let Some(entry) = self.sessions.touch(session)
        {
            entry.session.serve(channel);
        }
    }

    /// What a channel had sent of a retained partition, and the peer has not got, is read again.
    pub(super) fn serve_again(&mut self, session: SessionId, channel: ChannelId, sequence: u64) {
        let Some(entry) = self.sessions.get(session) else { return };
        if let Some((log, subpartition)) = entry.source.give_up_reader(channel) {
            self.read_from(session, channel, log, subpartition, sequence);
        }
    }

    /// Gives a channel a reader that begins with this item. False if it may not have one, of which it is told.
    fn read_from(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        log: Arc<BlockLog>,
        subpartition: u32,
        first: u64,
    ) -> bool {
        let reader = match log.attach_remote(subpartition, session, channel, first) {
            Ok(reader) => reader,
            Err(failure) => {
                self.refuse(session, channel, failure.code, &failure.text);
                return false;
            }
        };
        self.reader_attached(&log, reader, subpartition, first);
        if let Some(entry) = self.sessions.touch(session) {
            entry.source.attach(channel, log, reader, subpartition, first);
        }
        true
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
                Waiter::Remote(session, channel, ticket) => {
                    // The job may have got its token while the consumer waited.
                    let subpartition = waiting.subpartition;
                    if self.may_read(session, channel, partition, subpartition, ticket) {
                        self.serve_or_refuse(session, channel, partition, subpartition);
                    }
                }
                Waiter::Here(gate, channel, location) => {
                    self.subscribe(now, Subscription { gate, channel, location: *location, attempts: 0 });
                }
            }
        }
    }

    /// A partition will not come, or not again.
    pub(super) fn released(&mut self, partition: PartitionId) {
        if let Some(storage) = &mut self.storage {
            storage.release(partition);
        }
        // A block that was shown and waits for credit would keep its memory, and the consumers from hearing of the end.
        for session in self.sessions.all() {
            let Some(entry) = self.sessions.get(session) else { continue };
            let channels = entry.source.released(partition);
            for channel in channels {
                self.sessions.data_ready(session, channel);
            }
        }
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
            Waiter::Remote(session, channel, _) => self.refuse(*session, *channel, code, text),
            Waiter::Here(gate, channel, _) => {
                if let Some(served) = self.gates.get(gate) {
                    served.inbox.deliver(*channel, Arrived::Failed { code, text: text.into() });
                }
            }
        }
    }
}
