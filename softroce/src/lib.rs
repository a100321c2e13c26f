//! RoCEv2 in user space: a reliable-connected RDMA endpoint that talks to the Linux kernel's `rdma_rxe` and to RNICs.
//!
//! A program begins with [`verbs`]. Below it, each usable alone: [`queue_pair`] is the protocol without IO, [`memory`]
//! the trait behind which all bytes lie, [`work`] what is asked for and told, [`packet`] the wire, [`capture`] packets
//! in files.

#![forbid(unsafe_code)]

pub mod capture;
mod driver;
pub mod memory;
pub mod packet;
pub mod queue_pair;
mod time;
pub mod verbs;
pub mod work;

pub use driver::DeviceCounters;
pub use time::Time;
