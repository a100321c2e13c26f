//! What is in a file set, as JSON and as text.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use sluice_core::spill::{CodecBytes, FileSet, Layout, Report, SliceSizes, VERSION};

use super::names::misnamed;
use crate::units::{grouped, mebibytes};

/// A file set that was checked.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SetReport {
    /// Its parts, in order.
    parts: Vec<PathBuf>,
    /// Whether nothing is wrong.
    pub(super) is_clean: bool,
    /// What the header says, if there is one that can be read.
    header: Option<HeaderFigures>,
    /// What the trailer and the footer say, if they can be read.
    index: Option<IndexFigures>,
    blocks: u64,
    events: u64,
    /// Before compression, in bytes.
    raw_bytes: u64,
    /// In the file, in bytes.
    stored_bytes: u64,
    slices: SliceFigures,
    codecs: Vec<CodecFigures>,
    /// The first hundred.
    problems: Vec<ProblemFigures>,
    problems_all: u64,
    /// What is odd, and nothing is wrong with the data.
    warnings: Vec<WarningFigures>,
}

#[derive(Clone, Debug, Serialize)]
struct HeaderFigures {
    version: u16,
    layout: &'static str,
    job: u64,
    partition: u64,
    attempt: u32,
    subpartitions: u32,
    first_subpartition: u32,
    held_subpartitions: u32,
    node: u64,
    incarnation: u64,
}

#[derive(Clone, Debug, Serialize)]
struct IndexFigures {
    is_durable: bool,
    footer_offset: u64,
    footer_bytes: u64,
    records: u64,
    /// Of each subpartition of the set, from its first on.
    subpartitions: Vec<SubpartitionFigures>,
    extents: Vec<ExtentFigures>,
    directories: Vec<DirectoryFigures>,
}

#[derive(Clone, Debug, Serialize)]
struct SubpartitionFigures {
    blocks: u64,
    raw_bytes: u64,
    records: u64,
}

#[derive(Clone, Debug, Serialize)]
struct ExtentFigures {
    logical: u64,
    bytes: u64,
    part: u16,
    offset: u64,
}

/// Describes the regions since the one before.
#[derive(Clone, Debug, Serialize)]
struct DirectoryFigures {
    number: u32,
    /// A logical offset.
    offset: u64,
    bytes: u32,
    /// Of the data in front of it, since the directory before.
    region_bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
struct SliceFigures {
    count: u64,
    min: u64,
    median: u64,
    max: u64,
}

#[derive(Clone, Debug, Serialize)]
struct CodecFigures {
    codec: String,
    blocks: u64,
    raw_bytes: u64,
    stored_bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
struct ProblemFigures {
    path: PathBuf,
    /// From the beginning of the file, in bytes.
    offset: u64,
    error: String,
}

#[derive(Clone, Debug, Serialize)]
struct WarningFigures {
    path: PathBuf,
    warning: String,
}

impl SetReport {
    /// How large its slices are.
    pub(super) fn slices(&self) -> SliceSizes {
        let SliceFigures { count, min, median, max } = self.slices;
        SliceSizes { count, min, median, max }
    }

    pub(super) fn new(parts: Vec<PathBuf>, report: Report) -> Self {
        let set = report.trailer.map(|trailer| trailer.set);
        let set = set.or_else(|| report.headers.iter().flatten().next().map(|header| header.set));
        let path_of = |part: u16| parts.get(usize::from(part)).or(parts.last()).cloned().unwrap_or_default();
        let problems = report.problems.iter().map(|(part, error)| ProblemFigures {
            path: path_of(*part),
            offset: error.offset,
            error: error.to_string(),
        });
        let codecs = report.by_codec.iter().filter(|codec| codec.blocks > 0).map(CodecFigures::of);
        let SliceSizes { count, min, median, max } = report.slices;
        let warnings = parts.iter().zip(&report.headers).filter_map(|(path, header)| {
            let warning = misnamed(path, header.as_ref()?)?;
            Some(WarningFigures { path: path.clone(), warning })
        });
        Self {
            is_clean: report.is_clean(),
            header: set.map(HeaderFigures::of),
            index: IndexFigures::of(&report),
            blocks: report.blocks,
            events: report.events,
            raw_bytes: report.raw_bytes,
            stored_bytes: report.stored_bytes,
            slices: SliceFigures { count, min, median, max },
            codecs: codecs.collect(),
            problems: problems.collect(),
            problems_all: report.problems_all,
            warnings: warnings.collect(),
            parts,
        }
    }
}

impl HeaderFigures {
    fn of(set: FileSet) -> Self {
        Self {
            version: VERSION,
            layout: match set.layout {
                Layout::SortMerge => "sort-merge",
                Layout::Hash => "hash",
            },
            job: set.partition.job.0,
            partition: set.partition.partition,
            attempt: set.partition.attempt,
            subpartitions: set.subpartitions,
            first_subpartition: set.first.0,
            held_subpartitions: set.count,
            node: set.node.0,
            incarnation: set.incarnation.0,
        }
    }
}

impl IndexFigures {
    fn of(report: &Report) -> Option<Self> {
        let (trailer, footer) = (report.trailer?, report.footer.as_ref()?);
        let mut end = 0;
        let directories = footer.directories.iter().map(|place| {
            let region_bytes = place.offset() - end;
            end = place.offset() + u64::from(place.bytes());
            DirectoryFigures { number: place.number(), offset: place.offset(), bytes: place.bytes(), region_bytes }
        });
        let (directories, totals) = (directories.collect(), &footer.totals);
        Some(Self {
            is_durable: trailer.durable,
            footer_offset: trailer.footer_offset,
            footer_bytes: trailer.footer_bytes,
            records: totals.iter().map(|total| total.records).sum(),
            subpartitions: totals
                .iter()
                .map(|total| SubpartitionFigures {
                    blocks: total.blocks,
                    raw_bytes: total.raw_bytes,
                    records: total.records,
                })
                .collect(),
            extents: footer
                .extents
                .iter()
                .map(|extent| ExtentFigures {
                    logical: extent.logical,
                    bytes: extent.bytes,
                    part: extent.part,
                    offset: extent.physical,
                })
                .collect(),
            directories,
        })
    }
}

impl CodecFigures {
    fn of(codec: &CodecBytes) -> Self {
        let CodecBytes { codec, blocks, raw_bytes, stored_bytes } = *codec;
        Self { codec: codec.to_string(), blocks, raw_bytes, stored_bytes }
    }
}

impl fmt::Display for SetReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            writeln!(out, "{}", part.display())?;
        }
        self.write_header(out)?;
        self.write_index(out)?;
        self.write_contents(out)?;
        for ProblemFigures { path, error, .. } in &self.problems {
            line(out, "WRONG", format!("{}: {error}", path.display()))?;
        }
        let more = self.problems_all - self.problems.len() as u64;
        if more > 0 {
            line(out, "", format!("and {more} more"))?;
        }
        for WarningFigures { path, warning } in &self.warnings {
            line(out, "warning", format!("{} {warning}", path.display()))?;
        }
        let verdict = match self.is_clean {
            true => "every checksum and the padding, and all are right".to_string(),
            false => format!("{} problems", grouped(self.problems_all)),
        };
        line(out, "checked", verdict)
    }
}

impl SetReport {
    fn write_header(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(header) = &self.header else { return line(out, "header", "none that can be read") };
        let HeaderFigures { version, layout, job, partition, attempt, node, incarnation, .. } = header;
        line(out, "format", format!("version {version}, {layout}, {} parts", self.parts.len()))?;
        line(out, "of", format!("job {job}, partition {partition}, attempt {attempt}"))?;
        let last = header.first_subpartition + header.held_subpartitions - 1;
        let range = format!("subpartitions {} to {last} of {}", header.first_subpartition, header.subpartitions);
        line(out, "", range)?;
        line(out, "written", format!("by worker {node} in its life {incarnation}"))
    }

    fn write_index(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(index) = &self.index else {
            return line(out, "index", "none that can be read: unfinished or damaged");
        };
        let IndexFigures { footer_offset, footer_bytes, extents, directories, .. } = index;
        let durable = if index.is_durable { "synced before it was finished" } else { "not synced" };
        line(out, "", durable)?;
        line(out, "index", format!("{} bytes at {footer_offset}, {} extents", grouped(*footer_bytes), extents.len()))?;
        let sizes = || directories.iter().map(|directory| directory.region_bytes);
        let (least, most) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
        let count = directories.len();
        line(out, "regions", format!("{count} directories, each of {} to {}", mebibytes(least), mebibytes(most)))?;
        line(out, "records", grouped(index.records))
    }

    fn write_contents(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (blocks, events) = (grouped(self.blocks), grouped(self.events));
        let (raw, stored) = (mebibytes(self.raw_bytes), mebibytes(self.stored_bytes));
        line(out, "blocks", format!("{blocks}, {events} events among them; {raw}, stored in {stored}"))?;
        for CodecFigures { codec, blocks, raw_bytes, stored_bytes } in &self.codecs {
            let (raw, stored) = (mebibytes(*raw_bytes), mebibytes(*stored_bytes));
            line(out, "", format!("{codec}: {} blocks, {raw}, stored in {stored}", grouped(*blocks)))?;
        }
        let SliceFigures { count, min, median, max } = self.slices;
        let [least, middle, most] = [min, median, max].map(grouped);
        line(out, "slices", format!("{}, of {least} to {most} bytes, half of them below {middle}", grouped(count)))
    }
}

fn line(out: &mut fmt::Formatter<'_>, name: &str, text: impl fmt::Display) -> fmt::Result {
    writeln!(out, "  {name:<9}{text}")
}
