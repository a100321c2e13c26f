//! The program itself: what it verifies, what it refuses, and what is left when a process is killed.

mod killed;
#[path = "../common/processes.rs"]
mod processes;
mod program;
mod refused;
mod trust;
mod verified;
