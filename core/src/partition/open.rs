//! What a writer holds before it hands over: open buffers, sealed items, totals.

use std::task::{Context, Poll};

use sluice_memory::{BufferMut, BufferPool, SizeClass};

use super::collector::Collector;
use super::direct::Direct;
use crate::block::{Block, Item};
use crate::record::LENGTH_BYTES;

/// Whether memory that is not there is waited for.
pub(super) enum Patience<'a, 'b> {
    /// The task is woken when there is some.
    Wait(&'a mut Context<'b>),
    /// No: somebody else comes back later.
    Try,
}

impl Patience<'_, '_> {
    pub(super) fn acquire(&mut self, pool: &BufferPool, class: SizeClass) -> Option<BufferMut> {
        match self {
            Self::Try => pool.try_acquire(class),
            Self::Wait(context) => match pool.poll_acquire(context, class, class.bytes()) {
                Poll::Ready(buffer) => Some(buffer),
                Poll::Pending => None,
            },
        }
    }
}

/// A buffer that is being filled.
#[derive(Default)]
pub(super) struct OpenBuffer {
    buffer: Option<BufferMut>,
    filled: usize,
    /// Stands in the list of those that the next flush looks at.
    pub(super) listed: bool,
}

impl OpenBuffer {
    /// The room behind what is written.
    #[inline]
    pub(super) fn room(&mut self) -> &mut [u8] {
        match &mut self.buffer {
            Some(buffer) => &mut buffer[self.filled..],
            None => &mut [],
        }
    }

    #[inline]
    pub(super) fn advance(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    pub(super) fn is_present(&self) -> bool {
        self.buffer.is_some()
    }

    pub(super) fn put(&mut self, buffer: BufferMut) {
        debug_assert!(self.buffer.is_none(), "the old buffer is sealed first");
        self.buffer = Some(buffer);
        self.filled = 0;
    }

    pub(super) fn written(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer[..self.filled])
    }

    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Gives up the room behind what is sealed.
    pub(super) fn give_up(&mut self) {
        debug_assert_eq!(self.filled, 0, "what is written is sealed first");
        self.buffer = None;
    }

    /// Seals what is written and keeps the room behind it if that is worth while: a flush costs no copy and no buffer.
    pub(super) fn seal(&mut self, keep_room: bool) -> Option<Block> {
        if self.filled == 0 {
            return None;
        }
        let mut buffer = self.buffer.take().expect("bytes were written into it");
        let written = buffer.split_to(std::mem::take(&mut self.filled));
        // A record needs at least its length; less room is none.
        if keep_room && buffer.len() > LENGTH_BYTES {
            self.buffer = Some(buffer);
        }
        Some(Block::seal(written.freeze()))
    }
}

/// Copies what fits of a record's stream (its length, then its bytes), from `offset` on. Returns the new offset.
pub(super) fn copy_part(room: &mut [u8], record: &[u8], offset: usize) -> usize {
    let mut written = 0;
    let mut offset = offset;
    if offset < LENGTH_BYTES {
        let length = (record.len() as u32).to_le_bytes();
        written = (LENGTH_BYTES - offset).min(room.len());
        room[..written].copy_from_slice(&length[offset..offset + written]);
        offset += written;
    }
    if offset >= LENGTH_BYTES {
        let part = &record[offset - LENGTH_BYTES..];
        let count = part.len().min(room.len() - written);
        room[written..written + count].copy_from_slice(&part[..count]);
        offset += count;
    }
    offset
}

/// Everything of a writer that the flush timer may touch, too.
pub(super) struct Open {
    layout: Layout,
    /// Data for all subpartitions: one buffer, handed to each.
    broadcast: OpenBuffer,
    class: SizeClass,
    pub(super) pending: Vec<(u32, Item)>,
    pub(super) pending_bytes: usize,
    /// Blocks and bytes of each subpartition.
    pub(super) totals: Vec<(u64, u64)>,
    /// How much is collected before it is handed over.
    pub(super) hand_over_bytes: usize,
    /// The layout is to be chosen before the next write.
    pub(super) lay_out_due: bool,
    /// A command for the flush timer is under way.
    pub(super) flush_armed: bool,
    pub(super) ended: bool,
}

/// The two layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Direct,
    Collected,
}

/// How records wait to be sealed.
enum Layout {
    /// An open buffer for each subpartition.
    Direct(Direct),
    /// One buffer for all, sorted when it is full: for many subpartitions and little memory.
    Collected(Collector),
}

impl Layout {
    fn new(kind: Kind, class: SizeClass, subpartitions: u32) -> Self {
        match kind {
            Kind::Direct => Self::Direct(Direct::new(subpartitions)),
            Kind::Collected => Self::Collected(Collector::new(subpartitions, class)),
        }
    }
}

impl Open {
    pub(super) fn new(kind: Kind, class: SizeClass, subpartitions: u32) -> Self {
        Self {
            layout: Layout::new(kind, class, subpartitions),
            broadcast: OpenBuffer::default(),
            class,
            pending: Vec::new(),
            pending_bytes: 0,
            totals: vec![(0, 0); subpartitions as usize],
            hand_over_bytes: 0,
            lay_out_due: true,
            flush_armed: false,
            ended: false,
        }
    }

    /// Changes the layout, if it is to be another one. Nothing is open.
    pub(super) fn lay_out(&mut self, kind: Kind, class: SizeClass) {
        let same = self.class == class && matches!(self.layout, Layout::Direct(_)) == (kind == Kind::Direct);
        if !same {
            self.layout = Layout::new(kind, class, self.totals.len() as u32);
            self.class = class;
        }
    }

    /// Writes a record from `offset` on. `Err` holds the new offset: memory is short and the waker is registered.
    #[inline]
    pub(super) fn append(
        &mut self,
        target: u32,
        record: &[u8],
        offset: usize,
        pool: &BufferPool,
        patience: &mut Patience<'_, '_>,
    ) -> Result<(), usize> {
        if self.broadcast.filled() > 0 {
            self.seal_broadcast();
        }
        match &mut self.layout {
            Layout::Direct(direct) => {
                if offset == 0 && direct.append_whole(target, record) {
                    return Ok(());
                }
                self.append_parts(target, record, offset, pool, patience)
            }
            Layout::Collected(collector) => {
                let mut sealed =
                    Sealed { pending: &mut self.pending, bytes: &mut self.pending_bytes, totals: &mut self.totals };
                collector.append(target, record, offset, pool, patience, &mut sealed)
            }
        }
    }

    fn append_parts(
        &mut self,
        target: u32,
        record: &[u8],
        mut offset: usize,
        pool: &BufferPool,
        patience: &mut Patience<'_, '_>,
    ) -> Result<(), usize> {
        let Layout::Direct(direct) = &mut self.layout else { unreachable!("parts are written to open buffers") };
        let open = direct.open(target);
        let mut sealed =
            Sealed { pending: &mut self.pending, bytes: &mut self.pending_bytes, totals: &mut self.totals };
        loop {
            if !open.is_present() {
                match patience.acquire(pool, self.class) {
                    Some(buffer) => open.put(buffer),
                    None => return Err(offset),
                }
            }
            let before = offset;
            offset = copy_part(open.room(), record, offset);
            open.advance(offset - before);
            if open.room().is_empty() {
                sealed.push(target, open.seal(false));
            }
            if offset == LENGTH_BYTES + record.len() {
                return Ok(());
            }
        }
    }

    /// Writes a record for all subpartitions. What was written before goes first.
    pub(super) fn append_broadcast(
        &mut self,
        record: &[u8],
        mut offset: usize,
        pool: &BufferPool,
        patience: &mut Patience<'_, '_>,
    ) -> Result<(), usize> {
        if self.broadcast.filled() == 0 && !self.seal_all(pool, patience) {
            return Err(offset);
        }
        loop {
            if !self.broadcast.is_present() {
                match patience.acquire(pool, self.class) {
                    Some(buffer) => self.broadcast.put(buffer),
                    None => return Err(offset),
                }
            }
            let before = offset;
            offset = copy_part(self.broadcast.room(), record, offset);
            self.broadcast.advance(offset - before);
            if self.broadcast.room().is_empty() {
                self.seal_broadcast();
            }
            if offset == LENGTH_BYTES + record.len() {
                return Ok(());
            }
        }
    }

    fn seal_broadcast(&mut self) {
        let Some(block) = self.broadcast.seal(false) else { return };
        let bytes = block.buffer.len();
        for (target, totals) in self.totals.iter_mut().enumerate() {
            totals.0 += 1;
            totals.1 += bytes as u64;
            self.pending.push((target as u32, Item::Block(block.clone())));
        }
        self.pending_bytes += bytes;
    }

    /// Seals all that is written. False only where that needs a buffer to sort into and there is none.
    pub(super) fn seal_all(&mut self, pool: &BufferPool, patience: &mut Patience<'_, '_>) -> bool {
        self.seal_broadcast();
        let mut sealed =
            Sealed { pending: &mut self.pending, bytes: &mut self.pending_bytes, totals: &mut self.totals };
        match &mut self.layout {
            Layout::Direct(direct) => {
                direct.seal_all(&mut sealed);
                true
            }
            Layout::Collected(collector) => collector.drain(pool, patience, &mut sealed),
        }
    }

    /// Memory is short: seals all, and gives up the room behind it as well, which keeps segments from being free. What
    /// is collected to be sorted stays, because to sort it takes memory.
    pub(super) fn give_up_room(&mut self) {
        self.seal_broadcast();
        self.lay_out_due = true;
        let mut sealed =
            Sealed { pending: &mut self.pending, bytes: &mut self.pending_bytes, totals: &mut self.totals };
        if let Layout::Direct(direct) = &mut self.layout {
            direct.give_up_room(&mut sealed);
        }
    }

    /// Whether anything waits to be sealed or handed over.
    pub(super) fn is_dirty(&self) -> bool {
        let open = match &self.layout {
            Layout::Direct(direct) => direct.is_dirty(),
            Layout::Collected(collector) => collector.is_dirty(),
        };
        open || self.broadcast.filled() > 0 || !self.pending.is_empty()
    }
}

/// Where sealed blocks go.
pub(super) struct Sealed<'a> {
    pending: &'a mut Vec<(u32, Item)>,
    bytes: &'a mut usize,
    totals: &'a mut Vec<(u64, u64)>,
}

impl Sealed<'_> {
    pub(super) fn push(&mut self, target: u32, block: Option<Block>) {
        let Some(block) = block else { return };
        let totals = &mut self.totals[target as usize];
        totals.0 += 1;
        totals.1 += u64::from(block.bytes());
        *self.bytes += block.buffer.len();
        self.pending.push((target, Item::Block(block)));
    }
}
