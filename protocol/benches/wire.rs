//! What a message costs besides its payload: its head, and the arithmetic of its credit.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sluice_protocol::wire::{Backlog, Block, Frame, Head, HeadBuilder, Placement};
use sluice_protocol::{ChannelId, Credit, Limits, LinkEpoch};

/// The head of 16 data frames with bodies of 32 KiB, one for each of 16 channels.
fn head(memory: Vec<u8>) -> Vec<u8> {
    let mut head = HeadBuilder::new(memory);
    for channel in 0..16 {
        let backlog = Backlog { bytes: 65536, blocks: 2, next: 32768 };
        let block = Block { sequence: 1000, length: 32768, crc: 0x1234_5678, codec: 0, backlog };
        head.push(&Frame::Data(ChannelId(channel), black_box(block), Placement::Body));
    }
    head.finish(LinkEpoch(1), 77, 76, true)
}

fn wire(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut memory = Vec::with_capacity(4096);
    criterion.bench_function("head encode, 16 data frames", |bencher| {
        bencher.iter(|| memory = head(std::mem::take(&mut memory)));
    });
    let bytes = head(Vec::new());
    criterion.bench_function("head decode, 16 data frames", |bencher| {
        bencher.iter(|| {
            let head = Head::parse(black_box(&bytes), &limits).expect("a valid head");
            head.frames().map(|frame| matches!(frame, Frame::Data(..)) as u32).sum::<u32>()
        });
    });
}

fn credit(criterion: &mut Criterion) {
    criterion.bench_function("credit: grant, 8 spends, return", |bencher| {
        let mut credit = Credit::default();
        bencher.iter(|| {
            credit.grant(black_box(9 * 4096));
            for _ in 0..8 {
                assert!(credit.spend(black_box(4096)));
            }
            credit.return_above(0)
        });
    });
}

criterion_group!(benches, wire, credit);
criterion_main!(benches);
