//! Flush intervals and figures as people write and read them.
use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// How long a record may wait in a buffer that is not full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum FlushInterval {
    /// At most this long; zero sends after each record.
    Every(Duration),
    /// Until the buffer is full or the partition ends.
    Off,
}

/// Neither a duration nor `off`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no interval: write a duration such as 10ms, 0 to send each record at once, or off")]
pub struct NoInterval {
    text: String,
}

impl FromStr for FlushInterval {
    type Err = NoInterval;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(FlushInterval::Off),
            "0" => Ok(FlushInterval::Every(Duration::ZERO)),
            _ => humantime::parse_duration(text)
                .map(FlushInterval::Every)
                .map_err(|_| NoInterval { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for FlushInterval {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlushInterval::Off => out.write_str("off"),
            FlushInterval::Every(Duration::ZERO) => out.write_str("0"),
            FlushInterval::Every(interval) => humantime::format_duration(*interval).fmt(out),
        }
    }
}

impl From<FlushInterval> for String {
    fn from(interval: FlushInterval) -> String {
        interval.to_string()
    }
}

impl TryFrom<String> for FlushInterval {
    type Error = NoInterval;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A large number with its thousands apart: `6 001 215`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A rate in the unit that performance figures use: `2.93 GB/s`.
pub fn gigabytes_per_second(bytes_per_second: f64) -> String {
    format!("{:.2} GB/s", bytes_per_second / 1e9)
}

/// A size in the binary unit that memory is given in: `64.0 MiB`.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_duration_zero_or_off() {
        let parse = |text: &str| text.parse::<FlushInterval>();
        assert_eq!(parse("10ms"), Ok(FlushInterval::Every(Duration::from_millis(10))));
        assert_eq!(parse("0"), Ok(FlushInterval::Every(Duration::ZERO)));
        assert_eq!(parse("off"), Ok(FlushInterval::Off));
        assert!(parse("ten").unwrap_err().to_string().contains("`ten`"));
    }

    #[test]
    fn an_interval_reads_as_it_was_written() {
        for text in ["10ms", "0", "off"] {
            assert_eq!(text.parse::<FlushInterval>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1000, 6_001_215].map(grouped), ["0", "999", "1 000", "6 001 215"]);
    }
}
