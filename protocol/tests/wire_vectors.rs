//! Heads as exact bytes: the wire cannot change unnoticed. A change here is another version of the protocol.

#![expect(clippy::unwrap_used, reason = "in a test, also in its helpers")]

use sluice_protocol::wire::{Backlog, Block, Frame, Head, HeadBuilder, Open, Placement, Resume};
use sluice_protocol::{ChannelId, JobId, Limits, LinkEpoch, PartitionId, ReasonCode, SubpartitionIndex, Ticket};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Encodes to `expected`, in which spaces are for the reader, and decodes to the same frames.
fn stands_as(frames: &[Frame<'_>], expected: &str) {
    let mut head = HeadBuilder::new(Vec::new());
    frames.iter().for_each(|frame| head.push(frame));
    let bytes = head.finish(LinkEpoch(3), 0x0102, 0x0304, !frames.is_empty());
    assert_eq!(hex(&bytes), expected.replace([' ', '\n'], ""));
    let head = Head::parse(&bytes, &Limits::default()).unwrap();
    assert_eq!(head.frames().collect::<Vec<_>>(), frames);
}

const BACKLOG: Backlog = Backlog { bytes: 0x11, blocks: 0x12, next: 0x13 };

#[test]
fn an_update_has_no_frames() {
    stands_as(
        &[],
        "534c5531 e2f170e4 00000000 30000000 00000000 0000 0200 \
         0201000000000000 0403000000000000 03000000 00000000",
    );
}

#[test]
fn what_a_consumer_says() {
    let open = Open {
        partition: PartitionId { job: JobId(0x21), partition: 0x22, attempt: 0x23 },
        subpartition: SubpartitionIndex(0x24),
        first_sequence: 0x25,
        granted: 0x26,
        keep: 0x27,
        deadline_ms: 0x28,
        ticket: Ticket([0x29; 16]),
    };
    let resume = Resume {
        received_through: 0x31,
        granted: 0x32,
        spent: 0x33,
        returned: 0x34,
        events: 0x35,
        events_received: 0x36,
    };
    let channel = ChannelId(0x0a0b_0c0d);
    let slots = [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0];
    stands_as(
        &[
            Frame::Open(channel, open),
            Frame::Resume(channel, resume),
            Frame::Resumed,
            Frame::Grant { channel, granted: 0x41, events: 0x42, keep: 0x43 },
            Frame::GrantSlots { channel, first: 0x51, epoch: LinkEpoch(0x52), slots: &slots },
            Frame::Reclaim { channel, keep: 0x61 },
            Frame::Cancel { channel },
            Frame::Reject { channel },
        ],
        "
         534c5531 70b285ef 0458df23 fa000000 00000000 0800 0100
         0201000000000000 0403000000000000 03000000 00000000
         010d0c0b0a21000000000000002200000000000000230000002400000025000000000000002600000000000000270000
           002800000029292929292929292929292929292929
         070d0c0b0a31000000000000003200000000000000330000000000000034000000000000003500000000000000360000
           0000000000
         08
         020d0c0b0a4100000000000000420000000000000043000000
         030d0c0b0a510000000000000052000000010001000000000000000200000003000000
         040d0c0b0a61000000
         050d0c0b0a
         060d0c0b0a
        ",
    );
}

#[test]
fn what_a_producer_says() {
    let channel = ChannelId(9);
    let block = Block { sequence: 0x71, length: 3, crc: 0x7273_7475, codec: 0, backlog: BACKLOG };
    stands_as(
        &[
            Frame::Data(channel, block, Placement::Inline(b"abc")),
            Frame::Data(channel, block, Placement::Body),
            Frame::Data(channel, block, Placement::Slot(0x76)),
            Frame::Backlog(channel, BACKLOG),
            Frame::Event { channel, sequence: 0x81, kind: 0x82, overtook: None, payload: b"ev" },
            Frame::Event { channel, sequence: 0x81, kind: 0x82, overtook: Some(0x83), payload: b"" },
            Frame::End { channel, sequence: 0x91, blocks: 0x92, bytes: 0x93 },
            Frame::Failed { channel, code: ReasonCode::ProducerFailed, text: "no" },
            Frame::Cancelled { channel },
            Frame::Return { channel, returned: 0xa1, slots_through: 0xa2 },
            Frame::Close { code: ReasonCode::Shutdown, text: "bye" },
        ],
        "
         534c5531 780368c7 46dbac8c 24010000 03000000 0b00 0100
         0201000000000000 0403000000000000 03000000 00000000
         10090000007100000000000000030000007574737200110000001200000013000000616263
         11090000007100000000000000030000007574737200110000001200000013000000
         120900000071000000000000000300000075747372001100000012000000130000007600000000000000
         1309000000110000001200000013000000
         14090000008100000000000000820002006576
         150900000081000000000000008200830000000000
         1609000000910000000000000092000000000000009300000000000000
         1709000000040002006e6f
         1809000000
         1909000000a100000000000000a200000000000000
         2001000300627965
        ",
    );
}
