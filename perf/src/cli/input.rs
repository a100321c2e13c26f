//! The options that say which records there are.
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};

use crate::input::{InputSpec, Key, check_record_bytes, check_scale_factor, check_skew};

/// Which records there are.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Input")]
pub struct InputArgs {
    /// Make the records: TPC-H rows unless said otherwise
    #[arg(long, value_enum, conflicts_with = "input")]
    pub generate: Option<Generate>,

    /// How much of TPC-H lineitem: 1 is 6 001 215 rows of 125 bytes [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = scale_factor)]
    pub scale_factor: Option<f64>,

    /// How much random payload all producers make together, such as 20GB or 512MiB [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    pub bytes: Option<ByteSize>,

    /// The size of each random record, at least 8, such as 100 or 16KiB [default: 100]
    #[arg(long, value_name = "SIZE", value_parser = record_bytes)]
    pub record_bytes: Option<ByteSize>,

    /// The Zipf exponent over the consumers of random records: 0 is uniform, with 1 the first consumer
    /// gets twice what the second gets and thrice what the third gets [default: 0]
    #[arg(long, value_name = "EXPONENT", allow_negative_numbers = true, value_parser = skew)]
    pub skew: Option<f64>,

    /// The same seed makes the same random records [default: 42]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Read the lines of files: tables if they end in .csv, .tsv or .tbl. Producers share each file,
    /// but a CSV file with quotes is read by one, because a quoted field may hold newlines
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub input: Vec<PathBuf>,

    /// The column that decides the consumer: a number counted from 1, or a name in the header of a CSV
    /// or TSV file. Without it the whole line decides
    #[arg(long, value_name = "COLUMN", requires = "input")]
    pub key: Option<Key>,

    /// The first line of each CSV and TSV file names the columns and is no record (so it is if --key is a name)
    #[arg(long, requires = "input")]
    pub header: bool,
}

fn scale_factor(text: &str) -> Result<f64, String> {
    let number = finite(text)?;
    check_scale_factor(number).map(|()| number).map_err(|error| error.to_string())
}

fn skew(text: &str) -> Result<f64, String> {
    let number = finite(text)?;
    check_skew(number).map(|()| number).map_err(|error| error.to_string())
}

fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(number) => Err(format!("{number} is not finite: write a number such as 0.5 or 2")),
        Err(error) => Err(error.to_string()),
    }
}

fn record_bytes(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    check_record_bytes(size.as_u64()).map(|()| size).map_err(|error| error.to_string())
}

/// What makes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Generate {
    /// Rows of TPC-H's largest table as .tbl lines, keyed by l_orderkey
    Lineitem,
    /// Random bytes in records of one size, to a random consumer each
    Random,
}

/// An option that would change nothing: more likely a mistake than meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option} has no effect here: it needs {needs}")]
pub struct Misplaced {
    option: &'static str,
    needs: &'static str,
}

impl InputArgs {
    /// Whether nothing was said about the input.
    pub fn is_default(&self) -> bool {
        self.generate.is_none() && self.input.is_empty()
    }

    /// The records asked for.
    pub fn spec(&self) -> Result<InputSpec, Misplaced> {
        if !self.input.is_empty() {
            self.without_lineitem_options()?;
            self.without_random_options()?;
            let (paths, key, header) = (self.input.clone(), self.key.clone(), self.header);
            return Ok(InputSpec::Files { paths, key, header });
        }
        self.without_file_options()?;
        match self.generate.unwrap_or(Generate::Lineitem) {
            Generate::Lineitem => {
                self.without_random_options()?;
                Ok(InputSpec::Lineitem { scale_factor: self.scale_factor.unwrap_or(1.0) })
            }
            Generate::Random => {
                self.without_lineitem_options()?;
                Ok(self.random(self.record_bytes.unwrap_or(ByteSize::b(100))))
            }
        }
    }

    /// Random records of a size, with all else as asked for.
    pub fn random(&self, record_bytes: ByteSize) -> InputSpec {
        InputSpec::Random {
            bytes: self.bytes.unwrap_or(ByteSize::gib(1)).as_u64(),
            // What does not fit was refused with the command line.
            record_bytes: u32::try_from(record_bytes.as_u64()).unwrap_or(u32::MAX),
            skew: self.skew.unwrap_or(0.0),
            seed: self.seed.unwrap_or(42),
        }
    }

    // clap asks for --input only where nothing else excludes it, and --generate does.
    fn without_file_options(&self) -> Result<(), Misplaced> {
        let given = [("--key", self.key.is_some()), ("--header", self.header)];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(Misplaced { option, needs: "--input" }),
            None => Ok(()),
        }
    }

    fn without_lineitem_options(&self) -> Result<(), Misplaced> {
        match self.scale_factor {
            Some(_) => Err(Misplaced { option: "--scale-factor", needs: "--generate lineitem" }),
            None => Ok(()),
        }
    }

    fn without_random_options(&self) -> Result<(), Misplaced> {
        let given = [
            ("--bytes", self.bytes.is_some()),
            ("--record-bytes", self.record_bytes.is_some()),
            ("--skew", self.skew.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(Misplaced { option, needs: "--generate random" }),
            None => Ok(()),
        }
    }
}
