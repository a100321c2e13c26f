//! Shares files among producers by bytes: each takes the same length of all files laid end to end.

/// The records of one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) end: u64,
    /// A file that is not goes whole to the producer in whose share it starts.
    pub(super) divisible: bool,
}

/// The lines of a file that begin at `start` or later and before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) file: usize,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// What one of `producers` reads, in the order of the files.
pub(super) fn share(extents: &[Extent], producer: u32, producers: u32) -> Vec<Piece> {
    let total: u64 = extents.iter().map(|extent| extent.end - extent.start).sum();
    let cut = |producer: u32| (u128::from(total) * u128::from(producer) / u128::from(producers)) as u64;
    let (share_start, share_end) = (cut(producer), cut(producer + 1));
    let mut file_start = 0;
    let mut pieces = Vec::new();
    for (file, extent) in extents.iter().enumerate() {
        let file_end = file_start + (extent.end - extent.start);
        let (start, end) = match extent.divisible {
            true => (share_start.max(file_start), share_end.min(file_end)),
            false if (share_start..share_end).contains(&file_start) => (file_start, file_end),
            false => (0, 0),
        };
        if start < end {
            let within = |place: u64| extent.start + (place - file_start);
            pieces.push(Piece { file, start: within(start), end: within(end) });
        }
        file_start = file_end;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(start: u64, end: u64, divisible: bool) -> Extent {
        Extent { start, end, divisible }
    }

    #[test]
    fn every_byte_is_in_exactly_one_share() {
        let extents = [extent(10, 33, true), extent(0, 1, true), extent(5, 5, true), extent(0, 100, false)];
        for producers in 1..40 {
            let mut pieces: Vec<_> = (0..producers).flat_map(|producer| share(&extents, producer, producers)).collect();
            pieces.dedup_by(|next, piece| {
                let adjoins = piece.file == next.file && piece.end == next.start;
                adjoins.then(|| piece.end = next.end).is_some()
            });
            let piece = |file, start, end| Piece { file, start, end };
            assert_eq!(pieces, [piece(0, 10, 33), piece(1, 0, 1), piece(3, 0, 100)]);
        }
    }

    #[test]
    fn an_indivisible_file_stays_whole() {
        let extents = [extent(0, 10, false), extent(0, 10, false)];
        assert_eq!(share(&extents, 0, 4), [Piece { file: 0, start: 0, end: 10 }]);
        assert_eq!(share(&extents, 1, 4), []);
        assert_eq!(share(&extents, 2, 4), [Piece { file: 1, start: 0, end: 10 }]);
    }
}
