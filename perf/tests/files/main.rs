//! The subcommands `disk` and `inspect`: what they find, what they refuse, and what they leave.

mod disk;
mod inspect;
#[path = "../shuffle/program.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod program;
mod set;
