//! The bytes of a file: what is read now, and what a loss of power may leave of it.

use std::collections::BTreeMap;
use std::ops::Range;

use sluice_core::Time;
use sluice_plugin::{DISK_ALIGNMENT, DirectoryId, FileOwner};

use super::versions::Versions;
use crate::seed::Random;

pub(super) const PAGE: usize = DISK_ALIGNMENT;
/// What a device writes wholly or not at all.
const SECTOR: usize = 512;
pub(super) const PAGE_SECTORS: usize = PAGE / SECTOR;

/// A file's name: the owner's and its own.
pub(super) type Name = (FileOwner, String);

/// A file, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ContentId(pub(super) u64);

#[derive(Debug)]
pub(super) struct Content {
    pub(super) directory: DirectoryId,
    /// Who made it.
    pub(super) life: u64,
    pub(super) name: Versions<Option<Name>>,
    pub(super) bytes: Versions<u64>,
    /// Those that were ever written; the others are zeros.
    pages: BTreeMap<u64, Versions<Page>>,
    pub(super) openings: usize,
    /// When it was written or touched last. Survives as it is: what a loss of power does to it only makes it older.
    pub(super) changed_at: Time,
    /// Where a write has failed: anything may be there.
    failed: Vec<Range<u64>>,
}

/// `None`: zeros.
type Page = Option<Vec<u8>>;

/// Of each page of a write that did not end, so many sectors reach the medium: all, none, a beginning of the write, or
/// some pages and others not.
pub(super) fn draw_part(random: &mut Random, pages: usize) -> Vec<usize> {
    match random.below(4) {
        0 => vec![PAGE_SECTORS; pages],
        1 => vec![0; pages],
        2 => {
            let sectors = random.below((pages * PAGE_SECTORS) as u64 + 1) as usize;
            (0..pages).map(|page| sectors.saturating_sub(page * PAGE_SECTORS).min(PAGE_SECTORS)).collect()
        }
        _ => (0..pages).map(|_| if random.chance(50) { PAGE_SECTORS } else { 0 }).collect(),
    }
}

impl Content {
    pub(super) fn new(directory: DirectoryId, life: u64) -> Self {
        let (name, bytes) = (Versions::new(None), Versions::new(0));
        Self {
            directory,
            life,
            name,
            bytes,
            pages: BTreeMap::new(),
            openings: 0,
            changed_at: Time(0),
            failed: Vec::new(),
        }
    }

    pub(super) fn length(&self) -> u64 {
        *self.bytes.now()
    }

    pub(super) fn page(&self, page: u64) -> &[u8] {
        self.pages.get(&page).and_then(|versions| versions.now().as_deref()).unwrap_or(&[0; PAGE])
    }

    /// The first of these pages that nobody has written, or tried to.
    pub(super) fn unwritten(&self, mut pages: Range<u64>) -> Option<u64> {
        let is_empty = |page: &u64| self.pages.get(page).is_none_or(|versions| versions.now().is_none());
        let was_tried = |page: &u64| self.failed.iter().any(|failed| failed.contains(page));
        pages.find(|page| is_empty(page) && !was_tried(page))
    }

    /// A write of these pages has failed.
    pub(super) fn has_failed(&mut self, pages: Range<u64>) {
        self.failed.push(pages);
    }

    /// Writes from a page on; of each page so many sectors.
    pub(super) fn write<'a>(&mut self, number: u64, first: u64, pages: impl Iterator<Item = (&'a [u8], usize)>) {
        for (page, (new, sectors)) in (first..).zip(pages) {
            if sectors == 0 {
                continue;
            }
            let mut bytes = self.page(page).to_vec();
            bytes[..sectors * SECTOR].copy_from_slice(&new[..sectors * SECTOR]);
            self.change(number, page, Some(bytes));
            self.lengthen(number, (page + 1) * PAGE as u64);
        }
    }

    pub(super) fn lengthen(&mut self, number: u64, bytes: u64) {
        if bytes > self.length() {
            self.bytes.change(number, bytes);
        }
    }

    pub(super) fn truncate(&mut self, number: u64, bytes: u64) {
        if bytes == self.length() {
            return;
        }
        self.bytes.change(number, bytes);
        let cut: Vec<_> = self.pages.range(bytes.div_ceil(PAGE as u64)..).map(|(page, _)| *page).collect();
        for page in cut {
            self.change(number, page, None);
        }
        let within = (bytes % PAGE as u64) as usize;
        if within > 0 {
            let mut last = self.page(bytes / PAGE as u64).to_vec();
            last[within..].fill(0);
            self.change(number, bytes / PAGE as u64, Some(last));
        }
    }

    /// Alters a bit of a page, as it lies there. False if nothing lies there.
    pub(super) fn flip(&mut self, page: u64, bit: u64) -> bool {
        let Some(Some(bytes)) = self.pages.get_mut(&page).map(Versions::now_mut) else { return false };
        bytes[(bit / 8) as usize % PAGE] ^= 1 << (bit % 8);
        true
    }

    pub(super) fn sync(&mut self, through: u64) {
        self.name.sync(through);
        self.bytes.sync(through);
        self.pages.values_mut().for_each(|versions| versions.sync(through));
    }

    /// The power was lost: of what no sync has covered so many of a hundred survive, each for itself.
    pub(super) fn survive(&mut self, random: &mut Random, percent: u64) {
        self.name.survive(random, percent);
        self.bytes.survive(random, percent);
        for versions in self.pages.values_mut().filter(|versions| !versions.is_durable()) {
            let (old, new) = versions.ends();
            let survivor = match random.below(100) {
                0..=9 => torn(old.as_deref(), new.as_deref(), random),
                10..=14 => None,
                _ => {
                    versions.survive(random, percent);
                    continue;
                }
            };
            *versions = Versions::new(survivor);
        }
    }

    fn change(&mut self, number: u64, page: u64, to: Page) {
        self.pages.entry(page).or_insert_with(|| Versions::new(None)).change(number, to);
    }
}

/// Each sector of one or the other.
fn torn(old: Option<&[u8]>, new: Option<&[u8]>, random: &mut Random) -> Page {
    let mut bytes = old.map_or_else(|| vec![0; PAGE], <[u8]>::to_vec);
    let new = new.unwrap_or(&[0; PAGE]);
    for (mine, other) in bytes.chunks_mut(SECTOR).zip(new.chunks(SECTOR)) {
        if random.chance(50) {
            mine.copy_from_slice(other);
        }
    }
    Some(bytes)
}
