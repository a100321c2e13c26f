//! The program itself: what it verifies, what it refuses, and what is left when a process is killed.

mod blocking;
mod interrupted;
mod killed;
#[path = "../common/processes.rs"]
mod processes;
mod program;
mod recovered;
mod refused;
mod trust;
mod verified;
