//! Devices, protection domains, memory regions, completion queues and queue pairs, as verbs have them.
//!
//! ```no_run
//! use std::time::Duration;
//! use sluice_softroce::verbs::{Connect, Device, DeviceConfig, HeapMemory, Permissions};
//! use sluice_softroce::work::{Operation, RemoteAddress, SendRequest};
//! # fn exchange<A, B>(_ours: A) -> B { unimplemented!() }
//!
//! let device = Device::open(DeviceConfig::new("[fd00::1]:0".parse()?))?;
//! let domain = device.protection_domain();
//! let region = domain.register(HeapMemory::zeroed(1 << 20), Permissions::ALL);
//! let queue = device.completion_queue(64);
//! let queue_pair = device.queue_pair(&domain, &queue, &queue, Default::default());
//!
//! // Each side tells the other its endpoint, by whatever means: here also where it may write to.
//! let (peer, remote): (_, RemoteAddress) = exchange((queue_pair.endpoint(), region.remote_address()));
//! queue_pair.connect(&peer, &Connect::default())?;
//! queue_pair.post_send(SendRequest {
//!     id: 1,
//!     operation: Operation::Write { remote, immediate: None },
//!     local: vec![region.segment(0..4096)],
//!     signaled: true,
//!     solicited: false,
//! })?;
//! let done = queue.wait(Duration::from_secs(1))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Who drives.** With [`Drive::Thread`] a thread of the device does everything, and all handles can be used from any
//! thread. With [`Drive::Caller`] nothing happens but in calls of [`Device::turn`], [`Device::park`] and
//! [`CompletionQueue::wait`], all by one thread: that saves waking up another for each packet. Whoever stops driving
//! leaves its peers without answers, the acknowledgement of what it has just received included.
//!
//! **Memory** is never aliased: a region is behind a [`Backing`], which copies bytes in and out. A peer may write to it at
//! any time, as with any RDMA; what a reader sees of a write that has not been completed is not determined.

mod clock;
mod completion_queue;
mod device;
mod engine;
mod memory_region;
mod queue_pair;
mod shared;

pub use completion_queue::{CompletionQueue, Overrun, WaitError};
pub use device::{Device, DeviceConfig, Drive, Event, OpenError};
pub use memory_region::{Backing, HeapMemory, MemoryRegion, Permissions, ProtectionDomain};
pub use queue_pair::{Connect, ConnectError, Endpoint, QueuePair};
