//! The engine over the in-process transport: what a task may rely on, and what it is told when something goes wrong.

mod events;
mod flushing;
mod locations;
mod losses;
mod memory;
mod partitions;
mod reading;
mod shapes;
mod stage;
mod stopping;
mod writing;
