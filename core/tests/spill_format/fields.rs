//! A field that holds what it cannot, behind right checksums: refused by its name and place, one by one.

use sluice_core::SubpartitionIndex;
use sluice_core::spill::{
    BlockEntry, BlockKind, Codec, DirectoryBuilder, FileSet, Footer, Header, SectionPlace, Stamp, Trailer, checksum,
};

use crate::files::{Bytes, Writer, check, data, set};

/// Two slices of two blocks and of one, and where their section lies.
fn section() -> (Vec<u8>, SectionPlace) {
    let block =
        |bytes| BlockEntry { stored_bytes: bytes, raw_bytes: bytes, crc: 0, codec: Codec::None, kind: BlockKind::Data };
    let mut builder = DirectoryBuilder::new(set().stamp(), set().first, set().count);
    builder.add(SubpartitionIndex(2), 100, &[block(10), block(20)]);
    builder.add(SubpartitionIndex(2), 200, &[block(50)]);
    let (bytes, directory) = builder.finish(4096);
    let place = directory.section(SubpartitionIndex(2)).expect("it has blocks");
    let begin = (place.offset - directory.offset()) as usize;
    (bytes[begin..begin + place.bytes as usize].to_vec(), place)
}

fn seal_section(bytes: &mut [u8]) {
    let crc = checksum(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn entries_that_make_no_sense_are_refused() {
    let (whole, place) = section();
    assert_eq!(place.decode(&whole).expect("it is whole").len(), 2);
    // The first slice is at 16, its blocks at 28 and 44; the second at 60, its block at 72.
    let refusals: [(usize, &[u8], &str); 13] = [
        (16, &[201], "offset 60: directory 0: section of subpartition 2: slice offset is 200, expected 231 or more"),
        (60, &[129], "slice offset is 129, expected 130 or more"),
        (60, &[0xff, 0xff], "slice offset is 65535, expected 130 or more, with 50 bytes in front of 4096"),
        (60, &[0xff; 8], "slice offset is 18446744073709551615"),
        (24, &[0], "offset 24: directory 0: section of subpartition 2: blocks of a slice is 0, expected 1 to 3"),
        (24, &[0xff; 4], "blocks of a slice is 4294967295, expected 1 to 3"),
        (40, &[3], "offset 40: directory 0: section of subpartition 2: codec is 3, expected 0, 1 or 2"),
        (41, &[2], "kind is 2, expected 0 or 1"),
        (28, &[0, 0, 0, 0, 0], "raw bytes is 0, expected 1 to 67108864"),
        (32, &[0, 0, 0, 5], "raw bytes is 83886080, expected 1 to 67108864"),
        (28, &[9], "stored bytes is 9, expected 10, as many as raw ones"),
        (40, &[1], "stored bytes is 10, expected less than 10 raw ones"),
        (28, &[0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 2], "stored bytes is 0, expected less than 10"),
    ];
    for (at, change, expected) in refusals {
        let mut bytes = whole.clone();
        bytes[at..at + change.len()].copy_from_slice(change);
        seal_section(&mut bytes);
        let error = place.decode(&bytes).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}\n{expected}");
    }
}

#[test]
fn a_section_that_ends_within_a_slice_is_refused() {
    let (whole, place) = section();
    // Behind the section's header, each slice's header and blocks.
    let ends = [60, 88];
    for length in 0..=whole.len() {
        let mut bytes = whole[..length].to_vec();
        if length >= 4 {
            seal_section(&mut bytes);
        }
        // The first slice alone is one that says two blocks: it is whole at 60.
        let place = SectionPlace { bytes: length as u32, ..place };
        assert_eq!(place.decode(&bytes).is_ok(), ends.contains(&length), "{length} bytes");
    }
}

#[test]
fn a_section_of_another_set_is_refused_by_its_stamp() {
    let (bytes, place) = section();
    let error = SectionPlace { stamp: Stamp(1), ..place }.decode(&bytes).expect_err("another set").to_string();
    let found = place.stamp.0;
    let expected = format!("offset 12: directory 0: section of subpartition 2: stamp is {found}, expected 1");
    assert_eq!(error, expected);
}

fn trailer() -> Trailer {
    Trailer {
        set: set(),
        part: 1,
        parts: 2,
        durable: false,
        footer_offset: 8192,
        footer_bytes: 5000,
        footer_crc: 0,
        boot: [0; 16],
        stored_bytes: 0,
    }
}

#[test]
fn pages_that_make_no_sense_are_refused() {
    let decode = |trailer: Trailer| Trailer::decode(&trailer.encode(), 20480).map_err(|error| error.to_string());
    assert_eq!(decode(trailer()), Ok(trailer()));
    let refusals = [
        (Trailer { part: 0, ..trailer() }, "offset 12: trailer: part is 0, expected 1: the last of 2 parts"),
        (Trailer { parts: 0, ..trailer() }, "part is 1, expected 0: the last of 0 parts"),
        (Trailer { footer_offset: 0, footer_bytes: 13000, ..trailer() }, "offset 64: trailer: footer offset is 0"),
        (Trailer { footer_offset: 8193, ..trailer() }, "footer offset is 8193"),
        (Trailer { footer_offset: 20480, ..trailer() }, "footer offset is 20480"),
        (Trailer { footer_offset: u64::MAX - 4095, ..trailer() }, "footer offset is 18446744073709547520"),
        (Trailer { footer_bytes: 4096, ..trailer() }, "footer bytes is 4096, expected what fills 8192 bytes"),
        (Trailer { footer_bytes: u64::MAX, ..trailer() }, "offset 72: trailer: footer bytes is 18446744073709551615"),
        (Trailer { set: FileSet { count: 0, ..set() }, ..trailer() }, "count is 0, expected 1 to 5"),
        (
            Trailer { set: FileSet { count: 6, ..set() }, ..trailer() },
            "offset 44: trailer: count is 6, expected 1 to 5",
        ),
        (Trailer { set: FileSet { subpartitions: 2, ..set() }, ..trailer() }, "first is 2, expected less than 2"),
    ];
    for (trailer, expected) in refusals {
        let error = decode(trailer).expect_err(expected);
        assert!(error.contains(expected), "{error}\n{expected}");
    }
    let mut page = Header { set: set(), part: 0 }.encode();
    page[10] = 3;
    let crc = checksum(&page[8..]);
    page[4..8].copy_from_slice(&crc.to_le_bytes());
    let error = Header::decode(&page).expect_err("there is no layout 3").to_string();
    assert_eq!(error, "offset 10: header: layout is 3, expected 1 or 2");
}

#[test]
fn directories_that_cannot_lie_where_the_footer_says_are_refused() {
    let mut writer = Writer::new(set(), Codec::None);
    for _ in 0..2 {
        writer.region(&[data(2, b"two"), data(4, b"four")]);
        writer.directory();
    }
    let (whole, _) = writer.footer().encode();
    // Behind the fixed bytes, three totals and one extent; each directory has an offset and five ends.
    let (first, second) = (32 + 3 * 24 + 32, 32 + 3 * 24 + 32 + 28);
    let refusals: [(usize, u64, &str); 8] = [
        (first, 4097, "directory offset is 4097, expected a multiple of 4096"),
        (second, 4096, "directory offset is 4096, expected a multiple of 4096 from 4216 on"),
        (second, 16384, "directory offset is 16384"),
        (second, u64::MAX - 4095, "directory offset is 18446744073709547520"),
        (first + 8, 76 << 32 | 31, "first section's offset is 31, expected 32"),
        (first + 8, 75 << 32 | 32, "end of a section is 75, expected 32 or 44 more"),
        (first + 8, 31 << 32 | 32, "end of a section is 31, expected 32 or 44 more"),
        (second + 20, 5000 << 32 | 5000, "directory offset is 12288"),
    ];
    let decode = |mut bytes: Vec<u8>| {
        let footer_crc = checksum(&bytes[8..]);
        bytes[4..8].copy_from_slice(&footer_crc.to_le_bytes());
        let footer_bytes = bytes.len() as u64;
        let trailer = Trailer { footer_offset: 1 << 20, footer_bytes, footer_crc, ..trailer() };
        Footer::decode(&bytes, &trailer)
    };
    assert!(decode(whole.clone()).is_ok());
    for (at, value, expected) in refusals {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let error = decode(bytes).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}\n{expected}");
    }
}

#[test]
fn a_check_says_which_part_is_in_anothers_place_and_how_many_there_should_be() {
    let mut writer = Writer::new(set(), Codec::None);
    writer.region(&[data(2, b"two")]);
    let whole = writer.finish().remove(0).0;
    let problems = |parts: &mut [Bytes]| {
        let texts = check(parts).problems.into_iter().map(|(part, error)| format!("part {part}: {error}"));
        texts.collect::<Vec<_>>()
    };
    let mut moved = whole.clone();
    moved[..4096].copy_from_slice(&Header { set: set(), part: 1 }.encode());
    assert_eq!(problems(&mut [Bytes(moved)]), ["part 0: offset 12: header: part is 1, expected 0"]);
    let end = whole.len();
    let mut of_two = whole.clone();
    let last = Trailer::decode(&whole[end - 4096..], end as u64).expect("it is finished");
    of_two[end - 4096..].copy_from_slice(&Trailer { part: 1, parts: 2, ..last }.encode());
    let found = problems(&mut [Bytes(of_two)]);
    assert_eq!(found, ["part 1: offset 0: file: number of parts is 1, expected 2 of them"]);
}
