//! The simulator: the real engine and protocol, stepped on one thread over simulated devices, from one seed.
#![forbid(unsafe_code)]

mod check;
pub mod cli;
pub mod coverage;
pub mod disk;
pub mod journal;
pub mod network;
pub mod plan;
pub mod run;
pub mod seed;
mod task;

pub use check::expects_resume;
