//! The program itself: what it verifies, what it refuses, and what is left when a process is killed.

mod killed;
mod program;
mod refused;
mod verified;
