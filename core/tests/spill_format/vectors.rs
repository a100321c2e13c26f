//! Pieces as exact bytes, so that no change of the code changes the format unseen. docs/spill-format.md has the same.

use sluice_core::SubpartitionIndex;
use sluice_core::spill::{BlockEntry, BlockKind, Codec, DirectoryBuilder, Extents, Footer, Header, Totals, Trailer};

use crate::files::set;

/// The bytes in hexadecimal, words of four; zeros at the end are left out.
fn hex(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1).next_multiple_of(4);
    let words = bytes[..end].chunks(4).map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    words.collect::<Vec<_>>().join(" ")
}

fn block(stored_bytes: u32, raw_bytes: u32, codec: Codec, kind: BlockKind) -> BlockEntry {
    BlockEntry { stored_bytes, raw_bytes, crc: 0xddcc_bbaa, codec, kind }
}

fn builder() -> DirectoryBuilder {
    let mut builder = DirectoryBuilder::new(set().stamp(), set().first, set().count);
    builder.add(SubpartitionIndex(3), 0, &[block(16, 32, Codec::Zstd, BlockKind::Data)]);
    builder.add_to_all(16, &[block(4, 4, Codec::None, BlockKind::Event)]);
    builder
}

#[test]
fn a_header_has_these_bytes() {
    assert_eq!(hex(&Header { set: set(), part: 9 }.encode()), HEADER);
}

#[test]
fn a_directory_has_these_bytes() {
    assert_eq!(hex(&builder().finish(4096).0), DIRECTORY);
}

#[test]
fn a_footer_has_these_bytes() {
    let mut extents = Extents::new();
    extents.push(0, 0, 4096, 4096);
    extents.push(4096, 1, 4096, 4096);
    let totals = Totals { blocks: 1, raw_bytes: 4, records: 0 };
    let own = Totals { blocks: 2, raw_bytes: 36, records: 5 };
    let footer =
        Footer { set: set(), totals: vec![totals, own, totals], extents, directories: vec![builder().finish(4096).1] };
    assert_eq!(hex(&footer.encode().0), FOOTER);
}

#[test]
fn a_trailer_has_these_bytes() {
    let trailer = Trailer {
        set: set(),
        part: 1,
        parts: 2,
        durable: true,
        footer_offset: 8192,
        footer_bytes: 196,
        footer_crc: 0xddcc_bbaa,
        boot: *b"0123456789abcdef",
        stored_bytes: 20,
    };
    assert_eq!(hex(&trailer.encode()), TRAILER);
    assert_eq!(Trailer::decode(&trailer.encode(), 16384), Ok(trailer));
}

const HEADER: &str = "\
    534c5550 5cbf26a8 01000100 09000000 07000000 00000000 0b000000 00000000 01000000 07000000 02000000 03000000 \
    05000000 00000000 06000000";

/// Its header, the section of subpartition 3, the common section.
const DIRECTORY: &str = "\
    534c5544 96282e00 00000000 69ecdab6 02000000 03000000 78000000 00000000 \
    9a6006d9 03000000 00000000 69ecdab6 00000000 00000000 01000000 10000000 20000000 aabbccdd 02000000 \
    535d7924 ffffffff 00000000 69ecdab6 10000000 00000000 01000000 04000000 04000000 aabbccdd 00010000";

/// The counts, three totals, two extents, one directory.
const FOOTER: &str = "\
    534c5546 c3bf40f3 69ecdab6 02000000 03000000 02000000 01000000 00000000 \
    01000000 00000000 04000000 00000000 00000000 00000000 \
    02000000 00000000 24000000 00000000 05000000 00000000 \
    01000000 00000000 04000000 00000000 00000000 00000000 \
    00000000 00000000 00100000 00000000 00100000 00000000 00000000 00000000 \
    00100000 00000000 00100000 00000000 00100000 00000000 01000000 00000000 \
    00100000 00000000 20000000 20000000 4c000000 4c000000 78000000";

const TRAILER: &str = "\
    534c5554 89c65fa4 01000101 01000200 07000000 00000000 0b000000 00000000 01000000 07000000 02000000 03000000 \
    05000000 00000000 06000000 00000000 00200000 00000000 c4000000 00000000 aabbccdd 00000000 \
    30313233 34353637 38396162 63646566 14000000";
