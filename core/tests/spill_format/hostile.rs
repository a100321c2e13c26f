//! The decoders against bytes that no writer wrote, behind right checksums: refused, never a panic, and no memory taken
//! by a number in them.

use bolero::check;
use sluice_core::SubpartitionIndex;
use sluice_core::spill::{Codec, Extents, Footer, Header, PAGE_BYTES, SectionPlace, Trailer, check_parts, checksum};

use crate::files::{Bytes, Writer, data, event, set, write};

/// Sets the checksum of a piece that begins with a magic right.
fn seal(piece: &mut [u8]) -> u32 {
    let crc = checksum(&piece[8..]);
    piece[4..8].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// Changes bytes at places that the fuzzer chooses; the first bytes, where numbers are, more often.
fn scatter(into: &mut [u8], changes: &[(u16, u8)]) {
    for (index, (at, byte)) in changes.iter().enumerate() {
        let range = if index % 2 == 0 { into.len().min(160) } else { into.len() };
        into[usize::from(*at) % range] = *byte;
    }
}

fn trailer(footer: &[u8], footer_crc: u32) -> Trailer {
    Trailer {
        set: set(),
        part: 0,
        parts: 1,
        durable: false,
        footer_offset: 1 << 20,
        footer_bytes: footer.len() as u64,
        footer_crc,
        boot: [0; 16],
        stored_bytes: 0,
    }
}

/// An extent: logical offset, part, physical offset, bytes.
type Push = (u64, u16, u64, u64);

/// Another number, so many bytes behind where the extents begin.
type Change = (usize, u64);

fn small() -> Writer {
    let mut writer = Writer::new(set(), Codec::None);
    writer.region(&[data(2, b"two"), data(4, b"four"), event(b"end")]);
    writer.directory();
    writer.region(&[data(3, b"three")]);
    writer.directory();
    writer
}

#[test]
fn random_pages_are_refused() {
    check!().for_each(|bytes: &[u8]| {
        let mut page = vec![0; PAGE_BYTES];
        page[..bytes.len().min(PAGE_BYTES)].copy_from_slice(&bytes[..bytes.len().min(PAGE_BYTES)]);
        assert!(Header::decode(bytes).is_err() && Header::decode(&page).is_err());
        assert!(Trailer::decode(bytes, u64::MAX).is_err() && Trailer::decode(&page, u64::MAX).is_err());
    });
}

#[test]
fn a_header_is_what_it_was_or_is_refused() {
    let whole = Header { set: set(), part: 3 }.encode();
    check!().with_type().for_each(|changes: &Vec<(u16, u8)>| {
        let mut page = whole;
        scatter(&mut page[8..64], changes);
        seal(&mut page);
        if let Ok(header) = Header::decode(&page) {
            let last = header.set.first.0.checked_add(header.set.count - 1).expect("within 32 bits");
            assert!(last < header.set.subpartitions && header.set.holds(SubpartitionIndex(last)));
        }
    });
}

#[test]
fn a_footer_that_is_accepted_leads_nowhere_outside_of_its_file() {
    let (whole, crc) = small().footer().encode();
    assert!(Footer::decode(&whole, &trailer(&whole, crc)).is_ok());
    check!().with_type().for_each(|(changes, cut): &(Vec<(u16, u8)>, u16)| {
        let mut bytes = whole.clone();
        scatter(&mut bytes[16..], changes);
        if cut % 4 == 0 {
            bytes.truncate(32.max(usize::from(*cut) % whole.len()));
        }
        let crc = seal(&mut bytes);
        let trailer = trailer(&bytes, crc);
        let Ok(footer) = Footer::decode(&bytes, &trailer) else { return };
        for place in &footer.directories {
            let sections = (2..5).filter_map(|index| place.section(SubpartitionIndex(index))).chain(place.common());
            for section in sections {
                let places = footer.extents.locate(section.offset, section.bytes.into());
                assert!(places.map(|(_, at, bytes)| at + bytes).all(|end| end <= trailer.footer_offset));
            }
        }
    });
}

#[test]
fn extents_on_top_of_each_other_or_of_the_footer_are_refused() {
    let decode = |pushes: &[Push], change: &[Change]| {
        let mut footer = small().footer();
        footer.directories.clear();
        footer.extents = Extents::new();
        pushes
            .iter()
            .for_each(|(logical, part, physical, bytes)| footer.extents.push(*logical, *part, *physical, *bytes));
        let (mut bytes, _) = footer.encode();
        // Behind the fixed bytes and three totals.
        let extents = 32 + 3 * 24;
        for (at, value) in change {
            bytes[extents + at..extents + at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let crc = seal(&mut bytes);
        let trailer = Trailer { part: 1, parts: 2, ..trailer(&bytes, crc) };
        Footer::decode(&bytes, &trailer).map(|_| ()).map_err(|error| error.to_string())
    };
    let two = [(0, 0, 4096, 8192), (8192, 1, 4096, 4096)];
    assert_eq!(decode(&two, &[]), Ok(()));
    let refusals: [(&[Push], &[Change], &str); 9] = [
        (&[(0, 0, 4096, 8192), (8192, 0, 8192, 4096)], &[], "behind the extent that ends at 12288"),
        (&[(0, 2, 4096, 8192)], &[], "extent's part is 2, expected less than 2"),
        (&[(0, 0, 0, 8192)], &[], "extent's physical offset is 0"),
        (&[(0, 0, 5000, 8192)], &[], "extent's physical offset is 5000"),
        (&[(0, 1, 4096, 1 << 20)], &[], "extent's bytes is 1048576"),
        (&two, &[(0, 4096)], "extent's logical offset is 4096, expected 0"),
        (&two, &[(32, 4096)], "extent's logical offset is 4096, expected 8192"),
        (&two, &[(16, 0)], "extent's bytes is 0"),
        (&two, &[(16, u64::MAX - 4095)], "extent's bytes is 18446744073709547520"),
    ];
    for (pushes, change, expected) in refusals {
        let error = decode(pushes, change).expect_err(expected);
        assert!(error.starts_with("offset 1") && error.contains(expected), "{error}: {expected}");
    }
}

#[test]
fn a_footer_asks_for_no_more_memory_than_its_length_holds() {
    let (whole, _) = small().footer().encode();
    for at in [16, 20, 24] {
        for count in [u32::MAX, u32::MAX - 1, 1 << 31, 1000, 0] {
            let mut bytes = whole.clone();
            bytes[at..at + 4].copy_from_slice(&count.to_le_bytes());
            let crc = seal(&mut bytes);
            assert!(Footer::decode(&bytes, &trailer(&bytes, crc)).is_err(), "{count} at {at}");
        }
    }
}

#[test]
fn slices_that_are_accepted_lie_in_order_in_front_of_their_directory() {
    let parts = write(Codec::None, &[vec![data(2, b"a"), data(3, b"b"), data(2, b"cc"), data(3, b"d")]]);
    let footer = crate::files::index(&parts);
    let place = footer.directories[0].section(SubpartitionIndex(2)).expect("it has blocks");
    let whole = parts[0].0[place.offset as usize + PAGE_BYTES..][..place.bytes as usize].to_vec();
    assert_eq!(place.decode(&whole).expect("it is whole").len(), 2);
    check!().with_type().for_each(|(changes, more): &(Vec<(u16, u8)>, Vec<u8>)| {
        let mut bytes = whole.clone();
        bytes.extend_from_slice(more);
        scatter(&mut bytes[16..], changes);
        let crc = checksum(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        let place = SectionPlace { bytes: bytes.len() as u32, ..place };
        let Ok(slices) = place.decode(&bytes) else { return };
        let ends: Vec<_> = slices.iter().map(|slice| (slice.offset, slice.end())).collect();
        assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{ends:?}");
        assert!(ends.iter().all(|(begin, end)| begin <= end && *end <= place.directory_offset), "{ends:?}");
    });
}

#[test]
fn a_section_of_another_place_is_refused() {
    let parts = write(Codec::None, &[vec![data(2, b"a"), data(3, b"b")], vec![data(2, b"a"), data(3, b"b")]]);
    let footer = crate::files::index(&parts);
    let place = |directory: usize, index| {
        footer.directories[directory].section(SubpartitionIndex(index)).expect("it has a block")
    };
    let bytes = |place: SectionPlace| &parts[0].0[place.offset as usize + PAGE_BYTES..][..place.bytes as usize];
    let error = place(0, 2).decode(bytes(place(0, 3))).expect_err("another subpartition's").to_string();
    assert_eq!(error, "offset 4: directory 0: section of subpartition 2: subpartition is 3, expected 2");
    let error = place(1, 2).decode(bytes(place(0, 2))).expect_err("another directory's").to_string();
    assert_eq!(error, "offset 8: directory 1: section of subpartition 2: directory is 0, expected 1");
    assert!(place(0, 2).decode(&bytes(place(0, 2))[1..]).is_err());
    assert!(place(0, 2).decode(&[]).is_err());
}

/// All pieces at once, their own checksums left as they are or set right for footer and trailer.
#[test]
fn a_check_of_anything_ends_with_a_report() {
    let whole = small().finish().remove(0).0;
    check!().with_type().for_each(|(changes, footer): &(Vec<(u16, u8)>, bool)| {
        let mut bytes = whole.clone();
        let end = bytes.len();
        if *footer {
            let place = Trailer::decode(&bytes[end - PAGE_BYTES..], end as u64).expect("it is whole");
            let footer = &mut bytes[place.footer_offset as usize..][..place.footer_bytes as usize];
            scatter(&mut footer[16..], changes);
            let footer_crc = seal(footer);
            bytes[end - PAGE_BYTES..].copy_from_slice(&Trailer { footer_crc, ..place }.encode());
        } else {
            scatter(&mut bytes[end - PAGE_BYTES + 8..], changes);
            seal(&mut bytes[end - PAGE_BYTES..]);
        }
        check_parts(&mut [&mut Bytes(bytes)]).expect("memory is always readable");
    });
}
