//! Which part has which range of the logical bytes.

use super::{ALIGNMENT, PAGE_BYTES, Trailer};

/// A range of logical bytes that lies in one piece in one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins in the logical bytes.
    pub logical: u64,
    /// How long it is, in bytes; more than none.
    pub bytes: u64,
    /// The part that has it.
    pub part: u16,
    /// Where it begins in that part, in bytes.
    pub physical: u64,
}

/// All of them, without a gap from logical 0 on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extents {
    sorted: Vec<Extent>,
}

impl Extents {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what was appended; joins it with what is in front of it if that lies in front of it in the part as well.
    ///
    /// # Panics
    /// If `logical` is not the end of what there is.
    pub fn push(&mut self, logical: u64, part: u16, physical: u64, bytes: u64) {
        assert_eq!(logical, self.end(), "extents are appended");
        if bytes == 0 {
            return;
        }
        match self.sorted.last_mut() {
            Some(last) if last.part == part && last.physical + last.bytes == physical => last.bytes += bytes,
            _ => self.sorted.push(Extent { logical, bytes, part, physical }),
        }
    }

    /// How many logical bytes there are.
    pub fn end(&self) -> u64 {
        self.sorted.last().map_or(0, |last| last.logical + last.bytes)
    }

    /// All, in the order of the logical bytes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Extent> {
        self.sorted.iter()
    }

    /// Where a range lies, as (part, physical offset, bytes) in the order of the logical bytes.
    ///
    /// # Panics
    /// If the range goes past the [`end`](Self::end). A [`Slice`](super::Slice) of a section that was decoded never does.
    pub fn locate(&self, logical: u64, bytes: u64) -> impl Iterator<Item = (u16, u64, u64)> + '_ {
        let end = logical.checked_add(bytes).filter(|end| *end <= self.end());
        let end = end.unwrap_or_else(|| panic!("{bytes} bytes from {logical} on, of {}", self.end()));
        let first = self.sorted.partition_point(|extent| extent.logical + extent.bytes <= logical);
        self.sorted[first..].iter().take_while(move |extent| extent.logical < end).map(move |extent| {
            let from = extent.logical.max(logical);
            let to = (extent.logical + extent.bytes).min(end);
            (extent.part, extent.physical + (from - extent.logical), to - from)
        })
    }

    /// Those of a file: without a gap, aligned, in parts that there are, and none on top of another or of a header or the
    /// footer. Otherwise the index of the one that is wrong, its field, what that holds, and what it could hold.
    pub(super) fn checked(sorted: Vec<Extent>, trailer: &Trailer) -> Result<Self, (usize, &'static str, u64, String)> {
        let mut end = 0;
        for (index, extent) in sorted.iter().enumerate() {
            if extent.logical != end {
                return Err((
                    index,
                    "extent's logical offset",
                    extent.logical,
                    format!("{end}: the end of the one before"),
                ));
            }
            end = check_extent(extent, trailer).map_err(|(field, found, expected)| (index, field, found, expected))?;
        }
        let mut by_place: Vec<usize> = (0..sorted.len()).collect();
        by_place.sort_by_key(|index| (sorted[*index].part, sorted[*index].physical));
        for pair in by_place.windows(2) {
            let (before, after) = (&sorted[pair[0]], &sorted[pair[1]]);
            if before.part == after.part && before.physical + before.bytes > after.physical {
                let expected = format!("behind the extent that ends at {}", before.physical + before.bytes);
                return Err((pair[1], "extent's physical offset", after.physical, expected));
            }
        }
        Ok(Self { sorted })
    }
}

/// Where it ends in the logical bytes.
fn check_extent(extent: &Extent, trailer: &Trailer) -> Result<u64, (&'static str, u64, String)> {
    let aligned = |bytes: u64| bytes.is_multiple_of(ALIGNMENT as u64);
    if extent.part >= trailer.parts {
        return Err(("extent's part", extent.part.into(), format!("less than {}", trailer.parts)));
    }
    if !aligned(extent.physical) || extent.physical < PAGE_BYTES as u64 {
        return Err(("extent's physical offset", extent.physical, format!("a multiple of {ALIGNMENT}, and not 0")));
    }
    let room = if extent.part == trailer.part { trailer.footer_offset } else { i64::MAX as u64 };
    let room = room.saturating_sub(extent.physical);
    let end = extent.logical.checked_add(extent.bytes);
    match end {
        Some(end) if extent.bytes > 0 && aligned(extent.bytes) && extent.bytes <= room => Ok(end),
        _ => Err(("extent's bytes", extent.bytes, format!("a multiple of {ALIGNMENT}, not 0, at most {room}"))),
    }
}
