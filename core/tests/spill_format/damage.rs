//! A small file with every bit flipped and cut at every place: refused, or harmless.

use sluice_core::spill::{
    BlockKind, Codec, FileSet, Footer, Header, PAGE_BYTES, Piece, Problem, Trailer, VERSION, checksum,
};

use crate::files::{Bytes, Writer, check, data, event, read, set, write};

fn small(codec: Codec) -> Vec<Bytes> {
    let text = b"the quick brown fox jumps over the lazy dog, ".repeat(8);
    write(codec, &[vec![data(4, &text), data(2, b"two"), data(3, b"three")], vec![event(b"end"), data(2, b"x")]])
}

fn streams(parts: &[Bytes]) -> Vec<Vec<(BlockKind, Vec<u8>)>> {
    (2..5).map(|subpartition| read(parts, subpartition)).collect()
}

/// The range of a part's bytes that some piece covers: what is left is padding.
fn covered(parts: &mut [Bytes]) -> Vec<std::ops::Range<usize>> {
    let report = check(parts);
    let footer = report.footer.expect("it is whole");
    let trailer = report.trailer.expect("it is whole");
    let end = parts[0].0.len();
    let mut covered = vec![0..PAGE_BYTES, end - PAGE_BYTES..end];
    covered.push(trailer.footer_offset as usize..(trailer.footer_offset + trailer.footer_bytes) as usize);
    for place in &footer.directories {
        let at = place.offset() as usize + PAGE_BYTES;
        covered.push(at..at + place.bytes() as usize);
    }
    // The two regions, each a page with its directory behind it. The second has `end` and `x`.
    covered.push(PAGE_BYTES..PAGE_BYTES + report.stored_bytes as usize - 4);
    covered.push(3 * PAGE_BYTES..3 * PAGE_BYTES + 4);
    covered
}

#[test]
fn every_flipped_bit_is_found_and_one_in_padding_is_harmless() {
    let mut parts = small(Codec::None);
    let whole = streams(&parts);
    let covered = covered(&mut parts);
    let mut harmless = 0;
    for byte in 0..parts[0].0.len() {
        // Pages are mostly zeros, under one checksum or padding: there one bit of each byte does.
        for bit in if byte % PAGE_BYTES < 400 { 0..8 } else { byte % 8..byte % 8 + 1 } {
            parts[0].0[byte] ^= 1 << bit;
            let report = check(&mut parts);
            assert!(!report.is_clean(), "byte {byte} bit {bit}");
            let is_padding = !covered.iter().any(|range| range.contains(&byte));
            if is_padding {
                let [(0, error)] = &report.problems[..] else { panic!("byte {byte}: {:?}", report.problems) };
                assert_eq!((error.piece, error.offset), (Piece::Padding, byte as u64), "{error}");
                // No reader looks at it.
                harmless += 1;
                assert_eq!(streams(&parts), whole, "byte {byte} bit {bit}");
            }
            parts[0].0[byte] ^= 1 << bit;
        }
    }
    assert!(harmless > 1000, "padding was tried as well: {harmless}");
}

/// Different compressed bytes may become the same raw ones, which is all that counts.
#[test]
fn a_flipped_bit_of_a_compressed_block_is_found_or_changes_nothing() {
    for codec in [Codec::Lz4, Codec::Zstd] {
        let mut parts = small(codec);
        let whole = streams(&parts);
        let stored = check(&mut parts).stored_bytes as usize - 4;
        let mut found = 0;
        for bit in 0..stored * 8 {
            let byte = PAGE_BYTES + bit / 8;
            parts[0].0[byte] ^= 1 << (bit % 8);
            if check(&mut parts).is_clean() {
                assert_eq!(streams(&parts), whole, "{codec}: byte {byte} bit {}", bit % 8);
            } else {
                found += 1;
            }
            parts[0].0[byte] ^= 1 << (bit % 8);
        }
        assert!(found > stored * 7, "{codec}: {found} of {} bits", stored * 8);
    }
}

#[test]
fn every_truncation_is_refused() {
    let parts = small(Codec::Lz4);
    for bytes in 0..parts[0].0.len() {
        let mut cut = [Bytes(parts[0].0[..bytes].to_vec())];
        assert!(!check(&mut cut).is_clean(), "cut to {bytes} bytes");
    }
}

#[test]
fn every_lost_page_is_found_unless_nothing_was_in_it() {
    let parts = small(Codec::Lz4);
    for page in 0..parts[0].0.len() / PAGE_BYTES {
        let mut lost = [Bytes(parts[0].0.clone())];
        lost[0].0[page * PAGE_BYTES..(page + 1) * PAGE_BYTES].fill(0);
        assert!(!check(&mut lost).is_clean(), "page {page}");
    }
}

#[test]
fn a_page_of_another_file_of_the_same_shape_is_found() {
    let mut other = set();
    other.partition.attempt += 1;
    let mut writer = Writer::new(other, Codec::None);
    let blocks = vec![data(2, b"same"), data(3, b"bytes")];
    writer.region(&blocks);
    writer.directory();
    let other = writer.finish();
    let whole = write(Codec::None, &[blocks]);
    for page in (0..whole[0].0.len()).step_by(PAGE_BYTES) {
        let mut mixed = [Bytes(whole[0].0.clone())];
        mixed[0].0[page..page + PAGE_BYTES].copy_from_slice(&other[0].0[page..page + PAGE_BYTES]);
        let same = whole[0].0[page..page + PAGE_BYTES] == other[0].0[page..page + PAGE_BYTES];
        assert_eq!(check(&mut mixed).is_clean(), same, "page at {page}");
        assert_eq!(same, page == PAGE_BYTES, "only the payload is the same");
    }
}

fn with_version(page: &[u8], version: u16) -> Vec<u8> {
    let mut page = page.to_vec();
    page[8..10].copy_from_slice(&version.to_le_bytes());
    let crc = checksum(&page[8..]);
    page[4..8].copy_from_slice(&crc.to_le_bytes());
    page
}

#[test]
fn another_version_is_refused_by_its_number() {
    let parts = small(Codec::Lz4);
    let bytes = &parts[0].0;
    let problem = Problem::Version { found: VERSION + 1, expected: VERSION };
    let header = Header::decode(&with_version(&bytes[..PAGE_BYTES], VERSION + 1)).expect_err("another version");
    assert_eq!((header.offset, header.piece, &header.problem), (8, Piece::Header, &problem));
    let page = with_version(&bytes[bytes.len() - PAGE_BYTES..], VERSION + 1);
    let trailer = Trailer::decode(&page, bytes.len() as u64).expect_err("another version");
    assert_eq!((trailer.offset, trailer.piece, &trailer.problem), (8, Piece::Trailer, &problem));
    let text = "offset 8: header: version 2, expected 1: written by another version of sluice";
    assert_eq!(header.to_string(), text);
}

#[test]
fn what_reserved_bytes_hold_is_for_later_writers() {
    let parts = small(Codec::Lz4);
    let mut page = parts[0].0[..PAGE_BYTES].to_vec();
    let plain = Header::decode(&page).expect("it is whole");
    page[2000] = 7;
    let page = with_version(&page, VERSION);
    assert_eq!(Header::decode(&page), Ok(plain));
}

#[test]
fn files_that_are_no_spill_are_refused_with_what_was_expected() {
    let problems = |bytes: Vec<u8>| {
        let report = check(&mut [Bytes(bytes)]);
        report.problems.iter().map(|(_, error)| error.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        problems(Vec::new()),
        ["offset 0: header: 0 bytes, expected 4096", "offset 0: trailer: 0 bytes, expected 4096"]
    );
    assert_eq!(
        problems(vec![0; 8192]),
        [
            "offset 0: header: begins with \\x00\\x00\\x00\\x00, expected SLUP",
            "offset 4096: trailer: begins with \\x00\\x00\\x00\\x00, expected SLUT"
        ]
    );
    assert_eq!(
        problems(b"\x7fELF".repeat(2500)),
        [
            "offset 0: header: begins with \\x7fELF, expected SLUP",
            "offset 5904: trailer: begins with \\x7fELF, expected SLUT"
        ]
    );
}

#[test]
fn an_error_says_where_what_and_what_was_expected() {
    let mut parts = small(Codec::Lz4);
    let footer = check(&mut parts).footer.expect("it is whole");
    let section = footer.directories[0].section(sluice_core::SubpartitionIndex(3)).expect("it has a block");
    let at = section.offset as usize + PAGE_BYTES;
    parts[0].0[at + 20] ^= 1;
    let expected = u32::from_le_bytes(parts[0].0[at..at + 4].try_into().expect("four bytes"));
    let found = checksum(&parts[0].0[at + 4..at + section.bytes as usize]);
    let text =
        format!("offset {at}: directory 0: section of subpartition 3: checksum {found:08x}, expected {expected:08x}");
    assert_eq!(check(&mut parts).problems[0].1.to_string(), text);
}

#[test]
fn a_set_without_one_of_its_parts_is_refused() {
    let build = || {
        let mut writer = Writer::new(set(), Codec::None);
        writer.region(&[data(2, b"in the first")]);
        writer.begin_part();
        writer.region(&[data(3, b"in the second")]);
        writer.finish()
    };
    assert!(check(&mut build()).is_clean());
    for missing in 0..2 {
        let mut parts = build();
        parts.remove(missing);
        assert!(!check(&mut parts).is_clean(), "without part {missing}");
    }
    let mut swapped = build();
    swapped.swap(0, 1);
    assert!(!check(&mut swapped).is_clean());
    let mut foreign = build();
    foreign[0].0[..PAGE_BYTES].copy_from_slice(&Header { set: FileSet { count: 2, ..set() }, part: 0 }.encode());
    assert!(!check(&mut foreign).is_clean());
}

#[test]
fn a_footer_of_another_trailer_is_refused() {
    let footer = |blocks: &[_]| {
        let mut writer = Writer::new(set(), Codec::None);
        writer.region(blocks);
        writer.directory();
        writer.footer().encode()
    };
    let (first, crc) = footer(&[data(2, b"first")]);
    let (second, _) = footer(&[data(2, b"another")]);
    assert_eq!(first.len(), second.len());
    let trailer = |footer_crc, set| Trailer {
        set,
        part: 0,
        parts: 1,
        durable: false,
        footer_offset: 12288,
        footer_bytes: first.len() as u64,
        footer_crc,
        boot: [0; 16],
        stored_bytes: 5,
    };
    assert!(Footer::decode(&first, &trailer(crc, set())).is_ok());
    assert!(Footer::decode(&second, &trailer(crc, set())).is_err());
    let mut other = set();
    other.partition.attempt += 1;
    let error = Footer::decode(&first, &trailer(crc, other)).expect_err("of another set");
    assert!(error.to_string().starts_with("offset 8: footer: stamp is"), "{error}");
}
