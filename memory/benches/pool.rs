//! What the data path pays for memory: a segment out and back, and the cuts in between.

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use sluice_memory::{Arena, ArenaOptions, BufferPool, HugePages, Memory, PoolSpec, SizeClass};

fn pool(floor_units: usize) -> BufferPool {
    let arena = Arena::map(ArenaOptions { bytes: 64 << 20, huge_pages: HugePages::Try });
    let memory = Memory::new(arena.expect("64 MiB"));
    let spec = PoolSpec { owner: "bench".into(), unit: SizeClass::UNIT, floor_units, bytes_max: 32 << 20 };
    memory.pool(spec).expect("the only pool")
}

fn acquire_and_release(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("acquire + release");
    let floor = pool(1);
    group.bench_function("32 KiB of the floor", |b| b.iter(|| floor.try_acquire(SizeClass::UNIT)));
    group.bench_function("4 KiB of the floor", |b| b.iter(|| floor.try_acquire(SizeClass::MIN)));
    let _floor_used_up = floor.acquire(SizeClass::UNIT);
    group.bench_function("32 KiB of the excess", |b| b.iter(|| floor.try_acquire(SizeClass::UNIT)));
    group.bench_function("64 of 32 KiB at once", |b| {
        let mut held = Vec::with_capacity(64);
        b.iter(|| {
            held.extend((0..64).map(|_| floor.try_acquire(SizeClass::UNIT)));
            held.clear();
        });
    });
}

fn two_threads(bench: &mut Criterion) {
    let pool = pool(1);
    bench.bench_function("acquire + release/32 KiB, beside another thread", |b| {
        b.iter_custom(|rounds| {
            let churn = || {
                let started = std::time::Instant::now();
                (0..rounds).for_each(|_| drop(black_box(pool.try_acquire(SizeClass::UNIT))));
                started.elapsed()
            };
            std::thread::scope(|scope| {
                let other = scope.spawn(churn);
                let own = churn();
                own.max(other.join().unwrap_or(Duration::ZERO))
            })
        });
    });
}

fn cut(bench: &mut Criterion) {
    let pool = pool(1);
    let mut open = pool.acquire(SizeClass::UNIT);
    bench.bench_function("split_to + freeze + drop", |b| {
        b.iter(|| {
            let front = open.split_to(1024).freeze();
            let length = black_box(&front).len();
            drop(front);
            if open.len() < 2048 {
                open = sluice_memory::BufferMut::empty();
                open = pool.acquire(SizeClass::UNIT);
            }
            length
        });
    });
    let mut open = pool_with_one();
    bench.bench_function("split_to + try_merge", |b| {
        b.iter(|| {
            let mut front = open.split_to(1024);
            let back = std::mem::take(&mut open);
            let merged = black_box(&mut front).try_merge(back).is_ok();
            open = front;
            merged
        });
    });
    let shared = open.freeze();
    bench.bench_function("clone + drop", |b| b.iter(|| shared.clone()));
    bench.bench_function("location", |b| b.iter(|| black_box(&shared).location()));
}

fn pool_with_one() -> sluice_memory::BufferMut {
    pool(1).acquire(SizeClass::UNIT)
}

criterion_group!(benches, acquire_and_release, two_threads, cut);
criterion_main!(benches);
