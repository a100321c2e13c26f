//! A partition's file of two parts, by a writer that does nothing but keep to the format.

use std::fs;
use std::path::{Path, PathBuf};

use sluice_core::spill::{
    ALIGNMENT, BlockEntry, BlockKind, Codec, DirectoryBuilder, Extents, FileSet, Footer, Header, Layout, PartName,
    Totals, Trailer, checksum,
};
use sluice_core::{Incarnation, JobId, NodeId, PartitionId, SubpartitionIndex};

/// Where the only block of the first part begins.
pub(crate) const FIRST_BLOCK_AT: u64 = 4096;

/// Two subpartitions with a block each: the first in part 0, the second in part 1.
pub(crate) fn write(folder: &Path) -> [PathBuf; 2] {
    let partition = PartitionId { job: JobId(7), partition: 3, attempt: 0 };
    let set = FileSet {
        layout: Layout::SortMerge,
        partition,
        subpartitions: 2,
        first: SubpartitionIndex(0),
        count: 2,
        node: NodeId(0),
        incarnation: Incarnation(9),
    };
    let mut parts = [0, 1].map(|part| Header { set, part }.encode().to_vec());
    let (mut extents, mut logical) = (Extents::new(), 0);
    let mut append = |parts: &mut [Vec<u8>; 2], part: usize, mut bytes: Vec<u8>| {
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        extents.push(logical, part as u16, parts[part].len() as u64, bytes.len() as u64);
        parts[part].extend_from_slice(&bytes);
        logical += bytes.len() as u64;
        logical
    };
    let mut directory = DirectoryBuilder::new(set.stamp(), set.first, set.count);
    let mut end = 0;
    for (part, raw) in [b"first".to_vec(), b"second".to_vec()].into_iter().enumerate() {
        let bytes = raw.len() as u32;
        let (kind, codec, crc) = (BlockKind::Data, Codec::None, checksum(&raw));
        let entry = BlockEntry { stored_bytes: bytes, raw_bytes: bytes, crc, codec, kind };
        directory.add(SubpartitionIndex(part as u32), end, &[entry]);
        end = append(&mut parts, part, raw);
    }
    let (bytes, place) = directory.finish(end);
    append(&mut parts, 1, bytes);
    let totals = [5, 6].map(|raw_bytes| Totals { blocks: 1, raw_bytes, records: 1 }).to_vec();
    let (mut footer, footer_crc) = Footer { set, totals, extents, directories: vec![place] }.encode();
    let footer_bytes = footer.len() as u64;
    footer.resize(footer.len().next_multiple_of(ALIGNMENT), 0);
    let (footer_offset, boot) = (parts[1].len() as u64, [0; 16]);
    let (part, parts_all, durable) = (1, 2, false);
    let trailer = Trailer {
        set,
        part,
        parts: parts_all,
        durable,
        footer_offset,
        footer_bytes,
        footer_crc,
        boot,
        stored_bytes: 11,
    };
    parts[1].extend_from_slice(&footer);
    parts[1].extend_from_slice(&trailer.encode());
    let path = |part: u16| {
        let name = PartName { partition, first: SubpartitionIndex(0), is_merged: false, part };
        folder.join(format!("sluice-0-9~{name}"))
    };
    let paths = [path(0), path(1)];
    for (path, part) in paths.iter().zip(parts) {
        fs::write(path, part).expect("the folder is ours");
    }
    paths
}
