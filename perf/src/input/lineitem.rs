//! Rows of TPC-H's largest table, made about as fast as they can be shuffled: some 0.9 GB/s a core.
use std::{ops::RangeInclusive, sync::LazyLock};

use tpchgen::{
    dates::{MIN_GENERATE_DATE, TOTAL_DATE_RANGE, TPCHDate},
    generators::{LineItem, LineItemGenerator, LineItemGeneratorIterator},
    text::TextPool,
};

use super::{Batch, InputError, Source, Targets};

/// How many rows scale factor 1 has: TPC-H 3.0.1, 4.2.5.1.
pub const ROWS_AT_SCALE_1: u64 = 6_001_215;

// The longest row has about 150 bytes: the comment has at most 43, the other text at most 36.
const ROW_BYTES_MAX: usize = 256;
// So many rows' comments are fetched at a time: see `touch_comments`.
const GROUP_ROWS: usize = 16;
const ROW_BYTES_MEAN: f64 = 125.6;

/// Below, there is not one supplier to name in a row (TPC-H has 10 000 at scale factor 1); above, TPC-H ends.
const SCALE_FACTORS: RangeInclusive<f64> = 0.0001..=100_000.0;

/// Refuses a scale factor that has no rows.
pub fn check_scale_factor(scale_factor: f64) -> Result<(), InputError> {
    if SCALE_FACTORS.contains(&scale_factor) {
        return Ok(());
    }
    let (least, most) = SCALE_FACTORS.into_inner();
    Err(InputError::Setting(format!("a scale factor of {scale_factor}: there are rows from {least} to {most}")))
}

/// The table, split among producers.
pub(super) struct Lineitem {
    scale_factor: f64,
    producers: i32,
    targets: Targets,
}

impl Lineitem {
    pub(super) fn prepare(scale_factor: f64, producers: u32, targets: Targets) -> Result<Self, InputError> {
        check_scale_factor(scale_factor)?;
        let producers = i32::try_from(producers).map_err(|_| {
            InputError::Setting(format!("{producers} producers are more than TPC-H can split a table for"))
        })?;
        // Comments are cut from 300 MiB of text that takes a second to write: not while a clock runs.
        TextPool::get_or_init_default();
        LazyLock::force(&DATES);
        Ok(Self { scale_factor, producers, targets })
    }

    pub(super) fn source(&self, producer: u32) -> LineitemSource {
        let part = i32::try_from(producer).expect("a producer's number is below their count") + 1;
        let rows = LineItemGenerator::new(self.scale_factor, part, self.producers).iter();
        LineitemSource { rows, group: Vec::with_capacity(GROUP_ROWS), targets: self.targets }
    }

    pub(super) fn bytes_estimate(&self) -> u64 {
        (self.scale_factor * ROWS_AT_SCALE_1 as f64 * ROW_BYTES_MEAN) as u64
    }
}

pub(super) struct LineitemSource {
    rows: LineItemGeneratorIterator<'static>,
    group: Vec<LineItem<'static>>,
    targets: Targets,
}

impl Source for LineitemSource {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, InputError> {
        batch.clear();
        while batch.has_room_for(GROUP_ROWS * ROW_BYTES_MAX) {
            self.group.clear();
            self.group.extend(self.rows.by_ref().take(GROUP_ROWS));
            if self.group.is_empty() {
                break;
            }
            touch_comments(&self.group);
            for row in &self.group {
                let start = batch.bytes.len();
                let key_end = format_row(row, &mut batch.bytes);
                // The digits, not the number: so `--input lineitem.tbl --key 1` sends every row where this does.
                let target = self.targets.of_key(&batch.bytes[start..key_end]);
                batch.seal(start, target);
            }
        }
        Ok(!batch.is_empty())
    }
}

/// Reads an end of each comment. They are cut from 300 MiB of text at random, so each is a miss in all
/// caches; a loop that does nothing else has the processor wait for all of them at once.
fn touch_comments(rows: &[LineItem<'_>]) {
    let ends = |row: &LineItem<'_>| {
        let comment = row.l_comment.as_bytes();
        comment.first().map_or(0, |byte| u32::from(*byte)) + comment.last().map_or(0, |byte| u32::from(*byte))
    };
    std::hint::black_box(rows.iter().map(ends).sum::<u32>());
}

/// Appends what the row's `Display` writes, at several times its 0.17 GB/s a core; the end of the key.
fn format_row(row: &LineItem<'_>, out: &mut Vec<u8>) -> usize {
    number(row.l_orderkey, out);
    let key_end = out.len() - 1;
    number(row.l_partkey, out);
    number(row.l_suppkey, out);
    number(i64::from(row.l_linenumber), out);
    number(row.l_quantity, out);
    hundredths(row.l_extendedprice.into_inner(), out);
    hundredths(row.l_discount.into_inner(), out);
    hundredths(row.l_tax.into_inner(), out);
    text(row.l_returnflag.as_bytes(), out);
    text(row.l_linestatus.as_bytes(), out);
    date(row.l_shipdate, out);
    date(row.l_commitdate, out);
    date(row.l_receiptdate, out);
    text(row.l_shipinstruct.as_bytes(), out);
    text(row.l_shipmode.as_bytes(), out);
    text(row.l_comment.as_bytes(), out);
    key_end
}

fn text(field: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(field);
    out.push(b'|');
}

fn number(value: i64, out: &mut Vec<u8>) {
    text(itoa::Buffer::new().format(value).as_bytes(), out);
}

fn hundredths(value: i64, out: &mut Vec<u8>) {
    // No amount in this table is negative (TPC-H 3.0.1, 4.2.3).
    out.extend_from_slice(itoa::Buffer::new().format(value / 100).as_bytes());
    let rest = (value % 100) as u8;
    out.extend_from_slice(&[b'.', b'0' + rest / 10, b'0' + rest % 10, b'|']);
}

fn date(date: TPCHDate, out: &mut Vec<u8>) {
    out.extend_from_slice(&DATES[date.into_inner() as usize]);
}

/// The seven years of TPC-H, each day as `1992-01-01|`.
static DATES: LazyLock<Vec<[u8; 11]>> = LazyLock::new(|| {
    let day = |day| {
        let text = format!("{}|", TPCHDate::new(day));
        text.into_bytes().try_into().expect("a date has ten characters")
    };
    (MIN_GENERATE_DATE..MIN_GENERATE_DATE + TOTAL_DATE_RANGE).map(day).collect()
});

#[cfg(test)]
mod tests {
    use super::{super::InputSpec, super::testing::*, *};

    const SMALL: InputSpec = InputSpec::Lineitem { scale_factor: 0.01 };

    #[test]
    fn rows_read_as_tpchgen_prints_them() {
        let printed = LineItemGenerator::new(0.01, 1, 1).iter().map(|row| row.to_string().into_bytes());
        let made = records(&SMALL, 1, 1).unwrap().into_iter().map(|(record, _)| record);
        assert!(made.eq(printed));
    }

    #[test]
    fn producers_split_the_table_without_loss() {
        let whole = records(&SMALL, 1, 5).unwrap();
        assert_eq!(whole.len(), 60_175);
        assert_eq!(sorted(records(&SMALL, 4, 5).unwrap()), sorted(whole));
    }

    #[test]
    fn rows_of_one_order_meet_at_one_consumer() {
        let mut of_order = std::collections::HashMap::new();
        for (record, target) in records(&SMALL, 3, 16).unwrap() {
            let key = record.split(|byte| *byte == b'|').next().unwrap().to_vec();
            assert_eq!(*of_order.entry(key).or_insert(target), target);
        }
        assert_eq!(of_order.len(), 15_000);
    }

    #[test]
    fn the_estimate_is_near_the_bytes_made() {
        let made: usize = records(&SMALL, 1, 1).unwrap().iter().map(|(record, _)| record.len()).sum();
        let estimate = Lineitem::prepare(0.01, 1, Targets::new(1)).unwrap().bytes_estimate();
        assert!(estimate.abs_diff(made as u64) * 20 < made as u64, "{estimate} for {made}");
    }

    #[test]
    fn scale_factors_without_rows_are_refused_and_the_least_has_some() {
        for scale_factor in [0.0, 0.000_001, 0.000_099, 100_001.0, -1.0, f64::NAN, f64::INFINITY] {
            let refused = records(&InputSpec::Lineitem { scale_factor }, 1, 1).unwrap_err().to_string();
            assert!(refused.contains("from 0.0001 to 100000"), "{refused}");
        }
        assert!(records(&InputSpec::Lineitem { scale_factor: 0.0001 }, 200, 3).unwrap().len() > 150);
    }
}
