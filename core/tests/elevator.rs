//! The elevator against a naive reference, and against readers that crowd out others.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sluice_core::Time;
use sluice_core::elevator::{Batch, Elevator, ElevatorConfig, READ_BYTES_MAX, Request};

const PAGE: u64 = 4096;
const DEADLINE: Duration = Duration::from_millis(500);

fn elevator<T>() -> Elevator<T> {
    Elevator::new(ElevatorConfig::default())
}

fn request<T>(file: u64, offset: u64, bytes: u32, tag: T) -> Request<T> {
    Request { file, offset, bytes, tag }
}

fn ms(milliseconds: u64) -> Time {
    Time(0).after(Duration::from_millis(milliseconds))
}

fn tags<T: Copy>(batch: &Batch<T>) -> Vec<T> {
    batch.requests.iter().map(|request| request.tag).collect()
}

/// The tags of all batches until nothing waits.
fn drain<T: Copy>(elevator: &mut Elevator<T>, now: Time) -> Vec<Vec<T>> {
    std::iter::from_fn(|| elevator.next_batch(now, READ_BYTES_MAX)).map(|batch| tags(&batch)).collect()
}

/// The same rules over a sorted list.
#[derive(Default)]
struct Reference {
    waiting: Vec<(Time, Request<usize>)>,
    last_file: Option<u64>,
    /// Whether each read so far was the oldest's, who was overdue.
    by_age: Vec<bool>,
}

fn place(request: &Request<usize>) -> (u64, u64, u32, usize) {
    (request.file, request.offset, request.bytes, request.tag)
}

fn aligned(begin: u64, end: u64) -> u64 {
    end.div_ceil(PAGE) * PAGE - begin / PAGE * PAGE
}

fn bytes_alone(request: &Request<usize>) -> u64 {
    aligned(request.offset, request.offset + u64::from(request.bytes))
}

impl Reference {
    fn next_batch(&mut self, now: Time, bytes_max: usize, config: &ElevatorConfig) -> Option<Batch<usize>> {
        let bytes_max = bytes_max.min(READ_BYTES_MAX) as u64 / PAGE * PAGE;
        self.waiting.sort_by_key(|(_, request)| place(request));
        let (start, is_overdue) = self.start(now, bytes_max, config)?;
        self.by_age.push(is_overdue);
        let (mut first, mut last) = (start, start);
        let file = self.waiting[start].1.file;
        let (mut begin, mut end) = (u64::MAX, 0);
        let mut joins = |(_, request): &(Time, Request<usize>), gap: u64| {
            let (from, to) = (request.offset, request.offset + u64::from(request.bytes));
            let near = end == 0 || (from <= end + gap && begin <= to + gap);
            let fits = near && request.file == file && aligned(begin.min(from), end.max(to)) <= bytes_max;
            if fits {
                (begin, end) = (begin.min(from), end.max(to));
            }
            fits
        };
        let gap = u64::from(config.gap_bytes_max);
        assert!(joins(&self.waiting[start], gap));
        while last + 1 < self.waiting.len() && joins(&self.waiting[last + 1], gap) {
            last += 1;
        }
        while first > 0 && joins(&self.waiting[first - 1], gap) {
            first -= 1;
        }
        let requests: Vec<_> = self.waiting.drain(first..=last).map(|(_, request)| request).collect();
        self.last_file = Some(file);
        Some(Batch { file, offset: begin / PAGE * PAGE, bytes: aligned(begin, end) as usize, requests })
    }

    fn start(&self, now: Time, bytes_max: u64, config: &ElevatorConfig) -> Option<(usize, bool)> {
        let fits = |index: &usize| bytes_alone(&self.waiting[*index].1) <= bytes_max;
        let overdue = |index: &usize| now.since(self.waiting[*index].0) >= config.deadline;
        let all = 0..self.waiting.len();
        let oldest = all.clone().filter(overdue).min_by_key(|i| (self.waiting[*i].0, self.waiting[*i].1.tag));
        if !self.by_age.iter().rev().take(7).any(|by_age| *by_age)
            && let Some(oldest) = oldest
        {
            return Some((oldest, true)).filter(|_| fits(&oldest));
        }
        let behind = |index: &usize| self.last_file.is_none_or(|last| self.waiting[*index].1.file > last);
        let (ahead, around): (Vec<_>, Vec<_>) = all.partition(behind);
        ahead.into_iter().chain(around).take(64).find(fits).map(|index| (index, false))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(u64, u64, u32),
    Next(usize),
    Wait(u64),
    /// Readers go: all whose tag has this remainder by seven.
    Gone(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![1..20_000u32, 1..300_000u32];
    prop_oneof![
        5 => (0..3u64, 0..2_000_000u64, bytes.clone()).prop_map(|(file, offset, bytes)| Step::Push(file, offset, bytes)),
        // Ranges that are likely to be equal or to touch.
        3 => (0..2u64, 0..8u64, 1..3u32).prop_map(|(file, k, n)| Step::Push(file, k * 10_000, n * 10_000)),
        4 => prop_oneof![Just(READ_BYTES_MAX), Just(usize::MAX), 0..READ_BYTES_MAX].prop_map(Step::Next),
        1 => (0..300u64).prop_map(Step::Wait),
        1 => (0..7usize).prop_map(Step::Gone),
    ]
}

proptest! {
    #[test]
    fn batches_are_those_of_the_reference_and_within_their_bounds(
        steps in vec(any_step(), 0..200),
        gap_bytes_max in prop_oneof![Just(0), Just(16 << 10), 0..100_000u32],
    ) {
        let config = ElevatorConfig { gap_bytes_max, deadline: DEADLINE };
        let mut elevator = Elevator::new(config);
        let mut reference = Reference::default();
        let (mut now, mut tag) = (Time(0), 0);
        for step in steps {
            match step {
                Step::Push(file, offset, bytes) => {
                    elevator.push(now, request(file, offset, bytes, tag));
                    reference.waiting.push((now, request(file, offset, bytes, tag)));
                    tag += 1;
                }
                Step::Next(bytes_max) => {
                    let batch = elevator.next_batch(now, bytes_max);
                    prop_assert_eq!(&batch, &reference.next_batch(now, bytes_max, &config));
                    if let Some(batch) = batch {
                        check_bounds(&batch, bytes_max)?;
                    }
                }
                Step::Wait(milliseconds) => now = now.after(Duration::from_millis(milliseconds)),
                Step::Gone(remainder) => {
                    elevator.retain(|tag| tag % 7 != remainder);
                    reference.waiting.retain(|(_, request)| request.tag % 7 != remainder);
                }
            }
            prop_assert_eq!(elevator.len(), reference.waiting.len());
            prop_assert_eq!(elevator.is_empty(), reference.waiting.is_empty());
            let bytes: u64 = reference.waiting.iter().map(|(_, request)| u64::from(request.bytes)).sum();
            prop_assert_eq!(elevator.requested_bytes(), bytes);
        }
    }

    #[test]
    fn every_request_is_served_once(
        requests in vec((0..4u64, 0..3_000_000u64, 1..500_000u32), 0..300),
        bytes_max in prop_oneof![Just(READ_BYTES_MAX), 507_904..READ_BYTES_MAX],
    ) {
        let mut elevator = elevator();
        for (tag, (file, offset, bytes)) in requests.iter().enumerate() {
            elevator.push(Time(0), request(*file, *offset, *bytes, tag));
        }
        let mut served = Vec::new();
        while let Some(batch) = elevator.next_batch(Time(0), bytes_max) {
            check_bounds(&batch, bytes_max)?;
            served.extend(tags(&batch));
        }
        served.sort_unstable();
        prop_assert_eq!(served, (0..requests.len()).collect::<Vec<_>>());
    }
}

/// The read is aligned, no larger than it may be, and has all that it serves; nothing at its ends is for nobody.
fn check_bounds(batch: &Batch<usize>, bytes_max: usize) -> Result<(), TestCaseError> {
    let Batch { offset, bytes, requests, file } = batch;
    prop_assert!(*bytes <= bytes_max.min(READ_BYTES_MAX));
    prop_assert!(offset.is_multiple_of(PAGE) && (*bytes as u64).is_multiple_of(PAGE));
    let begin = requests.iter().map(|request| request.offset).min().expect("it serves someone");
    let end = requests.iter().map(|request| request.offset + u64::from(request.bytes)).max().expect("the same");
    prop_assert_eq!((*offset, *bytes as u64), (begin / PAGE * PAGE, aligned(begin, end)));
    prop_assert!(requests.iter().all(|request| request.file == *file));
    Ok(())
}

#[test]
fn files_take_turns_and_each_goes_on_from_its_lowest() {
    let mut elevator = elevator();
    for (tag, (file, offset)) in [(1, 5 << 20), (0, 9 << 20), (0, 2 << 20), (1, 3 << 20)].into_iter().enumerate() {
        elevator.push(Time(0), request(file, offset, 100, tag));
    }
    let next = |elevator: &mut Elevator<usize>| elevator.next_batch(Time(0), READ_BYTES_MAX).map(|b| tags(&b));
    assert_eq!(next(&mut elevator), Some(vec![2]));
    assert_eq!(next(&mut elevator), Some(vec![3]));
    // Whoever is behind the others is served before them.
    elevator.push(Time(0), request(0, 1 << 20, 100, 4));
    elevator.push(Time(0), request(1, 4 << 20, 100, 5));
    assert_eq!(drain(&mut elevator, Time(0)), [vec![4], vec![5], vec![1], vec![0]]);
}

/// Going on upwards from where it stopped served readers that were ahead again and again, while those whose request came
/// a moment too late waited for the way around: a thousand readers of one file, each at another place of it.
#[test]
fn readers_of_one_file_that_have_come_apart_come_together_again() {
    const SLICE: u64 = 16 << 10;
    let (readers, regions) = (200, 50);
    let offset = |reader: u64, region: u64| (region * readers + reader) * SLICE;
    let mut elevator = elevator();
    let mut regions_read: Vec<u64> = (0..readers).map(|reader| reader * 7919 % 10).collect();
    for reader in 0..readers {
        elevator.push(Time(0), request(0, offset(reader, regions_read[reader as usize]), SLICE as u32, reader));
    }
    let mut sizes = Vec::new();
    while let Some(batch) = elevator.next_batch(Time(0), READ_BYTES_MAX) {
        sizes.push(batch.requests.len());
        for reader in tags(&batch) {
            let read = &mut regions_read[reader as usize];
            *read += 1;
            if *read < regions {
                elevator.push(Time(0), request(0, offset(reader, *read), SLICE as u32, reader));
            }
        }
    }
    // Until all are where the first ones were; then only the last read of a region is shorter.
    assert!(sizes.iter().rev().take(200).all(|size| *size >= 8), "{sizes:?}");
}

#[test]
fn neighbours_are_joined_up_to_the_gap() {
    for (offset, joined) in [(10_000, true), (10_000 + (16 << 10), true), (10_001 + (16 << 10), false), (5_000, true)] {
        let mut elevator = elevator();
        elevator.push(Time(0), request(0, 0, 10_000, 'a'));
        elevator.push(Time(0), request(0, offset, 10_000, 'b'));
        let expected = if joined { vec![vec!['a', 'b']] } else { vec![vec!['a'], vec!['b']] };
        assert_eq!(drain(&mut elevator, Time(0)), expected, "at {offset}");
    }
}

#[test]
fn two_files_are_never_one_read() {
    let mut elevator = elevator();
    elevator.push(Time(0), request(0, 0, 100, 'a'));
    elevator.push(Time(0), request(1, 0, 100, 'b'));
    assert_eq!(drain(&mut elevator, Time(0)), [['a'], ['b']]);
}

#[test]
fn several_readers_of_one_range_are_served_by_one_read_however_little_memory_there_is() {
    let mut elevator = elevator();
    for tag in 0..100 {
        elevator.push(Time(0), request(0, 5000, 3000, tag));
        elevator.push(Time(0), request(0, 5000, 30_000, 100));
    }
    let batch = elevator.next_batch(Time(0), 4096).expect("the shorter ones fit");
    assert_eq!((batch.offset, batch.bytes), (4096, 4096));
    assert_eq!(tags(&batch), (0..100).collect::<Vec<_>>());
    let batch = elevator.next_batch(Time(0), READ_BYTES_MAX).expect("the others");
    assert_eq!((batch.offset, batch.bytes, batch.requests.len()), (4096, 32768, 100));
}

#[test]
fn who_does_not_fit_stays_until_there_is_more_memory() {
    let mut elevator = elevator();
    elevator.push(Time(0), request(0, 0, 100_000, "large"));
    elevator.push(Time(0), request(0, 1 << 20, 4000, "small"));
    let next = |elevator: &mut Elevator<_>, bytes| elevator.next_batch(Time(0), bytes).map(|batch| tags(&batch));
    assert_eq!(next(&mut elevator, 0), None);
    assert_eq!(next(&mut elevator, 8192), Some(vec!["small"]));
    assert_eq!(next(&mut elevator, 98_304 + 4095), None);
    assert_eq!(next(&mut elevator, 102_400), Some(vec!["large"]));
}

#[test]
fn memory_that_an_overdue_reader_waits_for_goes_to_nobody_else() {
    let mut elevator = elevator();
    elevator.push(ms(0), request(0, 0, 100_000, "large"));
    elevator.push(ms(400), request(0, 1 << 20, 4000, "small"));
    assert_eq!(elevator.next_batch(ms(500), 8192), None);
    assert_eq!(elevator.len(), 2);
    assert_eq!(drain(&mut elevator, ms(500)), [["large"], ["small"]]);
}

#[test]
fn a_reader_waiting_past_its_deadline_goes_first_but_not_two_of_them_in_a_row() {
    let mut elevator = elevator();
    elevator.push(ms(0), request(0, 500 << 20, 100, 100));
    elevator.push(ms(100), request(0, 900 << 20, 100, 101));
    for index in 0..9 {
        elevator.push(ms(300), request(0, (index + 1) << 20, 100, index));
    }
    let mut next = |now| elevator.next_batch(now, READ_BYTES_MAX).map(|batch| tags(&batch)[0]);
    assert_eq!(next(ms(499)), Some(0));
    assert_eq!(next(ms(500)), Some(100));
    for index in 1..8 {
        assert_eq!(next(ms(600)), Some(index));
    }
    assert_eq!(next(ms(600)), Some(101));
    assert_eq!(next(ms(600)), Some(8));
}

/// Forty readers begin again and again with the beginning of a file; one waits further up. A batch takes a millisecond.
#[test]
fn a_reader_above_a_flood_is_served_by_its_deadline_and_a_batch() {
    let mut elevator = elevator();
    elevator.push(ms(0), request(0, 1 << 30, 4096, 0));
    for reader in 1..=40 {
        elevator.push(ms(0), request(0, reader << 20, 512 << 10, reader));
    }
    for now in 0.. {
        let batch = elevator.next_batch(ms(now), READ_BYTES_MAX).expect("the flood");
        if batch.requests.iter().any(|request| request.tag == 0) {
            assert_eq!(Duration::from_millis(now), DEADLINE);
            break;
        }
        for request in batch.requests {
            elevator.push(ms(now), request);
        }
    }
}

/// All are overdue: the disk is slower than its readers. Neighbours are still read together.
#[test]
fn if_all_are_overdue_every_eighth_read_is_for_the_oldest_and_the_others_go_by_place() {
    let mut elevator = elevator();
    let offset = |index: u64| (index * 7919 % 1000) << 20;
    for index in 0..1000 {
        elevator.push(ms(index), request(0, offset(index), 4096, index));
    }
    let order: Vec<_> = drain(&mut elevator, ms(10_000)).concat();
    let mut left: Vec<_> = (0..1000).collect();
    for (read, index) in order.iter().enumerate() {
        let oldest = left.iter().min();
        let lowest = left.iter().min_by_key(|index| offset(**index));
        assert_eq!(Some(index), if read % 8 == 0 { oldest } else { lowest });
        left.retain(|other| other != index);
    }
}

#[test]
fn a_hundred_thousand_requests_are_joined_into_full_reads() {
    let mut elevator = elevator();
    for index in 0..100_000u64 {
        // Slices of 16 KiB of as many readers, asked for in any order.
        elevator.push(Time(0), request(0, (index * 7919 % 100_000) * (16 << 10), 16 << 10, index));
    }
    assert_eq!(elevator.requested_bytes(), 100_000 * (16 << 10));
    let batches = drain(&mut elevator, Time(0));
    assert_eq!(batches.len(), 100_000 / 32);
    assert!(batches.iter().all(|batch| batch.len() == 32));
}

#[test]
#[should_panic(expected = "a request of 524288 bytes, 528384 aligned")]
fn a_request_that_no_read_could_serve_is_refused_at_once() {
    elevator().push(Time(0), request(0, 1, 512 << 10, ()));
}
