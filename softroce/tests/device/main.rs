//! Devices on sockets of this machine: every operation between two of them, and what becomes of bad packets.

mod operations;
mod pair;
mod trouble;
