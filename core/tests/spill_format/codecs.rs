//! Blocks are compressed where that pays, brought back exactly, and refused where they are damaged.

use proptest::collection::vec;
use proptest::prelude::*;
use sluice_core::spill::{Codec, CodecError, Compressor, Decompressor};

const CODECS: [Codec; 2] = [Codec::Lz4, Codec::Zstd];

/// Looks random, and is the same in every run.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let step = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(step).take(bytes).collect()
}

fn text(bytes: usize) -> Vec<u8> {
    let words = noise(3, bytes).into_iter().map(|n| ["shuffle ", "the ", "disk ", "slice "][usize::from(n % 4)]);
    words.flat_map(str::bytes).take(bytes).collect()
}

/// Which of the blocks were compressed.
fn compressed(compressor: &mut Compressor, block: &[u8], count: usize) -> Vec<bool> {
    let mut into = vec![0; block.len()];
    (0..count).map(|_| compressor.compress(block, &mut into).is_some()).collect()
}

proptest! {
    #[test]
    fn what_was_compressed_comes_back(raw in prop_oneof![
        vec(any::<u8>(), 0..2000),
        vec(0..4u8, 0..20_000),
        (vec(any::<u8>(), 1..50), 1..4000usize).prop_map(|(piece, times)| piece.repeat(times)),
    ]) {
        let mut decompressor = Decompressor::new();
        for codec in CODECS {
            let mut into = vec![0; raw.len()];
            if let Some(stored) = Compressor::new(codec, None).compress(&raw, &mut into) {
                prop_assert!(stored <= raw.len() - raw.len().div_ceil(16), "it pays");
                let mut back = vec![0; raw.len()];
                decompressor.decompress(codec, &into[..stored], &mut back).expect("it is whole");
                prop_assert_eq!(&back, &raw);
            }
        }
    }

    #[test]
    fn damaged_bytes_never_panic_and_never_become_more_than_there_is_room_for(
        stored in vec(any::<u8>(), 0..500),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        room in 0..9000usize,
    ) {
        let raw = text(5000);
        let mut decompressor = Decompressor::new();
        for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
            let _ = decompressor.decompress(codec, &stored, &mut vec![0; room]);
            let mut into = vec![0; raw.len()];
            let Some(length) = Compressor::new(codec, None).compress(&raw, &mut into) else { continue };
            into.truncate(length);
            for (index, byte) in &flips {
                into[index.index(length)] = *byte;
            }
            let _ = decompressor.decompress(codec, &into, &mut vec![0; room]);
        }
    }
}

#[test]
fn another_length_than_the_entry_says_is_an_error() {
    let raw = text(5000);
    let mut decompressor = Decompressor::new();
    for codec in CODECS {
        let mut into = vec![0; raw.len()];
        let stored = Compressor::new(codec, None).compress(&raw, &mut into).expect("text is compressed");
        let into = &into[..stored];
        let mut decompress = |stored: &[u8], bytes| decompressor.decompress(codec, stored, &mut vec![0; bytes]);
        assert_eq!(decompress(into, 5000), Ok(()));
        let longer = CodecError::Length { codec, found: 5000, expected: 5001 };
        assert_eq!(decompress(into, 5001), Err(longer));
        assert!(
            matches!(decompress(into, 4999), Err(CodecError::Damaged { stored, raw: 4999, .. }) if stored == into.len())
        );
        assert!(decompress(&into[..stored - 1], 5000).is_err());
        assert!(decompress(&[into, &[0]].concat(), 5000).is_err(), "{codec}: a byte too many");
    }
    let mut decompress = |stored: &[u8], bytes| decompressor.decompress(Codec::None, stored, &mut vec![0; bytes]);
    assert_eq!(decompress(b"abc", 3), Ok(()));
    assert!(decompress(b"abc", 2).is_err() && decompress(b"abc", 4).is_err());
}

#[test]
fn text_is_compressed_and_noise_is_not() {
    for codec in CODECS {
        let mut compressor = Compressor::new(codec, None);
        assert_eq!(compressor.codec(), codec);
        assert_eq!(compressed(&mut compressor, &text(32 << 10), 100), [true; 100]);
        assert_eq!(compressed(&mut compressor, &noise(1, 32 << 10), 100), [false; 100]);
    }
    assert_eq!(compressed(&mut Compressor::new(Codec::None, None), &text(1000), 3), [false; 3]);
}

#[test]
fn too_little_room_is_as_if_it_did_not_pay() {
    for codec in CODECS {
        let mut compressor = Compressor::new(codec, None);
        assert_eq!(compressor.compress(&text(10_000), &mut [0; 50]), None);
        assert_eq!(compressor.compress(&text(10_000), &mut []), None);
    }
}

/// Counts what is tried by putting text at chosen places: it is compressed exactly if it is tried.
#[test]
fn a_codec_that_does_not_pay_rests_and_looks_again_now_and_then() {
    let (noise, text) = (noise(1, 4096), text(4096));
    for codec in CODECS {
        let is_tried_after = |poor: usize| {
            let mut compressor = Compressor::new(codec, None);
            compressed(&mut compressor, &noise, poor);
            compressed(&mut compressor, &text, 1) == [true]
        };
        let tried: Vec<_> = (0..300).filter(|poor| is_tried_after(*poor)).collect();
        // Eight in a row, then after 32, 64, 128 that rested.
        assert_eq!(tried, [0, 1, 2, 3, 4, 5, 6, 7, 40, 105, 234]);
    }
}

#[test]
fn data_that_become_compressible_are_compressed_again_from_the_next_look_on() {
    for codec in CODECS {
        let mut compressor = Compressor::new(codec, None);
        compressed(&mut compressor, &noise(1, 4096), 9);
        let then = compressed(&mut compressor, &text(4096), 100);
        assert_eq!(then.iter().position(|compressed| *compressed), Some(31));
        assert!(then[31..].iter().all(|compressed| *compressed));
        // And it takes eight poor ones again before it rests.
        compressed(&mut compressor, &noise(2, 4096), 7);
        assert_eq!(compressed(&mut compressor, &text(4096), 1), [true]);
    }
}

#[test]
fn short_blocks_say_nothing_about_the_data() {
    for codec in CODECS {
        let mut compressor = Compressor::new(codec, None);
        assert_eq!(compressed(&mut compressor, b"an event", 1000), [false; 1000]);
        assert_eq!(compressed(&mut compressor, &text(4096), 1), [true]);
    }
}

#[test]
fn zstd_takes_any_level_and_a_higher_one_is_no_worse() {
    let raw = text(100_000);
    let stored = |level| Compressor::new(Codec::Zstd, Some(level)).compress(&raw, &mut vec![0; raw.len()]);
    assert!(stored(9).expect("text is compressed") <= stored(1).expect("text is compressed"));
    assert!(stored(i32::MAX).is_some(), "the highest there is");
    // The lowest is so fast that it finds nothing.
    assert_eq!(stored(i32::MIN), None);
}

#[test]
fn codecs_are_named_as_they_are_written() {
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        assert_eq!(codec.to_string().parse(), Ok(codec));
    }
    let error = "LZ4".parse::<Codec>().expect_err("lower case");
    assert_eq!(error.to_string(), "no codec `LZ4`: there are none, lz4 and zstd");
}
