// The rules, for the binaries that run them over another transport: included, so that they find that one. As main.rs beside
// it lists them, which names each by itself because rustfmt does not look into what is included.

mod blocking;
mod cable;
mod events;
mod flushing;
mod locations;
mod losses;
mod memory;
mod merging;
mod partitions;
mod reading;
mod recovering;
mod resuming;
mod shapes;
mod stage;
mod stopping;
mod tokens;
mod writing;
