//! A file set in memory, by a writer that does nothing but keep to the format.

use std::io;

use sluice_core::spill::{
    ALIGNMENT, BlockEntry, BlockKind, Codec, Compressor, Decompressor, DirectoryBuilder, Extents, FileSet, Footer,
    Header, Layout, PAGE_BYTES, ReadAt, Report, Totals, Trailer, check_parts, checksum, in_stream_order,
};
use sluice_core::{Incarnation, JobId, NodeId, PartitionId, SubpartitionIndex};

pub(crate) const BOOT: [u8; 16] = *b"0123456789abcdef";

/// One block in the order of writing: whose it is (nobody's: everybody's), and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) subpartition: Option<u32>,
    pub(crate) kind: BlockKind,
    pub(crate) raw: Vec<u8>,
}

pub(crate) fn data(subpartition: u32, raw: &[u8]) -> Written {
    Written { subpartition: Some(subpartition), kind: BlockKind::Data, raw: raw.to_vec() }
}

pub(crate) fn event(raw: &[u8]) -> Written {
    Written { subpartition: None, kind: BlockKind::Event, raw: raw.to_vec() }
}

/// Subpartitions 2 to 4 of seven.
pub(crate) fn set() -> FileSet {
    FileSet {
        layout: Layout::SortMerge,
        partition: PartitionId { job: JobId(7), partition: 11, attempt: 1 },
        subpartitions: 7,
        first: SubpartitionIndex(2),
        count: 3,
        node: NodeId(5),
        incarnation: Incarnation(6),
    }
}

/// A part in memory.
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl ReadAt for Bytes {
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let behind = self.0.get(offset as usize..).and_then(|behind| behind.get(..into.len()));
        into.copy_from_slice(behind.expect("a check asks for what is there"));
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }
}

/// Parts as they grow.
pub(crate) struct Writer {
    set: FileSet,
    parts: Vec<Vec<u8>>,
    extents: Extents,
    directory: DirectoryBuilder,
    directories: Vec<sluice_core::spill::DirectoryPlace>,
    totals: Vec<Totals>,
    compressor: Compressor,
    stored_bytes: u64,
}

impl Writer {
    pub(crate) fn new(set: FileSet, codec: Codec) -> Self {
        let mut writer = Self {
            set,
            parts: Vec::new(),
            extents: Extents::new(),
            directory: DirectoryBuilder::new(set.stamp(), set.first, set.count),
            directories: Vec::new(),
            totals: vec![Totals::default(); set.count as usize],
            compressor: Compressor::new(codec, None),
            stored_bytes: 0,
        };
        writer.begin_part();
        writer
    }

    /// As after a write that failed: what follows goes into another file.
    pub(crate) fn begin_part(&mut self) {
        self.parts.push(Header { set: self.set, part: self.parts.len() as u16 }.encode().to_vec());
    }

    fn append(&mut self, mut chunk: Vec<u8>) {
        chunk.resize(chunk.len().next_multiple_of(ALIGNMENT), 0);
        let part = self.parts.len() - 1;
        let physical = self.parts[part].len() as u64;
        self.extents.push(self.extents.end(), part as u16, physical, chunk.len() as u64);
        self.parts[part].extend_from_slice(&chunk);
    }

    /// The blocks as they are; the caller has them in an order that sorts subpartitions.
    pub(crate) fn region(&mut self, blocks: &[Written]) {
        let mut chunk = Vec::new();
        for block in blocks {
            let offset = self.extents.end() + chunk.len() as u64;
            let mut room = vec![0; block.raw.len()];
            let (codec, stored) = match self.compressor.compress(&block.raw, &mut room) {
                Some(stored) => (self.compressor.codec(), &room[..stored]),
                None => (Codec::None, &block.raw[..]),
            };
            chunk.extend_from_slice(stored);
            let (raw_bytes, stored_bytes) = (block.raw.len() as u32, stored.len() as u32);
            self.stored_bytes += u64::from(stored_bytes);
            let crc = checksum(&block.raw);
            let entry = BlockEntry { stored_bytes, raw_bytes, crc, codec, kind: block.kind };
            let whose = match block.subpartition {
                Some(subpartition) => {
                    self.directory.add(SubpartitionIndex(subpartition), offset, &[entry]);
                    subpartition - self.set.first.0..=subpartition - self.set.first.0
                }
                None => {
                    self.directory.add_to_all(offset, &[entry]);
                    0..=self.set.count - 1
                }
            };
            for index in whose {
                let totals = &mut self.totals[index as usize];
                totals.blocks += 1;
                totals.raw_bytes += u64::from(raw_bytes);
                totals.records += 1;
            }
        }
        self.append(chunk);
    }

    pub(crate) fn directory(&mut self) {
        let expected = self.directory.encoded_bytes();
        let (bytes, place) = self.directory.finish(self.extents.end());
        assert_eq!(place.bytes() as usize, expected, "the builder knows how long the directory will be");
        assert_eq!(bytes.len(), expected.next_multiple_of(ALIGNMENT));
        self.append(bytes);
        self.directories.push(place);
    }

    pub(crate) fn footer(&self) -> Footer {
        Footer {
            set: self.set,
            totals: self.totals.clone(),
            extents: self.extents.clone(),
            directories: self.directories.clone(),
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        if !self.directory.is_empty() {
            self.directory();
        }
        let (mut footer, footer_crc) = self.footer().encode();
        let footer_bytes = footer.len() as u64;
        footer.resize(footer.len().next_multiple_of(ALIGNMENT), 0);
        let part = self.parts.len() - 1;
        let trailer = Trailer {
            set: self.set,
            part: part as u16,
            parts: self.parts.len() as u16,
            durable: true,
            footer_offset: self.parts[part].len() as u64,
            footer_bytes,
            footer_crc,
            boot: BOOT,
            stored_bytes: self.stored_bytes,
        };
        self.parts[part].extend_from_slice(&footer);
        self.parts[part].extend_from_slice(&trailer.encode());
        self.parts.into_iter().map(Bytes).collect()
    }
}

pub(crate) fn write(codec: Codec, regions: &[Vec<Written>]) -> Vec<Bytes> {
    let mut writer = Writer::new(set(), codec);
    for region in regions {
        writer.region(region);
        writer.directory();
    }
    writer.finish()
}

pub(crate) fn check(parts: &mut [Bytes]) -> Report {
    let mut parts: Vec<&mut dyn ReadAt> = parts.iter_mut().map(|part| part as &mut dyn ReadAt).collect();
    check_parts(&mut parts).expect("memory is always readable")
}

/// The index of finished parts.
pub(crate) fn index(parts: &[Bytes]) -> Footer {
    let last = &parts.last().expect("a set has a part").0;
    let trailer = Trailer::decode(&last[last.len() - PAGE_BYTES..], last.len() as u64).expect("it is finished");
    let footer = &last[trailer.footer_offset as usize..][..trailer.footer_bytes as usize];
    Footer::decode(footer, &trailer).expect("the footer is whole")
}

fn logical(parts: &[Bytes], footer: &Footer, offset: u64, bytes: u64) -> Vec<u8> {
    let places = footer.extents.locate(offset, bytes);
    let pieces = places.map(|(part, at, bytes)| &parts[usize::from(part)].0[at as usize..][..bytes as usize]);
    pieces.collect::<Vec<_>>().concat()
}

/// One subpartition's stream, as a reader takes it out of the file.
pub(crate) fn read(parts: &[Bytes], subpartition: u32) -> Vec<(BlockKind, Vec<u8>)> {
    let footer = index(parts);
    let mut decompressor = Decompressor::new();
    let mut stream = Vec::new();
    for (own, common) in footer.sections(SubpartitionIndex(subpartition)) {
        let slices = [own, common].map(|section| {
            let Some(section) = section else { return Vec::new() };
            section.decode(&logical(parts, &footer, section.offset, section.bytes.into())).expect("a whole section")
        });
        let [own, common] = slices;
        for slice in in_stream_order(own, common) {
            let mut offset = slice.offset;
            for block in &slice.blocks {
                let stored = logical(parts, &footer, offset, block.stored_bytes.into());
                offset += u64::from(block.stored_bytes);
                let mut raw = vec![0; block.raw_bytes as usize];
                decompressor.decompress(block.codec, &stored, &mut raw).expect("a whole block");
                assert_eq!(checksum(&raw), block.crc);
                stream.push((block.kind, raw));
            }
        }
    }
    stream
}
