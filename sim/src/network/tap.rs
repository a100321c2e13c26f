//! Listens to what goes over the links: who reads what on which channel, and whether its credit adds up.

use std::collections::BTreeMap;

use sluice_core::{NodeId, PartitionId};
use sluice_protocol::wire::{Frame, Head, Placement};
use sluice_protocol::{ChannelId, LinkEpoch};

use crate::coverage::Sight;
use crate::journal::{Journal, Rule};

/// A session, whichever link it is on: who began it, with whom, in which of their lives, and its number.
pub(super) type SessionKey = (NodeId, u64, NodeId, u64, u16, u64);

/// A channel is named by its session and by the node that gave out its id.
type ChannelKey = (SessionKey, NodeId, ChannelId);

/// All channels that were ever asked for.
#[derive(Default)]
pub(super) struct Tap(BTreeMap<ChannelKey, Tapped>);

/// What the two ends of a channel have said about it.
#[derive(Clone, Copy, Debug)]
struct Tapped {
    partition: PartitionId,
    subpartition: u32,
    granted: u64,
    spent: u64,
    returned: u64,
    cancelled: bool,
    /// Of the link that the figures are for.
    epoch: LinkEpoch,
}

/// Who says something to whom, and on what.
pub(super) struct Said {
    pub(super) session: SessionKey,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) remote: bool,
}

impl Tap {
    /// A message goes out. With slots credit is not bytes: then it is the slots that have to be there.
    pub(super) fn sent(&mut self, journal: &Journal, said: &Said, head: &Head) {
        let Said { session, from, to, remote } = *said;
        let epoch = head.prefix().epoch;
        for frame in head.frames() {
            match frame {
                Frame::Open(channel, open) => {
                    let tapped = Tapped {
                        partition: open.partition,
                        subpartition: open.subpartition.0,
                        granted: open.granted,
                        spent: 0,
                        returned: 0,
                        cancelled: false,
                        epoch,
                    };
                    self.0.insert((session, from, channel), tapped);
                    journal.saw(if open.keep == 0 { Sight::OnDemand } else { Sight::Window });
                }
                Frame::Grant { channel, granted, .. } => {
                    if let Some(tapped) = self.0.get_mut(&(session, from, channel)) {
                        tapped.granted = tapped.granted.max(granted);
                    }
                }
                Frame::Resume(channel, resume) => {
                    journal.saw(Sight::Resume);
                    if let Some(tapped) = self.0.get_mut(&(session, from, channel)) {
                        (tapped.granted, tapped.spent) = (resume.granted, resume.spent);
                        (tapped.returned, tapped.epoch) = (resume.returned, epoch);
                    }
                }
                Frame::Cancel { channel } => {
                    journal.saw(Sight::Cancel);
                    if let Some(tapped) = self.0.get_mut(&(session, from, channel)) {
                        tapped.cancelled = true;
                    }
                }
                Frame::Reclaim { .. } => journal.saw(Sight::Reclaim),
                Frame::Data(channel, block, placement) => {
                    journal.saw(match placement {
                        Placement::Inline(_) => Sight::Inline,
                        Placement::Body => Sight::Body,
                        Placement::Slot(_) => Sight::Slot,
                    });
                    if let Some(tapped) = self.0.get_mut(&(session, to, channel)).filter(|tapped| tapped.epoch == epoch)
                    {
                        tapped.spent += u64::from(block.length);
                        if tapped.cancelled {
                            journal.saw(Sight::CancelLate);
                        }
                        if !remote {
                            tapped.check(journal, channel);
                        }
                    }
                }
                Frame::Return { channel, returned, .. } => {
                    journal.saw(Sight::Returned);
                    if let Some(tapped) = self.0.get_mut(&(session, to, channel)).filter(|tapped| tapped.epoch == epoch)
                    {
                        tapped.returned = tapped.returned.max(returned);
                        if !remote {
                            tapped.check(journal, channel);
                        }
                    }
                }
                Frame::Event { overtook, .. } => {
                    journal.saw(if overtook.is_some() { Sight::PriorityEvent } else { Sight::Event });
                }
                _ => {}
            }
        }
    }

    /// What a channel carries, if anybody asked for it.
    pub(super) fn reads(
        &self,
        session: SessionKey,
        consumer: NodeId,
        channel: ChannelId,
    ) -> Option<(PartitionId, u32, bool)> {
        let tapped = self.0.get(&(session, consumer, channel))?;
        Some((tapped.partition, tapped.subpartition, tapped.cancelled))
    }
}

impl Tapped {
    fn check(&self, journal: &Journal, channel: ChannelId) {
        let Self { granted, spent, returned, partition, subpartition, .. } = *self;
        if spent + returned > granted {
            let text = format!(
                "channel {channel} ({partition} / {subpartition}): {spent} spent and {returned} returned of {granted} granted"
            );
            journal.fail(Rule::Credit, text);
        }
    }
}

/// A head in words, for the trace.
pub(super) fn words(head: &Head) -> String {
    let prefix = head.prefix();
    let mut words = format!("message {} (received {})", prefix.message, prefix.received);
    for frame in head.frames() {
        let word = match frame {
            Frame::Open(channel, open) => format!("open {channel} {}/{}", open.partition, open.subpartition),
            Frame::Grant { channel, granted, events, keep } => {
                format!("grant {channel} to {granted} events {events} keep {keep}")
            }
            Frame::GrantSlots { channel, first, slots, .. } => {
                format!("slots {channel} from {first} count {}", slots.len() / 16)
            }
            Frame::Reclaim { channel, keep } => format!("reclaim {channel} keep {keep}"),
            Frame::Cancel { channel } => format!("cancel {channel}"),
            Frame::Reject { channel } => format!("reject {channel}"),
            Frame::Resume(channel, resume) => format!("resume {channel} at {}", resume.received_through),
            Frame::Resumed => "resumed".into(),
            Frame::Data(channel, block, placement) => {
                let place = match placement {
                    Placement::Inline(_) => "inline".into(),
                    Placement::Body => "body".into(),
                    Placement::Slot(number) => format!("slot {number}"),
                };
                format!("data {channel} #{} {} bytes {place}", block.sequence, block.length)
            }
            Frame::Backlog(channel, backlog) => format!("backlog {channel} {} next {}", backlog.bytes, backlog.next),
            Frame::Event { channel, sequence, overtook, .. } => {
                let priority = if overtook.is_some() { "priority " } else { "" };
                format!("{priority}event {channel} #{sequence}")
            }
            Frame::End { channel, sequence, blocks, bytes } => {
                format!("end {channel} #{sequence} of {blocks} blocks {bytes} bytes")
            }
            Frame::Failed { channel, code, text } => format!("failed {channel} {code}: {text}"),
            Frame::Cancelled { channel } => format!("cancelled {channel}"),
            Frame::Return { channel, returned, slots_through } => {
                format!("return {channel} to {returned} slots {slots_through}")
            }
            Frame::Close { code, text } => format!("close {code}: {text}"),
        };
        words.push_str(" · ");
        words.push_str(&word);
    }
    words
}

#[cfg(test)]
mod tests {
    use sluice_core::{Limits, SubpartitionIndex};
    use sluice_protocol::Ticket;
    use sluice_protocol::wire::{Backlog, Block, HeadBuilder, Open};

    use super::*;

    fn head(frame: &Frame<'_>) -> Head {
        let mut builder = HeadBuilder::new(Vec::new());
        builder.push(frame);
        Head::parse(&builder.finish(LinkEpoch(1), 1, 0, false), &Limits::default()).expect("as it was built")
    }

    #[test]
    fn what_is_spent_without_credit_is_found() {
        let (journal, mut tap) = (Journal::new(false), Tap::default());
        let session = (NodeId(0), 1, NodeId(1), 1, 0, 1);
        let consumer = Said { session, from: NodeId(0), to: NodeId(1), remote: false };
        let producer = Said { session, from: NodeId(1), to: NodeId(0), remote: false };
        let channel = ChannelId(3);
        let open = Open {
            partition: PartitionId::default(),
            subpartition: SubpartitionIndex(0),
            first_sequence: 0,
            granted: 1000,
            keep: 0,
            deadline_ms: 1,
            ticket: Ticket::default(),
        };
        tap.sent(&journal, &consumer, &head(&Frame::Open(channel, open)));
        let block = Block { sequence: 0, length: 900, crc: 0, codec: 0, backlog: Backlog::default() };
        let data = head(&Frame::Data(channel, block, Placement::Body));
        tap.sent(&journal, &producer, &data);
        assert!(!journal.has_failed(), "900 of 1000");
        tap.sent(&journal, &producer, &data);
        let (failures, ..) = journal.close();
        assert_eq!(failures[0].rule, Rule::Credit);
        assert!(failures[0].text.contains("1800 spent"), "{}", failures[0].text);
    }
}
