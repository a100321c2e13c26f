//! Sizes and durations as people write them: `"64KiB"`, `"10ms"`, and `"off"`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::partition::FlushInterval;

/// A number of bytes, written as `"64KiB"` or as a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(
    /// In bytes.
    pub usize,
);

/// A length of time, written as `"10ms"` or `"1m 30s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(
    /// As the standard library has it.
    pub Duration,
);

/// A text that is none of what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is {problem}")]
pub struct NotUnderstood {
    text: String,
    problem: &'static str,
}

const NO_SIZE: &str = "no size: write it with a unit, such as 64KiB or 16MiB, or as a number of bytes";
const NO_PERIOD: &str = "no duration: write it with a unit, such as 10ms, 2s or 1m";
const NO_FLUSH_INTERVAL: &str =
    "no flush interval: write a duration such as 10ms, 0 to flush with every call that writes, or off";

impl Size {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

    /// The bytes.
    pub const fn bytes(self) -> usize {
        self.0
    }

    /// The bytes, for the wire's bounds; [`Config::check`](super::Config::check) refuses what does not fit.
    pub(super) fn saturating_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl Period {
    /// The standard library's form.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Size {
    type Err = NotUnderstood;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let size: Option<bytesize::ByteSize> = text.trim().parse().ok();
        let bytes = size.and_then(|size| usize::try_from(size.as_u64()).ok());
        bytes.map(Self).ok_or_else(|| NotUnderstood { text: text.to_owned(), problem: NO_SIZE })
    }
}

impl FromStr for Period {
    type Err = NotUnderstood;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let period = humantime::parse_duration(text).map(Self);
        period.map_err(|_| NotUnderstood { text: text.to_owned(), problem: NO_PERIOD })
    }
}

impl FromStr for FlushInterval {
    type Err = NotUnderstood;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        match text.parse() {
            Ok(Period(Duration::ZERO)) => Ok(Self::Always),
            Ok(Period(interval)) => Ok(Self::After(interval)),
            Err(_) => Err(NotUnderstood { text: text.to_owned(), problem: NO_FLUSH_INTERVAL }),
        }
    }
}

impl fmt::Display for Size {
    /// In the largest unit of which it is a whole number, so that nothing is lost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |shift: u32| self.0 != 0 && (self.0 as u64).is_multiple_of(1 << shift);
        match Self::UNITS.into_iter().find(|(_, shift)| whole(*shift)) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 as u64 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl fmt::Display for FlushInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(interval) => Period(*interval).fmt(f),
            Self::Always => f.write_str("0"),
            Self::Off => f.write_str("off"),
        }
    }
}

/// Reads text, and numbers as the text that they are.
struct TextVisitor<T> {
    expected: &'static str,
    result: PhantomData<T>,
}

impl<T: FromStr<Err = NotUnderstood>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

macro_rules! written_as_text {
    ($type:ty, $expected:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextVisitor { expected: $expected, result: PhantomData })
            }
        }
    };
}

written_as_text!(Size, "a size such as \"64KiB\"");
written_as_text!(Period, "a duration such as \"10ms\"");
written_as_text!(FlushInterval, "a duration such as \"10ms\", \"0\" or \"off\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_reads_as_it_was_written() {
        for text in ["0B", "1B", "4097B", "64KiB", "1025KiB", "64MiB", "3GiB", "8TiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!("65536".parse(), Ok(Size(65536)));
        assert_eq!("1.5 MiB".parse(), Ok(Size(3 << 19)));
    }

    #[test]
    fn what_is_no_size_is_said_with_what_would_be_one() {
        for text in ["", "-1", "MiB", "64 parsecs"] {
            assert_eq!(text.parse::<Size>().unwrap_err().to_string(), format!("`{text}` is {NO_SIZE}"));
        }
    }

    #[test]
    fn a_period_reads_as_it_was_written() {
        for text in ["10ms", "2s", "1m 30s", "0s"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        assert_eq!("10".parse::<Period>().unwrap_err().to_string(), format!("`10` is {NO_PERIOD}"));
    }

    #[test]
    fn a_flush_interval_is_a_duration_zero_or_off() {
        assert_eq!("10ms".parse(), Ok(FlushInterval::After(Duration::from_millis(10))));
        assert_eq!(["0", "0ms"].map(str::parse), [Ok(FlushInterval::Always), Ok(FlushInterval::Always)]);
        assert_eq!("off".parse(), Ok(FlushInterval::Off));
        assert_eq!("ten".parse::<FlushInterval>().unwrap_err().to_string(), format!("`ten` is {NO_FLUSH_INTERVAL}"));
    }
}
