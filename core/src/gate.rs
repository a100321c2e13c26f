//! Input gates: where a consuming task reads its channels, wherever their producers are.

mod credit;
mod inbox;
mod input;

use sluice_memory::BufferPool;
use sluice_plugin::Address;
use sluice_protocol::{NodeId, PartitionId};

pub(crate) use credit::{Feed, GateCredit, Granted};
pub(crate) use inbox::{Arrived, Inbox};
pub(crate) use input::GONE_HERE;
pub use input::{Delivery, InputGate};

/// A gate of this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GateId(pub(crate) u64);

/// What a channel of a gate reads, and where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelLocation {
    /// The partition.
    pub partition: PartitionId,
    /// The share of it.
    pub subpartition: u32,
    /// The worker that has it.
    pub node: NodeId,
    /// Where that worker's transport can be reached; not used if it is this worker.
    pub address: Address,
}

/// The memory of a gate and how it may be granted.
pub(crate) struct GateMemory {
    pub(crate) pool: BufferPool,
    /// The most that is set aside for one channel, in bytes.
    pub(crate) window_bytes_max: u64,
    /// The size of the buffers that are posted while there is enough memory.
    pub(crate) buffer_bytes: usize,
}
