//! The fields of events and snapshots as bytes, little endian. What is read may be anything: nothing is allocated for a
//! count that the bytes at hand cannot hold.

use sluice_plugin::Address;
use sluice_protocol::{Incarnation, JobId, NodeId, PartitionId};

use super::descriptor::ProducerLocation;
use crate::partition::{PartitionKind, PartitionStatistics};

/// Bytes that are no field, and where in what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) at: usize,
    pub(super) problem: &'static str,
}

/// Appends fields.
pub(super) trait PutFields {
    fn put_u8(&mut self, value: u8);
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
    fn put_bytes(&mut self, bytes: &[u8]);

    fn put_partition(&mut self, id: PartitionId) {
        self.put_u64(id.job.0);
        self.put_u64(id.partition);
        self.put_u32(id.attempt);
    }

    fn put_kind(&mut self, kind: PartitionKind) {
        self.put_u8(match kind {
            PartitionKind::Pipelined => 0,
            PartitionKind::SortMerge => 1,
            PartitionKind::Hash => 2,
        });
    }

    fn put_location(&mut self, location: &ProducerLocation) {
        self.put_u64(location.node.0);
        self.put_u64(location.incarnation.0);
        let address = location.address.0.as_bytes();
        self.put_u32(address.len().try_into().expect("an address has less than 4 GiB"));
        self.put_bytes(address);
    }

    /// Both lists have a figure for each subpartition; see [`PartitionStatistics::is_of`].
    fn put_statistics(&mut self, statistics: &PartitionStatistics) {
        self.put_u32(statistics.bytes.len().try_into().expect("subpartitions are counted by a u32"));
        for figure in statistics.bytes.iter().chain(&statistics.records) {
            self.put_u64(*figure);
        }
    }
}

impl PutFields for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Takes fields, one after the other.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How far the reading has come.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// An error about the field that was read last, or the bytes that come next.
    pub(super) fn wrong(&self, problem: &'static str) -> Malformed {
        Malformed { at: self.at, problem }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..bytes).ok_or_else(|| self.wrong("a field ends behind what is there"))?;
        self.at += bytes;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("so many were taken"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn partition(&mut self) -> Result<PartitionId, Malformed> {
        Ok(PartitionId { job: JobId(self.u64()?), partition: self.u64()?, attempt: self.u32()? })
    }

    pub(super) fn kind(&mut self) -> Result<PartitionKind, Malformed> {
        match self.u8()? {
            0 => Ok(PartitionKind::Pipelined),
            1 => Ok(PartitionKind::SortMerge),
            2 => Ok(PartitionKind::Hash),
            _ => Err(self.wrong("no kind of partition")),
        }
    }

    pub(super) fn location(&mut self) -> Result<ProducerLocation, Malformed> {
        let (node, incarnation) = (NodeId(self.u64()?), Incarnation(self.u64()?));
        let bytes = self.u32()? as usize;
        let address = std::str::from_utf8(self.take(bytes)?).map_err(|_| self.wrong("an address that is no text"))?;
        Ok(ProducerLocation { node, incarnation, address: Address(address.to_owned()) })
    }

    pub(super) fn statistics(&mut self) -> Result<PartitionStatistics, Malformed> {
        let figures = self.u32()? as usize;
        Ok(PartitionStatistics { bytes: self.figures(figures)?, records: self.figures(figures)? })
    }

    fn figures(&mut self, count: usize) -> Result<Vec<u64>, Malformed> {
        // Taken before anything is allocated for them.
        let bytes = self.take(count.saturating_mul(size_of::<u64>()))?;
        let (figures, _) = bytes.as_chunks();
        Ok(figures.iter().map(|figure| u64::from_le_bytes(*figure)).collect())
    }
}
