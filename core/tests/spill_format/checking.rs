//! What a check of a whole set reports.

use sluice_core::spill::{Codec, CodecBytes, SliceSizes, Totals, Trailer};

use crate::files::{BOOT, Bytes, Writer, check, data, event, set, write};

#[test]
fn a_report_counts_what_is_there() {
    let text = b"abcdefgh".repeat(100);
    let mut parts = write(Codec::Lz4, &[vec![data(2, &text), data(3, b"raw"), event(b"end")], vec![data(4, b"12345")]]);
    let report = check(&mut parts);
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!((report.blocks, report.events, report.raw_bytes), (4, 1, 811));
    let [none, lz4, zstd] = report.by_codec;
    assert_eq!(none, CodecBytes { codec: Codec::None, blocks: 3, raw_bytes: 11, stored_bytes: 11 });
    assert_eq!((lz4.codec, lz4.blocks, lz4.raw_bytes), (Codec::Lz4, 1, 800));
    assert_eq!(zstd, CodecBytes::default());
    assert_eq!(report.stored_bytes, none.stored_bytes + lz4.stored_bytes);
    assert!(lz4.stored_bytes < 100);
    let SliceSizes { count, min, max, .. } = report.slices;
    assert_eq!((count, min, max), (4, 3, lz4.stored_bytes));
    let trailer = report.trailer.expect("it is finished");
    assert_eq!((trailer.boot, trailer.durable, trailer.stored_bytes), (BOOT, true, report.stored_bytes));
    assert_eq!(report.headers.len(), 1);
    let totals = report.footer.expect("it is finished").totals;
    // Each has the event besides its own.
    assert_eq!(totals[1], Totals { blocks: 2, raw_bytes: 6, records: 2 });
}

#[test]
fn an_empty_partition_is_a_whole_one() {
    let mut parts = write(Codec::None, &[]);
    assert_eq!(parts[0].0.len(), 3 * 4096, "header, footer, trailer");
    let report = check(&mut parts);
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!((report.blocks, report.slices), (0, SliceSizes::default()));
}

#[test]
fn no_files_are_no_whole_set() {
    let report = check(&mut []);
    assert!(!report.is_clean() && report.problems.is_empty());
}

#[test]
fn totals_that_are_not_those_of_the_blocks_are_found() {
    let mut writer = Writer::new(set(), Codec::None);
    writer.region(&[data(2, b"abc")]);
    writer.directory();
    let mut footer = writer.footer();
    footer.totals[0].raw_bytes += 1;
    let mut bytes = writer.finish().remove(0).0;
    let end = bytes.len();
    let (encoded, footer_crc) = footer.encode();
    let trailer = Trailer::decode(&bytes[end - 4096..], end as u64).expect("it is finished");
    bytes[trailer.footer_offset as usize..][..encoded.len()].copy_from_slice(&encoded);
    bytes[end - 4096..].copy_from_slice(&Trailer { footer_crc, stored_bytes: 9, ..trailer }.encode());
    let problems = check(&mut [Bytes(bytes)]).problems;
    let texts: Vec<_> = problems.iter().map(|(_, error)| error.to_string()).collect();
    let raw =
        format!("offset {}: footer: raw bytes is 4, expected 3, which subpartition 2 has", trailer.footer_offset + 32);
    let stored = format!("offset {}: trailer: stored bytes is 9, expected 3", end - 4096 + 104);
    assert_eq!(texts, [raw, stored]);
}

#[test]
fn a_thousand_damaged_blocks_are_counted_and_a_hundred_are_kept() {
    let blocks: Vec<_> = (0..1000).map(|i: u32| data(2 + i % 3, &i.to_le_bytes())).collect();
    let mut parts = write(Codec::None, &[blocks]);
    parts[0].0[4096..8096].iter_mut().for_each(|byte| *byte = !*byte);
    let report = check(&mut parts);
    assert_eq!((report.problems.len(), report.problems_all), (100, 1000));
}
