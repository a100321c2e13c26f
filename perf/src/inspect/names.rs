//! What a file is called beside what it is. The name says where to look; what a file is, only its pages say
//! (docs/spill-format.md): a name that says something else is worth a word, and nothing is wrong with the data.

use std::path::Path;

use sluice_core::PartitionId;
use sluice_core::spill::{Header, PartName};

/// In which way the name is not the one of this part. `None` if it fits, or is no part's name at all: who renames a file so
/// knows that.
pub(super) fn misnamed(path: &Path, header: &Header) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let named: PartName = name.split_once('~').map_or(name, |(_, name)| name).parse().ok()?;
    let says = words(named.partition, named.first.0, named.part);
    let holds = words(header.set.partition, header.set.first.0, header.part);
    (says != holds).then(|| format!("is called {says}, and holds {holds}"))
}

fn words(partition: PartitionId, first: u32, part: u16) -> String {
    let PartitionId { job, partition, attempt } = partition;
    format!("part {part} of job {job}, partition {partition}, attempt {attempt}, subpartitions from {first} on")
}
