//! One session against a peer that is played by hand: what it refuses, what bounds it keeps, when it speaks.

#![expect(clippy::unwrap_used, reason = "in a test, also in its helpers")]

use std::collections::VecDeque;
use std::time::Duration;

use sluice_protocol::wire::{Backlog, Block, Frame, Head, HeadBuilder, Open, Placement, Resume, Slot};
use sluice_protocol::{
    ChannelId, Limits, LinkEpoch, Next, PartitionId, Place, ReasonCode, Session, SessionEvent, Source,
    SubpartitionIndex, Ticket, Time, Violation,
};

const CHANNEL: ChannelId = ChannelId(0);
const EPOCH: LinkEpoch = LinkEpoch(1);

fn open(granted: u64) -> Open {
    Open {
        partition: PartitionId::default(),
        subpartition: SubpartitionIndex(0),
        first_sequence: 0,
        granted,
        keep: 0,
        deadline_ms: 0,
        ticket: Ticket::NONE,
    }
}

fn block(sequence: u64, length: u32) -> Block {
    Block { sequence, length, crc: 0, codec: 0, backlog: Backlog::default() }
}

/// What `GrantSlots` carries: slots of these sizes.
fn slots(sizes: &[u32]) -> Vec<u8> {
    let slot = |bytes: &u32| [&1u64.to_le_bytes()[..], &2u32.to_le_bytes(), &bytes.to_le_bytes()].concat();
    sizes.iter().flat_map(slot).collect()
}

/// A session and a peer that says what the test wants.
struct Stage {
    session: Session,
    limits: Limits,
    messages: u64,
    blocks: Blocks,
}

/// Blocks of 2000 bytes for any channel.
#[derive(Default)]
struct Blocks(VecDeque<Vec<u8>>);

impl Source for Blocks {
    fn peek(&mut self, _: ChannelId) -> Option<Next<'_>> {
        self.0.front().map(|payload| Next::Block { payload, crc: 0, behind: Backlog::default() })
    }

    fn take(&mut self, _: ChannelId, _: u64, _: Place) {
        self.0.pop_front();
    }
}

impl Stage {
    fn new(limits: Limits, remote: bool) -> Self {
        let session = Session::new(limits, EPOCH, remote, Time(0));
        Self { session, limits, messages: 0, blocks: Blocks::default() }
    }

    /// A message of the peer that acknowledges `received`.
    fn hears(&mut self, received: u64, frames: &[Frame<'_>]) -> Result<Vec<String>, Violation> {
        let mut head = HeadBuilder::new(Vec::new());
        frames.iter().for_each(|frame| head.push(frame));
        self.messages += 1;
        let head = head.finish(self.session.epoch(), self.messages, received, false);
        let head = Head::parse(&head, &self.limits).unwrap();
        let mut events = Vec::new();
        let note = |event: SessionEvent<'_>| events.push(format!("{event:?}"));
        self.session.handle_head(Time(0), &head, note).map(|()| events)
    }

    /// The link is lost and another one is up.
    fn reconnects(&mut self) {
        self.session.link_lost();
        self.session.link_restored(LinkEpoch(self.session.epoch().0 + 1), Time(0));
        self.messages = 0;
    }

    fn says(&mut self) -> Option<Head> {
        let head = self.session.transmit(Time(0), &mut self.blocks, Vec::new())?;
        Some(Head::parse(&head, &self.limits).unwrap())
    }
}

#[test]
fn channels_over_the_agreed_number_are_a_violation() {
    let mut stage = Stage::new(Limits { channels_max: 3, ..Limits::default() }, false);
    for channel in 0..3 {
        stage.hears(0, &[Frame::Open(ChannelId(channel), open(0))]).unwrap();
    }
    let violation = stage.hears(0, &[Frame::Open(ChannelId(3), open(0))]);
    assert_eq!(violation, Err(Violation::Channels { channel: ChannelId(3), limit: 3 }));
}

#[test]
fn this_side_opens_no_more_channels_than_agreed() {
    let mut stage = Stage::new(Limits { channels_max: 2, ..Limits::default() }, false);
    stage.session.open(open(0));
    let channel = stage.session.open(open(0));
    assert!(!stage.session.can_open());
    assert!(stage.session.cancel(channel), "the peer never heard of it");
    assert!(stage.session.can_open());
}

#[test]
fn a_channel_that_is_opened_twice_is_a_violation() {
    let mut stage = Stage::new(Limits::default(), false);
    stage.hears(0, &[Frame::Open(CHANNEL, open(0))]).unwrap();
    assert_eq!(stage.hears(0, &[Frame::Open(CHANNEL, open(0))]), Err(Violation::OpenedTwice { channel: CHANNEL }));
}

#[test]
fn an_ended_channel_keeps_its_id_until_its_last_frame_is_acknowledged() {
    for (received, expected) in [(0, Err(Violation::OpenedTwice { channel: CHANNEL })), (1, Ok(2))] {
        let mut stage = Stage::new(Limits::default(), false);
        stage.hears(0, &[Frame::Open(CHANNEL, open(0))]).unwrap();
        stage.session.fail(CHANNEL, ReasonCode::PartitionGone, "released");
        stage.says().unwrap();
        let events = stage.hears(received, &[Frame::Open(CHANNEL, open(0))]);
        assert_eq!(events.map(|events| events.len()), expected);
    }
}

#[test]
fn slots_are_bounded_and_follow_each_other() {
    let slots = vec![1; 16 * 64];
    let grant = |first| Frame::GrantSlots { channel: CHANNEL, first, epoch: EPOCH, slots: &slots };
    let mut stage = Stage::new(Limits::default(), true);
    stage.hears(0, &[Frame::Open(CHANNEL, open(0))]).unwrap();
    for first in 0..Limits::SLOTS_MAX / 64 {
        stage.hears(0, &[grant(first * 64), grant(first * 64)]).expect("a repeated grant adds nothing");
    }
    let granted = Limits::SLOTS_MAX + 64;
    let violation = Violation::TooManySlots { channel: CHANNEL, granted, limit: Limits::SLOTS_MAX };
    assert_eq!(stage.hears(0, &[grant(Limits::SLOTS_MAX)]), Err(violation));
    let mut stage = Stage::new(Limits::default(), true);
    stage.hears(0, &[Frame::Open(CHANNEL, open(0))]).unwrap();
    let violation = Violation::SlotsGranted { channel: CHANNEL, found: u64::MAX, expected: 0 };
    assert_eq!(stage.hears(0, &[grant(u64::MAX)]), Err(violation));
}

#[test]
fn channels_nobody_gave_out_are_rejected_and_cannot_fill_a_queue() {
    let mut stage = Stage::new(Limits::default(), false);
    for message in 0..20 {
        let frames: Vec<_> =
            (0..50).map(|at| Frame::Data(ChannelId(message * 25 + at), block(0, 1), Placement::Inline(b"x"))).collect();
        let skipped = stage.hears(0, &frames).unwrap();
        assert_eq!(skipped.len(), 50, "all are skipped");
    }
    let rejected: Vec<_> = stage.says().unwrap().frames().map(|frame| format!("{frame:?}")).collect();
    assert_eq!(rejected.len(), 64);
    assert!(rejected[0].starts_with("Reject") && stage.session.is_quiet());
}

#[test]
fn a_rejected_channel_goes_silent() {
    let mut stage = Stage::new(Limits::default(), false);
    stage.hears(0, &[Frame::Open(CHANNEL, open(1 << 20))]).unwrap();
    stage.session.serve(CHANNEL);
    stage.blocks.0.push_back(vec![7; 2000]);
    let events = stage.hears(0, &[Frame::Reject { channel: CHANNEL }, Frame::Reject { channel: CHANNEL }]).unwrap();
    assert_eq!(events.len(), 1, "one request to drop the reader");
    assert!(stage.says().is_none());
}

#[test]
fn a_payload_is_placed_as_the_link_can() {
    for (remote, placement) in [(true, Placement::Body), (false, Placement::Slot(0))] {
        let mut stage = Stage::new(Limits::default(), remote);
        let channel = stage.session.open(open(1 << 20));
        stage.says().unwrap();
        let violation = stage.hears(1, &[Frame::Data(channel, block(0, 5000), placement)]);
        assert_eq!(violation, Err(Violation::Placement { channel }));
    }
}

#[test]
fn what_is_over_the_credit_or_out_of_order_is_a_violation() {
    let after = |frame: Frame<'_>| {
        let mut stage = Stage::new(Limits::default(), false);
        stage.session.open(open(4000));
        stage.says().unwrap();
        stage.hears(1, &[frame]).unwrap_err()
    };
    let data = |block| Frame::Data(CHANNEL, block, Placement::Body);
    assert_eq!(after(data(block(0, 4001))), Violation::Overdraft { channel: CHANNEL, length: 4001, credit: 4000 });
    assert_eq!(after(data(block(1, 1))), Violation::Sequence { channel: CHANNEL, found: 1, expected: 0 });
    let returned = Frame::Return { channel: CHANNEL, returned: 4001, slots_through: 0 };
    assert_eq!(after(returned), Violation::Returned { channel: CHANNEL });
    let resume = Resume { received_through: 0, granted: 0, spent: 0, returned: 0, events: 0, events_received: 0 };
    assert_eq!(after(Frame::Resume(CHANNEL, resume)), Violation::Resume { channel: CHANNEL, sequence: 0 });
}

#[test]
fn a_seventeenth_event_waits_and_a_priority_event_does_not() {
    let event = |sequence, overtook| Frame::Event { channel: CHANNEL, sequence, kind: 1, overtook, payload: b"" };
    for (overtook, fits) in [(None, false), (Some(0), true)] {
        let mut stage = Stage::new(Limits::default(), false);
        stage.session.open(open(0));
        stage.says().unwrap();
        for sequence in 0..16 {
            stage.hears(1, &[event(sequence, None)]).unwrap();
        }
        assert_eq!(stage.hears(1, &[event(16, overtook)]).is_ok(), fits);
    }
}

#[test]
fn messages_of_a_lost_link_or_another_epoch_are_refused() {
    let mut stage = Stage::new(Limits::default(), false);
    stage.session.link_lost();
    assert_eq!(stage.hears(0, &[]), Err(Violation::NotLinked));
    assert_eq!(stage.session.handle_timeout(Time(u64::MAX)), Ok(()), "a lost link is not silent");
    stage.session.link_restored(LinkEpoch(2), Time(0));
    let head = HeadBuilder::new(Vec::new()).finish(EPOCH, 1, 0, false);
    let head = Head::parse(&head, &stage.limits).unwrap();
    let violation = stage.session.handle_head(Time(0), &head, |_| ());
    assert_eq!(violation, Err(Violation::Epoch { found: EPOCH, expected: LinkEpoch(2) }));
}

#[test]
fn a_window_that_is_overrun_is_a_violation() {
    let limits = Limits { control_window: 8, ..Limits::default() };
    let mut stage = Stage::new(limits, false);
    for _ in 0..6 {
        stage.hears(0, &[Frame::Cancel { channel: CHANNEL }]).unwrap();
    }
    let overrun = stage.hears(0, &[Frame::Cancel { channel: CHANNEL }]);
    assert_eq!(overrun, Err(Violation::ControlWindow { outstanding: 7, window: 8 }), "two places are for updates");
}

/// A grant that is small beside what is outstanding waits. What was outstanding was under way as payload; when that
/// arrives, the producer has nothing left, and nobody calls `grant` again.
#[test]
fn a_grant_that_could_wait_is_told_when_the_payload_under_way_arrives() {
    let mut stage = Stage::new(Limits::default(), false);
    let channel = stage.session.open(open(100_000));
    stage.says().unwrap();
    stage.session.grant(channel, 20_000);
    assert!(stage.says().is_none(), "a small grant waits for others");
    stage.hears(1, &[Frame::Data(channel, block(0, 100_000), Placement::Body)]).unwrap();
    let head = stage.says().expect("a grant");
    assert!(head.frames().any(|frame| matches!(frame, Frame::Grant { granted: 120_000, .. })));
}

/// A message that leaves others waiting does not ask for an acknowledgement. If the others come to nothing, its blocks
/// would stay at the sender until the next heartbeat.
#[test]
fn blocks_are_acknowledged_although_what_waited_behind_them_vanished() {
    let limits = Limits { body_bytes_max: 4096, block_bytes_max: 4096, ..Limits::default() };
    let mut stage = Stage::new(limits, false);
    stage.hears(0, &[Frame::Open(CHANNEL, Open { keep: 1 << 20, ..open(1 << 20) })]).unwrap();
    stage.session.serve(CHANNEL);
    stage.blocks.0.extend([vec![7; 3000], vec![7; 3000]]);
    assert!(!stage.says().unwrap().prefix().acknowledge, "the second block does not fit and waits");
    stage.blocks.0.clear();
    let update = stage.says().expect("an update that asks");
    assert!(update.prefix().acknowledge && update.prefix().update_only);
    assert!(stage.says().is_none() && stage.session.is_quiet());
}

#[test]
fn nothing_goes_out_behind_the_goodbye() {
    let mut stage = Stage::new(Limits::default(), false);
    stage.session.close(ReasonCode::Shutdown, "done");
    assert_eq!(stage.says().unwrap().prefix().frames, 1);
    stage.session.open(open(0));
    assert!(stage.session.is_quiet() && stage.says().is_none());
}

/// A heartbeat that the full window holds back must not make its engine spin.
#[test]
fn a_heartbeat_that_cannot_go_out_is_not_due_again() {
    let limits = Limits { control_window: 8, silence_max: Duration::from_secs(60), ..Limits::default() };
    let mut stage = Stage::new(limits, false);
    stage.hears(0, &[Frame::Open(CHANNEL, Open { keep: 1 << 20, ..open(1 << 20) })]).unwrap();
    stage.session.serve(CHANNEL);
    for _ in 0..6 {
        stage.blocks.0.push_back(vec![7; 2000]);
        stage.session.data_ready(CHANNEL);
        stage.says().unwrap();
    }
    stage.blocks.0.push_back(vec![7; 2000]);
    stage.session.data_ready(CHANNEL);
    assert!(stage.says().is_none() && stage.session.is_quiet(), "two places are for updates");
    let due = stage.session.poll_timeout();
    stage.session.handle_timeout(due).unwrap();
    assert!(stage.session.poll_timeout() > due && stage.says().is_none());
    stage.hears(6, &[]).unwrap();
    assert_eq!(stage.says().unwrap().prefix().frames, 1);
}

#[test]
fn credit_above_what_may_be_kept_comes_back_the_oldest_slots_first() {
    let mut stage = Stage::new(Limits::default(), true);
    stage.hears(0, &[Frame::Open(CHANNEL, Open { keep: 5000, ..open(9000) })]).unwrap();
    let slots = slots(&[4000, 4000, 3000]);
    stage.hears(0, &[Frame::GrantSlots { channel: CHANNEL, first: 0, epoch: EPOCH, slots: &slots }]).unwrap();
    stage.session.serve(CHANNEL);
    let head = stage.says().expect("an idle channel gives back");
    let returned = Frame::Return { channel: CHANNEL, returned: 4000, slots_through: 2 };
    assert_eq!(head.frames().collect::<Vec<_>>(), [returned]);
}

#[test]
fn credit_is_void_with_its_link_and_its_counters_go_on() {
    let mut stage = Stage::new(Limits::default(), false);
    let channel = stage.session.open(open(4000));
    stage.says().unwrap();
    stage.hears(1, &[Frame::Data(channel, block(0, 1000), Placement::Body)]).unwrap();
    stage.reconnects();
    assert_eq!(stage.session.outstanding(channel), Some(0));
    let resume =
        Resume { received_through: 1, granted: 4000, spent: 1000, returned: 3000, events: 16, events_received: 0 };
    let frames = [Frame::Open(channel, open(0)), Frame::Resume(channel, resume), Frame::Resumed];
    assert_eq!(stage.says().unwrap().frames().collect::<Vec<_>>(), frames);
    stage.session.grant(channel, 500);
    let told = stage.says().unwrap();
    assert!(told.frames().eq([Frame::Grant { channel, granted: 4500, events: 16, keep: 0 }]));
    stage.hears(2, &[Frame::Data(channel, block(1, 500), Placement::Body)]).expect("what was granted anew");
    let over = stage.hears(2, &[Frame::Data(channel, block(2, 1), Placement::Body)]);
    assert_eq!(over, Err(Violation::Overdraft { channel, length: 1, credit: 0 }));
}

#[test]
fn what_is_granted_anew_before_the_resume_goes_out_goes_with_it() {
    let mut stage = Stage::new(Limits::default(), false);
    let channel = stage.session.open(open(4000));
    stage.says().unwrap();
    stage.reconnects();
    stage.session.grant(channel, 500);
    let resume =
        Resume { received_through: 0, granted: 4500, spent: 0, returned: 4000, events: 16, events_received: 0 };
    let frames = [Frame::Open(channel, open(0)), Frame::Resume(channel, resume), Frame::Resumed];
    assert_eq!(stage.says().unwrap().frames().collect::<Vec<_>>(), frames);
}

/// Its request would grant what is void.
#[test]
fn a_channel_that_the_peer_never_heard_of_loses_its_credit_as_well() {
    let mut stage = Stage::new(Limits::default(), false);
    let channel = stage.session.open(open(4000));
    stage.reconnects();
    let resume =
        Resume { received_through: 0, granted: 4000, spent: 0, returned: 4000, events: 16, events_received: 0 };
    let frames = [Frame::Resumed, Frame::Open(channel, open(0)), Frame::Resume(channel, resume)];
    assert_eq!(stage.says().unwrap().frames().collect::<Vec<_>>(), frames);
}

#[test]
fn a_cancelled_channel_holds_no_credit_over_a_lost_link() {
    let mut stage = Stage::new(Limits::default(), false);
    let channel = stage.session.open(open(4000));
    stage.says().unwrap();
    assert!(!stage.session.cancel(channel), "the peer has heard of it");
    stage.reconnects();
    assert_eq!(stage.session.outstanding(channel), Some(0));
    let frames = [Frame::Open(channel, open(0)), Frame::Cancel { channel }, Frame::Resumed];
    assert_eq!(stage.says().unwrap().frames().collect::<Vec<_>>(), frames);
}

#[test]
fn a_producer_has_after_a_reconnect_the_credit_that_its_consumer_says() {
    let mut stage = Stage::new(Limits::default(), false);
    stage.hears(0, &[Frame::Open(CHANNEL, open(4000))]).unwrap();
    stage.session.serve(CHANNEL);
    stage.reconnects();
    let resume =
        Resume { received_through: 0, granted: 4500, spent: 0, returned: 4000, events: 16, events_received: 0 };
    let frames = [Frame::Open(CHANNEL, open(0)), Frame::Resume(CHANNEL, resume), Frame::Resumed];
    stage.hears(0, &frames).unwrap();
    assert_eq!(stage.session.sender_credit(CHANNEL).unwrap().outstanding(), 500);
    stage.blocks.0.push_back(vec![7; 2000]);
    let head = stage.says().unwrap();
    // What is too little for the block comes back; nothing of the 4000 is left to pay for it.
    let waits = Backlog { bytes: 2000, blocks: 1, next: 2000 };
    let returned = Frame::Return { channel: CHANNEL, returned: 4500, slots_through: 0 };
    assert_eq!(head.frames().collect::<Vec<_>>(), [Frame::Resumed, returned, Frame::Backlog(CHANNEL, waits)]);
}

/// The bytes that a producer gave back on the old link are among those that the loss took back.
#[test]
fn what_a_producer_returned_on_the_old_link_does_not_count_twice() {
    let mut stage = Stage::new(Limits::default(), false);
    let channel = stage.session.open(open(4000));
    stage.says().unwrap();
    stage.reconnects();
    stage.session.grant(channel, 500);
    stage.says().unwrap();
    stage.hears(1, &[Frame::Return { channel, returned: 3000, slots_through: 0 }]).unwrap();
    assert_eq!(stage.session.outstanding(channel), Some(500));
}

#[test]
fn a_consumer_counts_slots_from_zero_on_each_link() {
    let mut stage = Stage::new(Limits::default(), true);
    let channel = stage.session.open(open(0));
    for (sequence, epoch) in [(0, 1), (1, 2), (2, 3)] {
        stage.session.grant_slots(channel, &[Slot { address: 1, key: 2, bytes: 2000 }; 2]);
        let head = stage.says().unwrap();
        let slots = slots(&[2000, 2000]);
        let granted = Frame::GrantSlots { channel, first: 0, epoch: LinkEpoch(epoch), slots: &slots };
        assert!(head.frames().any(|frame| frame == granted));
        stage.hears(1, &[Frame::Data(channel, block(sequence, 2000), Placement::Slot(0))]).unwrap();
        stage.reconnects();
    }
}

#[test]
fn a_producer_counts_slots_from_zero_on_each_link() {
    let mut stage = Stage::new(Limits::default(), true);
    let slots = slots(&[2000, 2000]);
    for (sequence, epoch) in [(0, 1), (1, 2), (2, 3)] {
        let resume =
            Resume { received_through: sequence, granted: 0, spent: 0, returned: 0, events: 16, events_received: 0 };
        let granted = Frame::GrantSlots { channel: CHANNEL, first: 0, epoch: LinkEpoch(epoch), slots: &slots };
        stage.hears(0, &[Frame::Open(CHANNEL, open(0)), Frame::Resume(CHANNEL, resume), granted]).unwrap();
        stage.session.serve(CHANNEL);
        stage.blocks.0.push_back(vec![7; 2000]);
        stage.session.data_ready(CHANNEL);
        let head = stage.says().unwrap();
        let sent = |frame| matches!(frame, Frame::Data(_, block, Placement::Slot(0)) if block.sequence == sequence);
        assert!(head.frames().any(sent), "{:?}", head.frames().collect::<Vec<_>>());
        stage.reconnects();
    }
}
