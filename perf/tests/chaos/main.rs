//! Real worker processes, and between them a relay that cuts, corrupts, delays and refuses, while workers are stopped,
//! continued and killed: a run ends verified, or with the error that names what has happened.

#![forbid(unsafe_code)]

mod corruption;
mod cuts;
mod faults;
#[path = "../common/processes.rs"]
#[expect(dead_code, reason = "the tests of the program use more of it")]
mod processes;
#[path = "../shuffle/program.rs"]
#[expect(dead_code, reason = "the tests of the program use more of it")]
mod program;
mod refusals;
mod relay;
mod run;
mod soak;
mod stops;
mod wire;
