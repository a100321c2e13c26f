//! What was read: checked, decompressed, and put into the readers' queues in order.

use std::ops::Range;

use sluice_memory::{Buffer, BufferMut, SizeClass};
use sluice_plugin::{DiskDone, DiskError, DiskRequest};
use sluice_protocol::ReasonCode;
use sluice_protocol::defect::{self, Defect};

use super::super::stored::Stored;
use super::super::{Storage, lost};
use super::reader::{Place, Section};
use super::{Tag, UnderWay, Wanted, front};
use crate::block::{Block, Event, Failure, Item};
use crate::elevator::Request;
use crate::spill::{BlockEntry, BlockKind, Codec, checksum, in_stream_order};

/// Why a reader does not get on.
enum Stop {
    Failed(Failure),
    /// There was no memory for some of it.
    NoMemory,
}

/// Bytes of a range, in the memory they were read into or put together from pieces.
enum Bytes {
    Buffer(Buffer),
    Copied(Vec<u8>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Copied(bytes) => bytes,
        }
    }
}

impl Storage {
    pub(in crate::reactor::storage) fn read_completed(
        &mut self,
        read: UnderWay,
        request: DiskRequest,
        result: Result<DiskDone, DiskError>,
    ) {
        let UnderWay { partition: id, lift, offset, requests } = read;
        self.reads.lifts[lift].under_way -= 1;
        if let Some(stored) = self.stored.get_mut(&id) {
            stored.under_way -= 1;
        }
        if self.remove_if_released(id) {
            return;
        }
        let DiskRequest::Read { into, .. } = request else { unreachable!("as it was submitted") };
        let buffer = into.into_iter().next().map(BufferMut::freeze).unwrap_or_default();
        for Request { tag, offset: at, bytes, .. } in requests {
            let live = self.reading(id, tag.reader).is_some_and(|reading| reading.epoch == tag.epoch);
            if !live {
                if defect::is(Defect::LeakReadMemory) {
                    std::mem::forget(buffer.clone());
                }
                continue;
            }
            let outcome = match &result {
                Err(error) => Err(Stop::Failed(lost(error))),
                Ok(_) => {
                    let from = (at - offset) as usize;
                    self.piece_arrived(&tag, buffer.slice(from..from + bytes as usize))
                }
            };
            match outcome {
                Ok(()) => {}
                Err(Stop::Failed(failure)) => self.fail_reader(id, tag.reader, failure),
                Err(Stop::NoMemory) => {
                    if let Some(reading) = self.reading(id, tag.reader) {
                        reading.go_back(u64::MAX);
                        reading.is_careful = true;
                        reading.is_starved = true;
                    }
                    self.reads.is_starved = true;
                    self.reads.short_since.get_or_insert(self.now);
                }
            }
            self.get_on(id, tag.reader);
        }
        self.close_if_unread(id);
    }

    /// A piece of a range is here. Of a range in one piece the memory itself goes on to the consumer.
    fn piece_arrived(&mut self, tag: &Tag, bytes: Buffer) -> Result<(), Stop> {
        let Some(reading) = self.reading(tag.partition, tag.reader) else { return Ok(()) };
        if tag.pieces == 1 {
            return match tag.wanted {
                Wanted::Blocks { first, count } => self.blocks_arrived(tag, first, count, &Bytes::Buffer(bytes)),
                Wanted::Section { index } => self.section_arrived(tag, index, bytes.to_vec()),
            };
        }
        let pieces = reading.pieces.entry(tag.wanted).or_insert_with(|| vec![None; tag.pieces]);
        pieces[tag.piece] = Some(bytes.to_vec());
        if pieces.iter().any(Option::is_none) {
            return Ok(());
        }
        let whole: Vec<u8> = reading.pieces.remove(&tag.wanted).into_iter().flatten().flatten().flatten().collect();
        match tag.wanted {
            Wanted::Blocks { first, count } => self.blocks_arrived(tag, first, count, &Bytes::Copied(whole)),
            Wanted::Section { index } => self.section_arrived(tag, index, whole),
        }
    }

    fn section_arrived(&mut self, tag: &Tag, index: usize, bytes: Vec<u8>) -> Result<(), Stop> {
        let Some(reading) = self.reading(tag.partition, tag.reader) else { return Ok(()) };
        reading.sections[index].bytes = Some(bytes);
        if reading.sections.iter().any(|section| section.bytes.is_none()) {
            return Ok(());
        }
        let mut all = Vec::new();
        for Section { place, bytes } in std::mem::take(&mut reading.sections) {
            let slices = place.decode(&bytes.unwrap_or_default());
            all.push(slices.map_err(|error| self.corrupt(tag, error.behind(place.offset).to_string()))?);
        }
        let mut all = all.into_iter();
        let (own, common) = (all.next().unwrap_or_default(), all.next().unwrap_or_default());
        if let Some(reading) = self.reading(tag.partition, tag.reader) {
            reading.learn(in_stream_order(own, common));
            reading.directory += 1;
        }
        Ok(())
    }

    fn corrupt(&self, tag: &Tag, what: String) -> Stop {
        let path = self.stored.get(&tag.partition).map(|stored: &Stored| {
            let part = &stored.sets[tag.name.set].parts[usize::from(tag.name.part)];
            let (directory, owner) = (self.directories.path(part.directory), &self.settings.owner.0);
            format!("{directory}: file {} of {owner}", part.name)
        });
        let text = format!("{}: {what}", path.unwrap_or_default());
        Stop::Failed(Failure { code: ReasonCode::CorruptBlock, text: text.into() })
    }

    /// Blocks that lie one behind the other are here: checked, and put into the queue when those before them are.
    fn blocks_arrived(&mut self, tag: &Tag, first: u64, count: u32, bytes: &Bytes) -> Result<(), Stop> {
        let Some(reading) = self.reading(tag.partition, tag.reader) else { return Ok(()) };
        let places: Vec<_> = (first..first + u64::from(count)).filter_map(|block| reading.place(block)).collect();
        let (mut items, mut from, mut stop) = (Vec::with_capacity(places.len()), 0, Ok(()));
        for place in &places {
            let stored = from..from + place.entry.stored_bytes as usize;
            from = stored.end;
            match self.item(tag, place, bytes, stored) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => {
                    stop = Err(Stop::NoMemory);
                    break;
                }
                Err(error) => {
                    stop = Err(error);
                    break;
                }
            }
        }
        let window = self.window();
        let Some(stored) = self.stored.get_mut(&tag.partition) else { return Ok(()) };
        let Some(reading) = stored.readers.get_mut(&tag.reader) else { return Ok(()) };
        if !items.is_empty() {
            reading.arrived.insert(first, items);
        }
        while let Some(items) = reading.arrived.remove(&reading.delivered) {
            let through = reading.delivered + items.len() as u64;
            let raw = reading.raw_bytes(reading.delivered..through);
            reading.asked_bytes = reading.asked_bytes.saturating_sub(raw);
            reading.delivered = through;
            reading.delivered_bytes += raw;
            reading.credit_bytes = reading.credit_bytes.map(|credit| credit.saturating_sub(raw));
            reading.is_careful = false;
            if stored.log.fill(tag.reader, items, (window / 2) as u32).is_err() {
                break;
            }
        }
        stop
    }

    /// One block as the consumer gets it. `None`: there is no memory for it.
    fn item(&mut self, tag: &Tag, place: &Place, bytes: &Bytes, range: Range<usize>) -> Result<Option<Item>, Stop> {
        let BlockEntry { raw_bytes, crc, codec, kind, .. } = place.entry;
        let buffer = match (codec, bytes) {
            (Codec::None, Bytes::Buffer(buffer)) => buffer.slice(range),
            _ => {
                let stored = &bytes.as_slice()[range];
                let class = SizeClass::fitting(raw_bytes as usize).unwrap_or(SizeClass::MAX);
                let Some(memory) = self.memory.acquire_raw(class) else { return Ok(None) };
                let mut raw = front(memory, raw_bytes as usize);
                match codec {
                    Codec::None => raw.copy_from_slice(stored),
                    _ => {
                        let result = self.reads.decompressor.decompress(codec, stored, &mut raw);
                        let at = place.offset;
                        result.map_err(|error| self.corrupt(tag, format!("offset {at}: {error}")))?;
                    }
                }
                raw.freeze()
            }
        };
        let found = checksum(&buffer);
        let crc = if defect::is(Defect::SkipBlockChecksum) { found } else { crc };
        if found != crc {
            let (at, s) =
                (place.offset, self.reading(tag.partition, tag.reader).map_or(0, |reading| reading.subpartition));
            let what = format!("offset {at}: a block of subpartition {s}: checksum {found:08x}, expected {crc:08x}");
            return Err(self.corrupt(tag, what));
        }
        match kind {
            BlockKind::Data => Ok(Some(Item::Block(Block { buffer, crc }))),
            BlockKind::Event => match Event::decode(&buffer) {
                Some(event) => Ok(Some(Item::Event(event))),
                None => Err(self.corrupt(tag, format!("offset {}: an event without a kind", place.offset))),
            },
        }
    }
}
