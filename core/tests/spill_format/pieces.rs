//! What is written is read: sets of files, extents, names.

use proptest::collection::vec;
use proptest::prelude::*;
use sluice_core::spill::{BlockEntry, BlockKind, Codec, DirectoryBuilder, Extents, Layout, PartName};
use sluice_core::{JobId, PartitionId, SubpartitionIndex};

use crate::files::{Writer, Written, check, data, event, index, read, set, write};

fn any_codec() -> impl Strategy<Value = Codec> {
    prop_oneof![Just(Codec::None), Just(Codec::Lz4), Just(Codec::Zstd)]
}

fn any_block() -> impl Strategy<Value = Written> {
    let raw = prop_oneof![vec(any::<u8>(), 1..300), (any::<u8>(), 1..9000usize).prop_map(|(b, n)| vec![b; n])];
    let whose = proptest::option::weighted(0.9, 2..5u32);
    let kind = prop_oneof![Just(BlockKind::Data), Just(BlockKind::Event)];
    (whose, kind, raw).prop_map(|(subpartition, kind, raw)| Written { subpartition, kind, raw })
}

proptest! {
    #[test]
    fn each_subpartition_reads_what_was_written_for_it(
        codec in any_codec(),
        regions in vec((vec(any_block(), 0..12), any::<bool>(), any::<bool>()), 0..8),
    ) {
        let mut writer = Writer::new(set(), codec);
        for (blocks, directory, new_part) in &regions {
            writer.region(blocks);
            if *directory {
                writer.directory();
            }
            if *new_part {
                writer.begin_part();
            }
        }
        let mut parts = writer.finish();
        for subpartition in 2..5 {
            let written = regions.iter().flat_map(|(blocks, ..)| blocks);
            let expected: Vec<_> = written
                .filter(|block| block.subpartition.is_none_or(|whose| whose == subpartition))
                .map(|block| (block.kind, block.raw.clone()))
                .collect();
            prop_assert_eq!(read(&parts, subpartition), expected);
        }
        let report = check(&mut parts);
        prop_assert_eq!(report.problems, []);
        prop_assert_eq!(report.blocks, regions.iter().map(|(blocks, ..)| blocks.len() as u64).sum::<u64>());
    }

    #[test]
    fn a_range_lies_where_each_of_its_pages_lies(
        pushes in vec((0..3u16, 0..3u64, 1..5u64), 1..20),
        from in 0..20u64,
        length in 0..20u64,
    ) {
        let mut extents = Extents::new();
        let mut ends = [4096; 3];
        let mut pages = Vec::new();
        for (part, gap, count) in pushes {
            let physical = ends[usize::from(part)] + gap * 4096;
            ends[usize::from(part)] = physical + count * 4096;
            extents.push(extents.end(), part, physical, count * 4096);
            pages.extend((0..count).map(|page| (part, physical + page * 4096)));
        }
        prop_assert_eq!(extents.end(), pages.len() as u64 * 4096);
        let from = from.min(pages.len() as u64);
        let length = length.min(pages.len() as u64 - from);
        let located = extents.locate(from * 4096, length * 4096);
        let found: Vec<_> = located
            .flat_map(|(part, physical, bytes)| (0..bytes / 4096).map(move |page| (part, physical + page * 4096)))
            .collect();
        prop_assert_eq!(&found, &pages[from as usize..][..length as usize]);
        let neighbours = extents.iter().zip(extents.iter().skip(1));
        for (before, after) in neighbours {
            prop_assert!(before.part != after.part || before.physical + before.bytes != after.physical, "not joined");
        }
    }

    #[test]
    fn a_part_is_found_by_its_name(job: u64, partition: u64, attempt: u32, first: u32, is_merged: bool, part: u16) {
        let partition = PartitionId { job: JobId(job), partition, attempt };
        let name = PartName { partition, first: SubpartitionIndex(first), is_merged, part };
        prop_assert_eq!(name.to_string().parse(), Ok(name));
    }
}

#[test]
fn names_are_short_and_made_of_harmless_letters() {
    let partition = PartitionId { job: JobId(u64::MAX), partition: u64::MAX, attempt: u32::MAX };
    let longest = PartName { partition, first: SubpartitionIndex(u32::MAX), is_merged: true, part: u16::MAX };
    let longest = longest.to_string();
    assert!(longest.len() <= 100, "{longest}: {}", longest.len());
    assert!(longest.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)), "{longest}");
}

#[test]
fn what_is_not_exactly_a_name_is_none() {
    let name = "job7-partition3-attempt0-sub0-0.spill";
    assert!(name.parse::<PartName>().is_ok());
    assert!("job7-partition3-attempt0-sub0-m0.spill".parse::<PartName>().is_ok_and(|name| name.is_merged));
    for other in [
        "",
        "spill",
        "job7-partition3-attempt0-sub0-0",
        "job07-partition3-attempt0-sub0-0.spill",
        "job+7-partition3-attempt0-sub0-0.spill",
        "job7-partition3-attempt0-sub0-0-1.spill",
        "job7-partition3-attempt0-sub0-m.spill",
        "job7-partition3-attempt0-sub0-mm0.spill",
        "job7-partition3-attempt0-sub0-m00.spill",
        "job7-partition3-attempt4294967296-sub0-0.spill",
        "x/job7-partition3-attempt0-sub0-0.spill",
        "job7-partition3-attempt0-sub0-0.spill~",
    ] {
        assert!(other.parse::<PartName>().is_err(), "{other}");
    }
}

#[test]
fn a_block_may_lie_in_two_parts() {
    let long: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
    let parts = write(Codec::None, &[vec![data(2, &long), data(3, b"behind")]]);
    // The region's first page stays; the others are in another file.
    let mut footer = index(&parts);
    let mut split = Extents::new();
    split.push(0, 0, 4096, 4096);
    split.push(4096, 1, 4096, footer.extents.end() - 4096);
    footer.extents = split;
    let section = footer.directories[0].section(SubpartitionIndex(2)).expect("its block");
    let places: Vec<_> = footer.extents.locate(0, 10_000).collect();
    assert_eq!(places, [(0, 4096, 4096), (1, 4096, 5904)]);
    assert!(footer.extents.locate(section.offset, section.bytes.into()).all(|(part, ..)| part == 1));
}

#[test]
fn what_all_share_costs_one_entry_however_many_subpartitions_there_are() {
    let bytes = |count| {
        let parts = {
            let mut set = set();
            (set.subpartitions, set.first, set.count, set.layout) = (count, SubpartitionIndex(0), count, Layout::Hash);
            let mut writer = Writer::new(set, Codec::None);
            writer.region(&[event(b"to all"), event(b"once more")]);
            writer.finish()
        };
        index(&parts).directories[0].bytes()
    };
    assert_eq!(bytes(1), bytes(10_000));
}

#[test]
fn blocks_behind_each_other_are_one_slice_also_if_they_are_added_one_by_one() {
    let parts = write(Codec::None, &[vec![data(2, b"a"), data(2, b"bc"), data(3, b"d"), data(2, b"e")]]);
    let footer = index(&parts);
    let section = footer.directories[0].section(SubpartitionIndex(2)).expect("there are blocks");
    let (_, at, bytes) = footer.extents.locate(section.offset, section.bytes.into()).next().expect("a place");
    let slices = section.decode(&parts[0].0[at as usize..][..bytes as usize]).expect("a whole section");
    let shape: Vec<_> = slices.iter().map(|slice| (slice.offset, slice.blocks.len(), slice.end())).collect();
    assert_eq!(shape, [(0, 2, 3), (4, 1, 5)]);
}

#[test]
fn where_there_is_nothing_there_is_no_section() {
    let parts = write(Codec::None, &[vec![data(3, b"only here")]]);
    let footer = index(&parts);
    let sections = |index| footer.sections(SubpartitionIndex(index)).collect::<Vec<_>>();
    assert_eq!(sections(2), [(None, None)]);
    assert!(matches!(sections(3)[..], [(Some(_), None)]));
    assert_eq!(sections(1), [(None, None)], "another set has it");
    assert_eq!(sections(5), [(None, None)], "another set has it");
    assert_eq!(footer.totals_of(SubpartitionIndex(3)).map(|totals| totals.raw_bytes), Some(9));
    assert_eq!(footer.totals_of(SubpartitionIndex(5)), None);
    assert!(set().holds(SubpartitionIndex(4)) && !set().holds(SubpartitionIndex(1)));
}

#[test]
fn each_of_ten_thousand_subpartitions_reads_its_own_few_bytes() {
    let stamp = set().stamp();
    let mut builder = DirectoryBuilder::new(stamp, SubpartitionIndex(0), 10_000);
    // Two regions, the second in another order.
    for region in 0..2u32 {
        for place in 0..10_000 {
            let subpartition = (place + region * 5000) % 10_000;
            let offset = u64::from(region * 10_000 + place) * 8;
            builder.add(SubpartitionIndex(subpartition), offset, &[block(8, subpartition)]);
        }
    }
    let (bytes, place) = builder.finish(1 << 20);
    assert_eq!(place.bytes(), 32 + 10_000 * (16 + 2 * (12 + 16)));
    for subpartition in 0..10_000 {
        let section = place.section(SubpartitionIndex(subpartition)).expect("it has blocks");
        let bytes = &bytes[(section.offset - place.offset()) as usize..][..section.bytes as usize];
        let slices = section.decode(bytes).expect("a whole section");
        let second = u64::from(10_000 + (subpartition + 5000) % 10_000) * 8;
        assert_eq!(slices.iter().map(|s| s.offset).collect::<Vec<_>>(), [u64::from(subpartition) * 8, second]);
        assert!(slices.iter().all(|slice| slice.blocks == [block(8, subpartition)]));
    }
    assert!(builder.is_empty());
}

fn block(bytes: u32, crc: u32) -> BlockEntry {
    BlockEntry { stored_bytes: bytes, raw_bytes: bytes, crc, codec: Codec::None, kind: BlockKind::Data }
}

#[test]
#[should_panic(expected = "earlier ones of the same subpartition end at 100")]
fn a_subpartition_never_goes_back_in_the_file() {
    let mut builder = DirectoryBuilder::new(set().stamp(), SubpartitionIndex(0), 1);
    builder.add(SubpartitionIndex(0), 0, &[block(100, 0)]);
    builder.finish(4096);
    builder.add(SubpartitionIndex(0), 50, &[block(100, 0)]);
}
